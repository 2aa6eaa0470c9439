"""The active collection, as searches see it."""

from collections.abc import Sequence

import pytest

from gateway.errors import CatalogUnavailable
from gateway.knowledge.active import ActiveCollection
from gateway.knowledge.catalog.types import Collection, CollectionState


def collection(name: str, state: CollectionState) -> Collection:
    return Collection(name=name, embedding_model="m", dimension=4, state=state, created_at=0)


class Catalog:
    """Says `known`, or is away."""

    def __init__(self) -> None:
        self.known: Sequence[Collection] = ()
        self.away = False
        self.now = 0.0

    async def collections(self) -> Sequence[Collection]:
        if self.away:
            raise CatalogUnavailable("away")
        return self.known


async def name(active: ActiveCollection) -> str | None:
    found = await active.get()
    return None if found is None else found.name


async def test_a_switch_is_seen_when_the_last_look_is_old() -> None:
    catalog = Catalog()
    active = ActiveCollection(catalog, lambda: catalog.now, fresh_s=1.0)
    assert await name(active) is None

    catalog.known = [collection("new", CollectionState.BUILDING), collection("old", CollectionState.ACTIVE)]
    catalog.now = 0.9
    assert await name(active) is None
    catalog.now = 1.0
    assert await name(active) == "old"
    catalog.known = [collection("new", CollectionState.ACTIVE), collection("old", CollectionState.PREVIOUS)]
    catalog.now = 2.0
    assert await name(active) == "new"


async def test_it_outlives_its_catalog() -> None:
    catalog = Catalog()
    catalog.away = True
    active = ActiveCollection(catalog, lambda: catalog.now)
    with pytest.raises(CatalogUnavailable):
        await active.get()

    catalog.away = False
    catalog.known = [collection("old", CollectionState.ACTIVE)]
    assert await name(active) == "old"
    catalog.away = True
    catalog.now = 1000.0
    assert await name(active) == "old"
