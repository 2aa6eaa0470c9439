"""A directory that follows a catalog: what is new, what is asked for, and a catalog that is away."""

import asyncio
from collections.abc import Mapping

import pytest

from gateway.errors import CatalogUnavailable, Unauthenticated
from gateway.tenants import api_key
from gateway.tenants.directory import GRACE_S, Directory
from gateway.tenants.directory_sync import DirectorySync
from gateway.tenants.key import USER_SCOPES
from gateway.tenants.records import DirectoryChanges, KeyRecord, TenantRecord
from gateway.tenants.tenant import Tenant


class Catalog:
    """One that can be away."""

    def __init__(self) -> None:
        self.away = False
        self.looks = 0
        self.used: dict[str, float] = {}
        self.written = asyncio.Event()
        self._keys: list[KeyRecord] = []

    def issue(self) -> str:
        """A new key."""
        new = api_key.generate()
        self._keys.append(KeyRecord(id=new.id, tenant="acme", digest=api_key.digest(new.text), scopes=USER_SCOPES))
        return new.text

    async def changes(self, since: int | None) -> DirectoryChanges | None:
        """All of it where there is more than was."""
        self.looks += 1
        if self.away:
            raise CatalogUnavailable("away")
        if since == len(self._keys):
            return None
        tenants = [TenantRecord(name="acme")]
        return DirectoryChanges(revision=len(self._keys), complete=True, tenants=tenants, keys=list(self._keys))

    async def record_use(self, used: Mapping[str, float]) -> None:
        """Keep it."""
        if self.away:
            raise CatalogUnavailable("away")
        self.used |= used
        self.written.set()


class Clock:
    """Stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def catalog() -> Catalog:
    return Catalog()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def directory(clock: Clock) -> Directory:
    return Directory({"configured": Tenant("red")}, clock=clock)


@pytest.fixture
def sync(directory: Directory, catalog: Catalog, clock: Clock) -> DirectorySync:
    return DirectorySync(directory, catalog, clock=clock)


async def test_whoever_waits_gets_what_was_new_when_it_asked(
    sync: DirectorySync, directory: Directory, catalog: Catalog
) -> None:
    following = asyncio.create_task(sync.run())
    try:
        for _ in range(3):
            text = catalog.issue()
            await asyncio.gather(*(sync.fresh() for _ in range(20)))
            assert directory.authenticate(f"Bearer {text}").name == "acme"
        assert catalog.looks <= 10, "those who wait share a look"
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_catalog_that_goes_and_comes_back(
    sync: DirectorySync, directory: Directory, catalog: Catalog, clock: Clock
) -> None:
    known = catalog.issue()
    with pytest.raises(CatalogUnavailable):
        directory.authenticate(f"Bearer {known}")
    await sync.look()
    unknown = catalog.issue()
    with pytest.raises(Unauthenticated):
        directory.authenticate(f"Bearer {unknown}")
    catalog.away = True
    await sync.look()
    await sync.fresh()  # at once: nobody looks
    assert directory.authenticate(f"Bearer {known}").name == "acme"
    with pytest.raises(CatalogUnavailable):
        directory.authenticate(f"Bearer {unknown}")
    clock.now += GRACE_S + 1
    with pytest.raises(CatalogUnavailable):
        directory.authenticate(f"Bearer {known}")
    catalog.away = False
    await sync.look()
    for text in (known, unknown):
        assert directory.authenticate(f"Bearer {text}").name == "acme"


async def test_use_is_written_by_and_by(sync: DirectorySync, directory: Directory, catalog: Catalog) -> None:
    text = catalog.issue()
    await sync.look()
    writing = asyncio.create_task(sync.write_use(every_s=0.0))
    try:
        directory.authenticate(f"Bearer {text}")
        async with asyncio.timeout(60):
            await catalog.written.wait()
        assert list(catalog.used) == [api_key.id_of(text)]
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
