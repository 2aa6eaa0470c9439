"""The models of the fleet, of now and of before."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from gateway.errors import CatalogUnavailable
from gateway.fleet.fleet_state import FleetState
from gateway.fleet.model_memory import ModelMemory
from gateway.fleet.models import ServedModels
from gateway.fleet.view import FleetMember, Instance

INSTANCE = Instance(
    "triton-0",
    "127.0.0.1",
    1,
    2,
    3,
    "tiny",
    slots=4,
    max_context=512,
    loras=frozenset({"dry"}),
    embedding_model="small",
)


class Source:
    """A catalog that may be away."""

    def __init__(self) -> None:
        self.kept: Mapping[str, Any] | None = None
        self.writes = 0
        self.away = False

    async def read(self) -> Mapping[str, Any] | None:
        if self.away:
            raise CatalogUnavailable("away")
        return self.kept

    async def write(self, models: Mapping[str, Any]) -> None:
        if self.away:
            raise CatalogUnavailable("away")
        self.kept = models
        self.writes += 1


@pytest.mark.parametrize("remembers", [True, False])
def test_models_that_can_be_started_stay_known(remembers: bool) -> None:
    store = FleetState()
    models = ServedModels(store, remembers=remembers)
    store.set_members([FleetMember(INSTANCE)])
    assert (models.generating, models.embedding, models.slots, models.slots_each) == ({"tiny": 512}, ["small"], 4, 4)
    store.set_members([])
    assert (models.slots, models.slots_each) == (0, 4)
    assert models.generating == ({"tiny": 512} if remembers else {})
    assert models.adapted == (["tiny:dry"] if remembers else [])
    store.set_members([FleetMember(replace(INSTANCE, model="other"))])
    assert list(models.generating) == ["other"]


async def test_a_gateway_that_starts_while_nothing_serves_knows_what_served_last() -> None:
    source, store = Source(), FleetState()
    first = ServedModels(store, remembers=True)
    memory = ModelMemory(first, source)
    source.away = True
    await memory.look()
    store.set_members([FleetMember(INSTANCE)])
    await memory.look()
    source.away = False
    await memory.look()
    await memory.look()
    assert source.writes == 1
    store.set_members([])
    await memory.look()
    assert source.writes == 1

    later = ServedModels(FleetState(), remembers=True)
    await ModelMemory(later, source).look()
    assert later.to_json() == first.to_json()
    assert later.slots == 0
    assert later.adapter("tiny:dry") == ("tiny", "dry")
    await ModelMemory(first, source).look()  # what is seen counts more than what is told
    assert source.writes == 1
