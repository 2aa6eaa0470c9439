"""An idle ingestion waits for news of work: it asks nothing again and again, and misses nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.ingestion import service
from gateway.ingestion.metrics import IngestionMetrics
from gateway.ingestion.process import IngestionProcess
from gateway.ingestion.service import IngestionWork
from gateway.knowledge.catalog.database import Database
from gateway.knowledge.catalog.ingestion_types import Backlog

EMPTY = Backlog(waiting={}, oldest={}, removals=0, first_removal=None)
ONE_FILE = Backlog(waiting={"a": 1}, oldest={"a": 1.0}, removals=0, first_removal=None)


class Queue:
    """A catalog's queue, and a loop that works on it."""

    def __init__(self) -> None:
        self.now = EMPTY
        self.rounds = 0
        self.rested = asyncio.Event()
        self.done = asyncio.Event()

    async def backlog(self) -> Backlog:
        return self.now

    async def round(self) -> int:
        self.rounds += 1
        found, self.now = self.now, EMPTY
        (self.done if found is ONE_FILE else self.rested).set()
        return int(found is ONE_FILE)


@asynccontextmanager
async def at_work(queue: Queue, may_work: Callable[[], bool], news: asyncio.Event) -> AsyncIterator[IngestionWork]:
    work = IngestionWork(may_work, IngestionMetrics())
    loops: list[Awaitable[None]] = [work.look(queue, news, 3600.0), work.repeat("jobs", queue.round)]
    tasks = [asyncio.ensure_future(each) for each in loops]
    try:
        yield work
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "PAUSE_S", 0.0)


async def test_what_is_told_of_is_done_and_nothing_is_asked_in_vain() -> None:
    queue, news = Queue(), asyncio.Event()
    async with asyncio.timeout(60), at_work(queue, lambda: True, news):
        await queue.rested.wait()
        for _ in range(50):
            await asyncio.sleep(0)
        rounds = queue.rounds
        assert rounds <= 2  # the first one, and one when it may work
        queue.now = ONE_FILE
        news.set()
        await queue.done.wait()


async def test_who_may_work_at_last_begins() -> None:
    queue, news, may = Queue(), asyncio.Event(), False
    async with asyncio.timeout(60), at_work(queue, lambda: may, news):
        for _ in range(50):
            await asyncio.sleep(0)
        assert queue.rounds == 0
        may = True
        news.set()  # by the lock
        await queue.rested.wait()


async def test_a_gateway_tells_its_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = tmp_path / "heard"
    program = tmp_path / "child"
    program.write_text(f"#!/bin/sh\nread line; echo told > {heard}\nexec cat\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    process = IngestionProcess(tmp_path / "log")
    process.tell()  # nobody is there yet: no error
    task = asyncio.create_task(process.run())
    try:
        async with asyncio.timeout(60):
            while process.pid is None:
                await asyncio.sleep(0.01)
            process.tell()
            while not heard.exists():
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_change_is_told_when_everybody_can_see_it(tmp_path: Path) -> None:
    database, told = Database(f"sqlite:///{tmp_path / 'catalog.db'}"), []
    database.on_commit = lambda: told.append(True)
    try:
        async with database.write():
            assert not told
        assert told == [True]
        with pytest.raises(ZeroDivisionError):
            async with database.write():
                1 / 0  # noqa: B018
        async with database.read():
            pass
        assert told == [True]
    finally:
        await database.close()


@pytest.mark.parametrize("ticks", range(4))
@pytest.mark.parametrize("loop", ["look", "repeat"])
async def test_a_loop_that_is_told_and_ended_at_once_ends(loop: str, ticks: int) -> None:
    """A gateway that dies is news and the end in one: the loop went on for ever then, and so did its process."""
    queue, news, work = Queue(), asyncio.Event(), IngestionWork(lambda: True, IngestionMetrics())
    running = work.look(queue, news, 3600.0) if loop == "look" else work.repeat("jobs", queue.round)
    task = asyncio.create_task(running)
    for _ in range(50):
        await asyncio.sleep(0)
    news.set()
    work.wake()
    for _ in range(ticks):
        await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=5)
    assert done
    assert task.cancelled()
