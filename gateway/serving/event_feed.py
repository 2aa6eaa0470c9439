"""The events of one answer on their way from its journal to a reader at the gateway that makes it."""

import asyncio
from collections.abc import Sequence

from gateway.errors import RagfleetError
from gateway.knowledge.catalog.answer_types import EventRow
from gateway.serving.answer_journal import END

MOST_HELD = 256 * 1024
"""Bytes for a reader that is slow; it reads what is more from the catalog."""


class EventFeed:
    """What was committed since the reader looked last. Where something is missing, the catalog has it."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.is_over = False
        """Whether all events of the answer have been told."""
        self.refusal: RagfleetError | None = None
        """Why there will be none at all."""
        self._rows: list[EventRow] = []
        self._size = 0

    def push(self, row: EventRow) -> None:
        """These were committed now."""
        if self._size > MOST_HELD:
            self._rows.clear()
            self._size = 0
        self._rows.append(row)
        self._size += len(row.events)
        self.news.set()

    def end(self, refusal: RagfleetError | None = None) -> None:
        """Nothing more comes."""
        self.is_over, self.refusal = True, refusal
        self.news.set()

    def take(self, after: int) -> Sequence[EventRow] | None:
        """What is behind the event of this number; None where something is missing in between."""
        rows, self._rows, self._size = [row for row in self._rows if row.last > after], [], 0
        self.news.clear()
        if rows and rows[0].last - rows[0].events.count(END) > after:
            return None
        return rows


def behind(row: EventRow, after: int) -> bytes:
    """The events of a row that are behind the one with this number."""
    new = row.last - after
    if new >= row.events.count(END):
        return row.events
    return END.join(row.events.split(END)[-new - 1 :])
