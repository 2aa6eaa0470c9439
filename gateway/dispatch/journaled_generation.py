"""A generation whose token ids are journaled, and which goes on behind those that a journal has already."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from gateway.dispatch.generation import Generation, Generator
from gateway.routing.types import PlacementRequest


class TokenJournal(Protocol):
    """Where the ids of one answer are written down, each as the engine gave it."""

    def recorded(self) -> Sequence[Sequence[int]]:
        """What was written before this generation, perhaps in another process. An empty one is the end."""

    def push(self, ids: Sequence[int]) -> None:
        """What came now."""


class JournaledGeneration(Generation):
    """First gives what its journal has, as it came then, and then goes on behind it as after the loss of an instance."""

    def __init__(
        self, generator: Generator, job: PlacementRequest, sampling: Mapping[str, Any], journal: TokenJournal
    ) -> None:
        super().__init__(generator, job, sampling)
        self._written = journal
        self._replay = list(journal.recorded())[::-1]
        self.journal += [each for ids in journal.recorded() for each in ids]

    def relay(self, take: Callable[[list[int]], bool]) -> None:
        """Every id passes `next()`, where it is written down."""

    async def next(self) -> list[int]:
        """See Generation."""
        if self._replay:
            ids = list(self._replay.pop())
            self.ended |= not ids
            return ids
        ids = await super().next()
        self._written.push(ids)
        return ids
