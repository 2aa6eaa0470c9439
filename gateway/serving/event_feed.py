"""The events of one answer on their way from its journal to a reader at the gateway that makes it."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Protocol, Self

from gateway.errors import RagfleetError
from gateway.knowledge.catalog.answer_types import EventRow
from gateway.serving.answer_journal import END

MOST_HELD = 256 * 1024
"""Bytes for a reader that is slow; it reads what is more from the catalog."""


class QuickWriter(Protocol):
    """Where events go without a task that wakes up for them."""

    def ready(self) -> bool:
        """Whether `write` may be called now."""

    def write(self, data: bytes) -> None:
        """Some whole events."""


class EventFeed:
    """What was committed since the reader looked last. Where something is missing, the catalog has it."""

    def __init__(self, after: int) -> None:
        """after: the number of the event that the reader has seen last."""
        self.after = after
        self.last = b""
        """The events that were read last."""
        self.is_over = False
        """Whether all events of the answer have been told."""
        self.refusal: RagfleetError | None = None
        """Why there will be none at all."""
        self.writer: QuickWriter | None = None
        """Where events go while the reader waits for them and is not behind."""
        self._news = asyncio.Event()
        self._waits = self._relayed = False
        self._rows: list[EventRow] = []
        self._size = 0

    def push(self, row: EventRow) -> None:
        """These were committed now."""
        if self._waits and self.writer is not None and not self._rows and self._follows(row) and self.writer.ready():
            self.writer.write(row.events)
            self.read(row)
            self._relayed = True
            return
        if self._size > MOST_HELD:
            self._rows.clear()
            self._size = 0
        self._rows.append(row)
        self._size += len(row.events)
        self._news.set()

    def end(self, refusal: RagfleetError | None = None) -> None:
        """Nothing more comes."""
        self.is_over, self.refusal = True, refusal
        self._news.set()

    def wake(self) -> None:
        """The reader shall look."""
        self._news.set()

    async def wait(self) -> None:
        """For something to read."""
        self._waits = True
        try:
            await self._news.wait()
        finally:
            self._waits = False

    def take(self) -> Sequence[EventRow] | None:
        """What is behind the event that was read last; None where something is missing in between."""
        rows, self._rows, self._size = [row for row in self._rows if row.last > self.after], [], 0
        self._news.clear()
        if rows and rows[0].last - rows[0].events.count(END) > self.after:
            return None
        return rows

    def read(self, row: EventRow) -> None:
        """Up to here."""
        self.after, self.last = row.last, row.events

    def relayed(self) -> bool:
        """Whether something went to the writer since this was asked."""
        relayed, self._relayed = self._relayed, False
        return relayed

    def _follows(self, row: EventRow) -> bool:
        return row.last - row.events.count(END) == self.after


class AnswerEvents:
    """The events of an answer for one reader: an asynchronous iterator, which must be closed."""

    def __init__(self, events: AsyncGenerator[bytes, None], feed: EventFeed, leave: Callable[[], None]) -> None:
        """leave: called where it is closed, perhaps before anything was read. Once more does no harm."""
        self._events = events
        self._feed = feed
        self._leave = leave

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._events)

    def relay(self, writer: QuickWriter | None) -> None:
        """From now on events go to `writer` as they come, while it is ready; the others come by the iterator, which must be
        waited for all the while."""
        self._feed.writer = writer

    @property
    def after(self) -> int:
        """The number of the event that was read last, or behind which reading began."""
        return self._feed.after

    @property
    def last(self) -> bytes:
        """The events that came last, whichever way."""
        return self._feed.last

    async def aclose(self) -> None:
        """Idempotent."""
        await self._events.aclose()
        self._leave()


def behind(row: EventRow, after: int) -> bytes:
    """The events of a row that are behind the one with this number."""
    new = row.last - after
    if new >= row.events.count(END):
        return row.events
    return END.join(row.events.split(END)[-new - 1 :])
