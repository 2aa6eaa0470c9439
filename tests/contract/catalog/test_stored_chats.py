"""Stored chats on both databases: who sees them, how long they are there, and pages of them."""

from typing import Any

import pytest

from gateway.errors import NotFound
from gateway.knowledge.catalog.answer_types import ChatRecord
from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.knowledge.catalog.types import PageQuery
from gateway.tenants.key import Key
from gateway.tenants.tenant import Tenant
from tests.contract.catalog.conftest import Clock

KEEP_S = 100


def _record(ident: str, **fields: Any) -> ChatRecord:
    given: dict[str, Any] = {"metadata": {}, "sources": (), **fields}
    body = {"id": ident, "created": 1, "model": "tiny", "choices": ["a \0 and 日本"]}
    return ChatRecord(body=body, messages=[{"role": "user", "content": "\0"}] * 3, **given)


async def _listed(own: TenantCatalog, page: PageQuery | None = None, **filters: Any) -> list[str]:
    given: dict[str, Any] = {"model": None, "metadata": {}, **filters}
    return [each["id"] for each in (await own.chats.list(page or PageQuery(order="asc"), **given)).items]


async def test_a_key_sees_chats_of_files_that_it_sees(catalog: Catalog) -> None:
    own = catalog.of(Tenant("a"))
    for name, allow in (("open", None), ("hr", ["hr"])):
        await own.files.add(file_id=name, filename="a.md", purpose="assistants", size=1, sha256="0", allow=allow)
    for ident, sources in (("none", ()), ("open", ("open",)), ("hr", ("hr", "open")), ("gone", ("gone",))):
        await own.chats.add(_record(ident, sources=sources), keep_s=KEEP_S)
    assert await _listed(own) == ["gone", "hr", "none", "open"]
    sales = catalog.of(Tenant("a", key=Key(groups=frozenset({"sales"}))))
    assert await _listed(sales) == ["none", "open"]
    for hidden in ("hr", "gone"):
        for asked in (
            sales.chats.get(hidden),
            sales.chats.messages(hidden, PageQuery()),
            sales.chats.update(hidden, {}),
            sales.chats.delete(hidden),
            _listed(sales, PageQuery(after=hidden)),
        ):
            with pytest.raises(NotFound):
                await asked
    await own.chats.delete("hr")
    with pytest.raises(NotFound):
        await _listed(sales, PageQuery(after="hr"))
    assert await _listed(own, PageQuery(after="hr", order="asc")) == ["none", "open"]
    hr = catalog.of(Tenant("a", key=Key(groups=frozenset({"hr"}))))
    assert await _listed(hr) == ["none", "open"]


async def test_another_tenant_has_none_of_them(catalog: Catalog) -> None:
    await catalog.of(Tenant("a")).chats.add(_record("x"), keep_s=KEEP_S)
    other = catalog.of(Tenant("b"))
    assert await _listed(other) == []
    for asked in (other.chats.get("x"), other.chats.delete("x"), other.chats.update("x", {"a": "b"})):
        with pytest.raises(NotFound):
            await asked
    assert (await catalog.of(Tenant("a")).chats.get("x"))["metadata"] == {}


async def test_metadata_choose_whatever_is_in_them(catalog: Catalog) -> None:
    own = catalog.of(Tenant("a"))
    names = ["plain", "with space", 'quo"te', "it's", "a.b", "[0]", "$", "日本", "\\"]
    for at, name in enumerate(names):
        await own.chats.add(_record(str(at), metadata={name: name}), keep_s=KEEP_S)
    for at, name in enumerate(names):
        assert await _listed(own, metadata={name: name}) == [str(at)], name
        assert await _listed(own, metadata={name: "other"}) == [], name


async def test_one_past_its_time_is_gone(catalog: Catalog, clock: Clock) -> None:
    own = catalog.of(Tenant("a"))
    await own.chats.add(_record("x"), keep_s=KEEP_S)
    clock.now += KEEP_S + 1
    with pytest.raises(NotFound):
        await own.chats.get("x")
    assert await _listed(own) == []
    await catalog.removals.expire()
    async with catalog.database.read() as connection:
        for table in ("chat_completions", "chat_messages"):
            assert (await connection.exec_driver_sql(f"SELECT count(*) FROM {table}")).scalar_one() == 0
