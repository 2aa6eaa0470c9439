"""Detokenizing many streams at once, for a caller that gets their tokens piece by piece and only knows their names."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tokens.detokenizer import IncrementalDetokenizer
from tokens.vocabulary import TokenTable


@dataclass(slots=True)
class _Stream:
    detokenizer: IncrementalDetokenizer
    last_used: float


class StreamDetokenizers:
    """Nobody says when a stream ends, so one that was silent for `idle_s` is forgotten, and beyond `capacity` the one that
    was silent the longest. What a forgotten stream loses is at most the beginning of an unfinished character.
    """

    def __init__(
        self,
        table: TokenTable,
        *,
        idle_s: float = 60.0,
        capacity: int = 4096,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = table
        self._idle_s = idle_s
        self._capacity = capacity
        self._clock = clock
        self._streams: OrderedDict[str, _Stream] = OrderedDict()  # the longest silent first

    def push(self, name: str, ids: Sequence[int]) -> str:
        """The text that `ids` add to the stream `name`."""
        now = self._clock()
        self._forget(now)
        stream = self._streams.setdefault(name, _Stream(IncrementalDetokenizer(self._table), now))
        stream.last_used = now
        self._streams.move_to_end(name)
        return "".join(map(stream.detokenizer.push, ids))

    def __len__(self) -> int:
        return len(self._streams)

    def _forget(self, now: float) -> None:
        while self._streams:
            oldest = next(iter(self._streams.values()))
            if len(self._streams) < self._capacity and now - oldest.last_used < self._idle_s:
                return
            self._streams.popitem(last=False)
