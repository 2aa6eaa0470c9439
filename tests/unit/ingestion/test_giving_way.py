"""Chunks wait while somebody waits for a first token, and not for ever; on a clock that is turned by hand."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import aiohttp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fleet.fleet_state import FleetState
from gateway.fleet.view import FleetMember, Instance, LoadSample
from gateway.ingestion.answer_watch import FRESH_S, QUESTION, AnswerWatch, told
from gateway.ingestion.chunk_embedder import FleetEmbedder
from gateway.ingestion.process import IngestionProcess
from gateway.knowledge.embedder import FakeEmbedder, Vectors
from gateway.routing.types import Answering

HOST = "10.0.0.1"


class Clock:
    """Turned by those who sleep."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


class Gateway:
    """What the gateway would say."""

    def __init__(self, clock: Clock, until: Mapping[str, float], *, silent: bool = False) -> None:
        self._clock, self._until, self._silent = clock, until, silent

    async def hosts(self) -> Mapping[str, Answering] | None:
        if self._silent:
            return None
        return {host: Answering(self._clock.now < until, 0.0) for host, until in self._until.items()}


class Embedder(FleetEmbedder):
    """Notes when it sends how many texts; a pass takes 0.1 s."""

    def __init__(self, clock: Clock, answers: Gateway | None, yield_s: float, load: LoadSample | None = None) -> None:
        store = FleetState(clock)
        store.set_members([FleetMember(Instance("triton-0", HOST, 1, 0, 0, model="m", embedding_model="mini"))])
        if load is not None:
            store.set_load("triton-0", load)
        http = cast("aiohttp.ClientSession", None)
        watch = cast("AnswerWatch | None", answers)
        super().__init__(store, http, answers=watch, yield_s=yield_s, clock=clock, sleep=clock.sleep)
        self.sent: list[tuple[float, int]] = []
        self._by = clock

    async def _infer(self, member: FleetMember, texts: Sequence[str], timeout_s: float) -> Vectors:
        self.sent.append((self._by.now, len(texts)))
        await self._by.sleep(0.1)
        return FakeEmbedder().embed(texts)


@given(waits_s=st.floats(0, 5), yield_s=st.floats(0.01, 2), count=st.integers(1, 30))
async def test_no_batch_is_sent_while_somebody_waits_but_for_the_bound(
    waits_s: float, yield_s: float, count: int
) -> None:
    clock = Clock()
    embedder = Embedder(clock, Gateway(clock, {HOST: waits_s}), yield_s)
    texts = [f"text {number}" for number in range(count)]
    np.testing.assert_array_equal(await embedder.embed("mini", texts), FakeEmbedder().embed(texts))
    first = embedder.sent[0][0]
    assert min(waits_s, yield_s) <= first + 1e-9
    assert first <= min(waits_s + embedder.LOOK_S, yield_s) + 1e-9
    before = 0.0
    for at, _ in embedder.sent:  # none of them starved
        assert at - before <= yield_s + 0.1 * (1 + embedder.BUSY_PAUSE) + 1e-6
        before = at
    assert (
        max(size for _, size in embedder.sent) <= embedder.BUSY_BATCH
    )  # the gateway knew of an answer before metrics did


@pytest.mark.parametrize(
    ("until", "yield_s"),
    [({}, 1.0), ({"10.0.0.2": 9.0}, 1.0), ({HOST: 9.0}, 0.0)],
    ids=["nobody asks", "another host", "switched off"],
)
async def test_nothing_waits_where_nobody_is_kept_waiting(until: Mapping[str, float], yield_s: float) -> None:
    clock = Clock()
    embedder = Embedder(clock, Gateway(clock, until), yield_s)
    await embedder.embed("mini", ["text"] * 20)
    assert embedder.sent[0] == (0.0, embedder.BATCH)
    assert sum(size for _, size in embedder.sent) == 20


async def test_a_gateway_that_has_no_time_to_say_counts_as_one_that_serves() -> None:
    clock = Clock()
    embedder = Embedder(clock, Gateway(clock, {}, silent=True), 0.5)
    await embedder.embed("mini", ["text"])
    assert embedder.sent == [(pytest.approx(0.5), 1)]


async def test_others_gateways_requests_are_seen_in_the_metrics() -> None:
    clock = Clock()
    embedder = Embedder(clock, None, 0.5, LoadSample(at=0.0, active=1, waiting=1))
    await embedder.embed("mini", ["text"])
    assert embedder.sent == [(pytest.approx(0.5), 1)]


@asynccontextmanager
async def gateway_that_answers(says: Sequence[bytes]) -> AsyncIterator[tuple[socket.socket, list[bytes]]]:
    """The ingestion's end of the socket, and what the gateway was told."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard: list[bytes] = []
    with ours, theirs:
        ours.setblocking(False)

        async def answer() -> None:
            for each in says:
                heard.append(await asyncio.get_running_loop().sock_recv(ours, 1 << 20))
                ours.send(each)

        task = asyncio.create_task(answer())
        yield theirs, heard
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=20), st.builds(Answering, st.booleans(), st.floats(0, 10)), max_size=300
    )
)
async def test_what_the_gateway_knows_arrives_whole(hosts: dict[str, Answering]) -> None:
    async with gateway_that_answers([told(hosts)]) as (socket_, heard):
        assert await AnswerWatch(socket_, patience_s=60, clock=lambda: 0.0).hosts() == hosts
    assert heard == [QUESTION]


async def test_it_is_asked_once_for_all_that_wait_and_again_later() -> None:
    now = 0.0
    first, second = {HOST: Answering(True, 0.0)}, {HOST: Answering(False, 1.0)}
    async with gateway_that_answers([told(first), told(second)]) as (socket_, heard):
        watch = AnswerWatch(socket_, patience_s=60, clock=lambda: now)
        assert await asyncio.gather(*(watch.hosts() for _ in range(20))) == [first] * 20
        assert len(heard) == 1
        now = FRESH_S
        assert await watch.hosts() == second


async def test_an_answer_that_came_too_late_is_not_taken_for_the_next_one() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        ours.send(told({HOST: Answering(True, 0.0)}))  # to a question that is given up
        watch, asked = AnswerWatch(theirs, patience_s=60, clock=lambda: 0.0), asyncio.get_running_loop().create_future()
        ours.setblocking(False)
        asyncio.get_running_loop().add_reader(ours, lambda: asked.done() or asked.set_result(ours.recv(10)))
        task = asyncio.create_task(watch.hosts())
        assert await asked == QUESTION
        ours.send(told({}))
        assert await task == {}


async def test_a_gateway_that_is_gone_keeps_nobody_waiting() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.close()
    with theirs:
        assert await AnswerWatch(theirs, patience_s=60, clock=lambda: 0.0).hosts() == {}


async def test_a_gateway_tells_its_child_whom_it_answers_and_keeps_the_report(tmp_path: Path) -> None:
    hosts = {HOST: Answering(True, 0.0)}
    process = IngestionProcess(tmp_path / "log", answering=lambda: hosts)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        theirs.send(b"metric 1\n")
        listener = asyncio.create_task(process._listen(ours))
        try:
            found = await AnswerWatch(theirs, patience_s=60).hosts()
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)
    assert found == hosts
    assert process._report == b"metric 1\n"
