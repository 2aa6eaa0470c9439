"""The active collection, as searches see it."""

from collections.abc import Sequence

import pytest

from gateway.errors import CatalogUnavailable
from gateway.knowledge.active_collection import ActiveCollection
from gateway.knowledge.catalog.types import Collection, CollectionState


def collection(name: str, state: CollectionState) -> Collection:
    return Collection(name=name, embedding_model="m", dimension=4, state=state, created_at=0)


class Registry:
    """Says `known`, or is away."""

    def __init__(self) -> None:
        self.known: Sequence[Collection] = ()
        self.away = False
        self.now = 0.0

    async def all(self) -> Sequence[Collection]:
        if self.away:
            raise CatalogUnavailable("away")
        return self.known


async def name(active: ActiveCollection) -> str | None:
    found = await active.get()
    return None if found is None else found.name


async def test_a_switch_is_seen_when_the_last_look_is_old() -> None:
    registry = Registry()
    active = ActiveCollection(registry, lambda: registry.now, fresh_s=1.0)
    assert await name(active) is None

    registry.known = [collection("new", CollectionState.BUILDING), collection("old", CollectionState.ACTIVE)]
    registry.now = 0.9
    assert await name(active) is None
    registry.now = 1.0
    assert await name(active) == "old"
    registry.known = [collection("new", CollectionState.ACTIVE), collection("old", CollectionState.PREVIOUS)]
    registry.now = 2.0
    assert await name(active) == "new"


async def test_it_outlives_its_catalog() -> None:
    registry = Registry()
    registry.away = True
    active = ActiveCollection(registry, lambda: registry.now)
    with pytest.raises(CatalogUnavailable):
        await active.get()

    registry.away = False
    registry.known = [collection("old", CollectionState.ACTIVE)]
    assert await name(active) == "old"
    registry.away = True
    registry.now = 1000.0
    assert await name(active) == "old"
