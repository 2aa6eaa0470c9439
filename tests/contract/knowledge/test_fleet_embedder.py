"""Chunks are embedded by whichever instances serve the model, over real sockets."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

import aiohttp
import numpy as np
import pytest

from gateway.errors import KnowledgeUnavailable
from gateway.fleet.fleet_state import FleetState
from gateway.fleet.view import FleetMember, Instance, LoadSample
from gateway.ingestion.chunk_embedder import FleetEmbedder, TextsRefused
from gateway.knowledge.embedder import FakeEmbedder, Vectors
from tests.contract.knowledge.conftest import TritonSocket

TEXTS = [f"chunk {number} " + "word " * (number % 7) for number in range(150)]


def members(tritons: list[TritonSocket], *, model: str = "mini") -> list[FleetMember]:
    return [
        FleetMember(
            Instance(
                f"triton-{number}", "127.0.0.1", urlsplit(triton.url).port or 0, 0, 0, model="m", embedding_model=model
            )
        )
        for number, triton in enumerate(tritons)
    ]


@pytest.fixture
def store() -> FleetState:
    return FleetState(time.monotonic)


@pytest.fixture
async def embedder(store: FleetState) -> AsyncIterator[FleetEmbedder]:
    async with aiohttp.ClientSession() as http:
        yield FleetEmbedder(store, http, deadline_s=5)


async def test_every_instance_takes_its_part_and_the_order_is_kept(
    tritons: list[TritonSocket], store: FleetState, embedder: FleetEmbedder
) -> None:
    store.set_members(members(tritons))
    assert embedder.models() == ["mini"]
    vectors = await embedder.embed("mini", TEXTS)
    np.testing.assert_array_equal(vectors, FakeEmbedder().embed(TEXTS))
    assert all(triton.batches for triton in tritons)
    assert sum(sum(triton.batches) for triton in tritons) == len(TEXTS)


async def test_an_instance_that_refuses_leaves_its_work_to_the_other(
    tritons: list[TritonSocket], store: FleetState, embedder: FleetEmbedder
) -> None:
    tritons[0].fail = 503
    store.set_members(members(tritons))
    vectors = await embedder.embed("mini", TEXTS)
    np.testing.assert_array_equal(vectors, FakeEmbedder().embed(TEXTS))
    assert sum(tritons[1].batches) == len(TEXTS)


async def test_only_instances_with_the_model_are_asked(
    tritons: list[TritonSocket], store: FleetState, embedder: FleetEmbedder
) -> None:
    one, other = members(tritons)
    store.set_members([one, replace(other, instance=replace(other.instance, embedding_model="other"))])
    await embedder.embed("mini", TEXTS)
    assert not tritons[1].batches
    assert embedder.models() == ["mini", "other"]


async def test_a_host_that_answers_somebody_gets_small_batches(
    tritons: list[TritonSocket], store: FleetState, embedder: FleetEmbedder
) -> None:
    busy, calm = members(tritons)
    store.set_members([replace(busy, load=LoadSample(at=time.monotonic(), active=1, waiting=0)), calm])
    store.set_load(busy.instance.name, LoadSample(at=time.monotonic(), active=1, waiting=0))
    await embedder.embed("mini", TEXTS[:40])
    sizes = [size for triton in tritons for size in triton.batches]
    assert max(sizes) == FleetEmbedder.BUSY_BATCH
    assert sum(sizes) == 40


async def test_without_an_instance_it_is_unavailable_in_time(store: FleetState) -> None:
    async with aiohttp.ClientSession() as http, asyncio.timeout(60):
        with pytest.raises(KnowledgeUnavailable, match="no instance"):
            await FleetEmbedder(store, http, deadline_s=0.1).embed("mini", ["text"])


async def test_nothing_needs_nobody(embedder: FleetEmbedder) -> None:
    assert (await embedder.embed("mini", [])).shape == (0, 0)


class Recording(FleetEmbedder):
    """Notes what it sends, in order."""

    def __init__(self, store: FleetState, http: aiohttp.ClientSession) -> None:
        super().__init__(store, http, deadline_s=5)
        self.sent: list[str] = []

    async def _infer(self, member: FleetMember, texts: Sequence[str], timeout_s: float) -> Vectors:
        self.sent.extend(texts)
        return await super()._infer(member, texts, timeout_s)


async def test_of_two_callers_the_second_begins_when_the_last_of_the_first_is_sent(
    tritons: list[TritonSocket], store: FleetState
) -> None:
    store.set_members(members(tritons))
    first, second = [f"first {number}" for number in range(150)], [f"second {number}" for number in range(150)]
    async with aiohttp.ClientSession() as http:
        embedder = Recording(store, http)
        await asyncio.gather(embedder.embed("mini", first), embedder.embed("mini", second))
    assert [text.split()[0] for text in embedder.sent] == ["first"] * 150 + ["second"] * 150


async def test_a_failure_of_all_leaves_every_place_free(
    tritons: list[TritonSocket], store: FleetState, embedder: FleetEmbedder
) -> None:
    store.set_members(members(tritons))
    for triton in tritons:
        triton.fail = 503
    embedder._deadline_s = 0.3
    with pytest.raises(KnowledgeUnavailable, match="HTTP 503"):
        await embedder.embed("mini", TEXTS)
    for triton in tritons:
        triton.fail = 0
    embedder._deadline_s = 5
    np.testing.assert_array_equal(await embedder.embed("mini", TEXTS), FakeEmbedder().embed(TEXTS))
    assert not +embedder._in_flight


async def test_a_text_that_the_model_refuses_is_not_tried_elsewhere(
    tritons: list[TritonSocket], store: FleetState, embedder: FleetEmbedder
) -> None:
    store.set_members(members(tritons))
    for triton in tritons:
        triton.fail = 400
    with pytest.raises(TextsRefused, match="refuses a text"):
        await embedder.embed("mini", TEXTS[:1])
    for triton in tritons:
        triton.fail = 0
    assert len(await embedder.embed("mini", TEXTS)) == len(TEXTS)
