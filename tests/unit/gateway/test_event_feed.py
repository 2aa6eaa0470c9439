"""Each event reaches the reader of an answer once and in order, by the writer or by itself, however the two take turns."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.knowledge.catalog.answer_types import EventRow
from gateway.serving import event_feed
from gateway.serving.event_feed import EventFeed, behind

Step = tuple[str, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(1, 3)),  # a row with so many events
        st.tuples(st.just("ready"), st.integers(0, 1)),
        st.tuples(st.just("turns"), st.integers(1, 3)),  # of the loop
        st.tuples(st.just("wake"), st.just(0)),
    ),
    max_size=30,
)


class Writer:
    def __init__(self, out: list[bytes]) -> None:
        self.out = out
        self.is_ready = True

    def ready(self) -> bool:
        return self.is_ready

    def write(self, data: bytes) -> None:
        self.out.append(data)


async def _read(feed: EventFeed, rows: list[EventRow], out: list[bytes]) -> None:
    """As BackgroundAnswers does. rows: what the catalog has."""
    while True:
        found, over = feed.take(), feed.is_over
        for row in [row for row in rows if row.last > feed.after] if found is None else found:
            out.append(behind(row, feed.after))
            await asyncio.sleep(0)  # it is being sent
            feed.read(row)
        if over:
            return
        await feed.wait()


async def _told(steps: list[Step], after: int) -> tuple[bytes, bytes]:
    """What the reader saw, and what is behind the event that it had seen."""
    out: list[bytes] = []
    rows: list[EventRow] = []
    feed, writer, last = EventFeed(after), Writer(out), -1
    feed.writer = writer
    task = asyncio.create_task(_read(feed, rows, out))
    for what, number in steps:
        if what == "push":
            events = b"".join(b"data: %d\n\n" % (last + each) for each in range(1, number + 1))
            last += number
            rows.append(EventRow(last, events))
            if last > after:
                feed.push(rows[-1])
        elif what == "ready":
            writer.is_ready = bool(number)
        elif what == "wake":
            feed.wake()
        else:
            for _ in range(number):
                await asyncio.sleep(0)
    feed.end()
    await task
    return b"".join(out), b"".join(b"data: %d\n\n" % each for each in range(after + 1, last + 1))


@given(STEPS, st.integers(-1, 4))
def test_each_event_comes_once_and_in_order(steps: list[Step], after: int) -> None:
    seen, due = asyncio.run(_told(steps, after))
    assert seen == due


def test_a_reader_that_is_far_behind_reads_the_rest_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_feed, "MOST_HELD", 20)
    pushes: list[Step] = [("ready", 0), *[("push", 2)] * 9]
    seen, due = asyncio.run(_told(pushes, -1))
    assert seen == due
    assert len(due) > 20


async def test_a_reader_that_waits_is_not_woken_while_the_writer_keeps_up() -> None:
    out: list[bytes] = []
    feed = EventFeed(-1)
    feed.writer = Writer(out)
    task = asyncio.create_task(feed.wait())
    await asyncio.sleep(0)
    feed.push(EventRow(0, b"data: 0\n\n"))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not task.done()
    assert (out, feed.last, feed.relayed(), feed.relayed()) == ([b"data: 0\n\n"], b"data: 0\n\n", True, False)
    feed.end()
    await task
