"""A part that is away fails on every file; one that fails on a file and answers for others means that file."""

import itertools
from collections import OrderedDict
from dataclasses import dataclass

_KNOWN = 10_000
"""Files that are remembered at the most."""


@dataclass(slots=True)
class _Failures:
    last: int
    strikes: int = 0


class PoisonDetector:
    """Counts a file's failures on a part (the object store, the embedding, the index) that answered for others in between.

    It is kept in memory: a new process begins to count anew.
    """

    def __init__(self) -> None:
        self._clock = itertools.count(1)
        self._answered: dict[str, int] = {}
        self._failed: OrderedDict[tuple[str, str], _Failures] = OrderedDict()

    def answered(self, *parts: str) -> None:
        """These parts did what they were asked for a file."""
        self._answered |= dict.fromkeys(parts, next(self._clock))

    def failed(self, part: str, file: str) -> int:
        """The part failed on this file; how often it did so though it had answered for another since the time before."""
        now = next(self._clock)
        known = self._failed.pop((part, file), None) or _Failures(now)
        if self._answered.get(part, 0) > known.last:
            known.strikes += 1
        known.last = now
        self._failed[part, file] = known
        if len(self._failed) > _KNOWN:
            self._failed.popitem(last=False)
        return known.strikes

    def forget(self, file: str) -> None:
        """The file has come to its end."""
        for key in [key for key in self._failed if key[1] == file]:
            del self._failed[key]
