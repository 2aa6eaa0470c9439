"""A generation whose token ids are journaled, and which goes on behind those that a journal has already."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from gateway.dispatch.migrating_generation import Generation, Generator
from gateway.routing.types import PlacementRequest
from gateway.triton.log_probs import TokenLogProb

JournaledToken = int | Sequence[Any]
"""A token's id; where log probabilities are told, [id, log probability, [[id, log probability] of each alternative]]."""


class TokenJournal(Protocol):
    """Where the tokens of one answer are written down, each as the engine gave it."""

    def recorded(self) -> Sequence[Sequence[JournaledToken]]:
        """What was written before this generation, perhaps in another process. An empty one is the end."""

    def push(self, tokens: Sequence[JournaledToken]) -> None:
        """What came now."""

    cached_tokens: int
    """Of the prompt, as the instance that read it first has told."""


class JournaledGeneration(Generation):
    """First gives what its journal has, as it came then, and then goes on behind it as after the loss of an instance."""

    def __init__(
        self, generator: Generator, job: PlacementRequest, sampling: Mapping[str, Any], journal: TokenJournal
    ) -> None:
        super().__init__(generator, job, sampling)
        self._written = journal
        self._replay = [list(step) for step in reversed(journal.recorded())]
        self._cached_tokens = journal.cached_tokens
        self.journal += [_id(each) for step in journal.recorded() for each in step]

    def relay(self, take: Callable[[list[int]], bool]) -> None:
        """See Generation. What is taken so is written down, too."""

        push = self._written.push

        def written(ids: list[int]) -> bool:
            taken = take(ids)
            if taken:
                push(ids)
            return taken

        super().relay(written)

    async def next(self) -> list[int]:
        """See Generation."""
        if self._replay:
            step = self._replay.pop()
            self.log_probs += [TokenLogProb(*each) for each in step if not isinstance(each, int)]
            self.ended |= not step
            return [_id(each) for each in step]
        told = len(self.log_probs)
        ids = await super().next()
        self._written.cached_tokens = self.cached_tokens
        self._written.push([[*each] for each in self.log_probs[told:]] or ids)
        return ids


def _id(token: JournaledToken) -> int:
    return token if isinstance(token, int) else int(token[0])
