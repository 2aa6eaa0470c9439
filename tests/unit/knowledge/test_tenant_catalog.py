"""Whose rows a request sees was decided when it was authenticated: nothing behind that takes another tenant."""

import inspect
from pathlib import Path

import pytest

from gateway.errors import NotFound
from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.tenants.tenant import Tenant

PARTS = (
    "files",
    "uploads",
    "stores",
    "members",
    "keys",
    "responses",
    "chats",
    "journals",
    "conversations",
    "batches",
    "code_names",
)


async def test_it_is_made_from_a_tenant_and_no_method_takes_another(tmp_path: Path) -> None:
    catalog = Catalog(f"sqlite:///{tmp_path / 'catalog.db'}")
    mine = catalog.of(Tenant("mine"))
    for made in (mine, *(getattr(mine, part) for part in PARTS)):
        kind = type(made)
        assert inspect.signature(kind).parameters["tenant"].annotation is Tenant
        for name, member in inspect.getmembers(kind):
            assert not inspect.ismethod(member), f"{kind.__name__}.{name} would be another constructor"
            if inspect.isfunction(member) and name != "__init__":
                parameters = inspect.signature(member).parameters
                assert "tenant" not in parameters, f"{kind.__name__}.{name}"
                assert all(each.annotation is not Tenant for each in parameters.values()), f"{kind.__name__}.{name}"
    assert {name for name in vars(mine) if not name.startswith("_")} == {*PARTS, "restricted"}
    await catalog.close()


async def test_a_transaction_is_the_same_tenants(tmp_path: Path) -> None:
    catalog = Catalog(f"sqlite:///{tmp_path / 'catalog.db'}")
    async with catalog.of(Tenant("mine")).transaction() as inner:
        assert isinstance(inner, TenantCatalog)
        store = await inner.stores.create(name="books")
    assert (await catalog.of(Tenant("mine")).stores.get(store.id)).name == "books"
    with pytest.raises(NotFound):
        await catalog.of(Tenant("others")).stores.get(store.id)
    await catalog.of(Tenant("others")).stores.touch([store.id])
    await catalog.close()
