"""The citations of one answer: its passages are compared with their files while the engine writes."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import Self

from gateway.retrieval.passage import Passage
from gateway.serving.citation_check import CitationCheck
from gateway.serving.citations import AnswerCitations, find_citations


class CitationFinder:
    """Of one answer; `async with CitationFinder.start(...)` sees to it that nothing runs on behind it."""

    PATIENCE_S = 1.0
    """How long the end of an answer waits for the comparison, which began before its first token."""

    MAX_ON_LOOP = 40_000
    """Characters of answer and passages that are read on the event loop, in about 5 ms; more are read beside it."""

    def __init__(
        self,
        passages: Sequence[Passage],
        checking: "asyncio.Task[dict[int, bool | None]] | None",
        least_support: float,
    ) -> None:
        self._passages = passages
        self._checking = checking
        self._least_support = least_support

    @classmethod
    def start(
        cls, passages: Sequence[Passage], check: CitationCheck, least_support: float
    ) -> AbstractAsyncContextManager[Self]:
        """The comparison begins, and ends with the answer at the latest."""
        return cls._checked(passages, check, least_support) if passages else nullcontext(cls((), None, least_support))

    @classmethod
    @asynccontextmanager
    async def _checked(
        cls, passages: Sequence[Passage], check: CitationCheck, least_support: float
    ) -> AsyncIterator[Self]:
        checking = asyncio.create_task(check.check(passages), name="citation check")
        try:
            yield cls(passages, checking, least_support)
        finally:
            checking.cancel()
            await asyncio.gather(checking, return_exceptions=True)

    async def find(self, text: str) -> AnswerCitations:
        """What a whole answer cites. A passage that could not be compared in time is cited as not verified."""
        verified: Mapping[int, bool | None] = {}
        if self._checking is not None:
            done, _ = await asyncio.wait([self._checking], timeout=self.PATIENCE_S)
            verified = self._checking.result() if done else {}
        find = partial(find_citations, text, self._passages, verified=verified, least_support=self._least_support)
        size = len(text) + sum(len(passage.text) for passage in self._passages)
        return find() if size <= self.MAX_ON_LOOP else await asyncio.to_thread(find)
