"""The citations of one answer: its passages are compared with their files while the engine writes."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Self

from gateway.serving.citation_check import CitationCheck
from gateway.serving.citations import Cited, cite


class Citing:
    """Of one answer; `async with Citing.of(...)` sees to it that nothing runs on behind it."""

    PATIENCE_S = 1.0
    """How long the end of an answer waits for the comparison, which began before its first token."""

    AT_ONCE = 40_000
    """Characters of answer and passages that are read on the event loop, in about 5 ms; more are read beside it."""

    def __init__(
        self,
        sources: Sequence[Mapping[str, Any]],
        checking: "asyncio.Task[dict[int, bool | None]] | None",
        least_support: float,
    ) -> None:
        self._sources = sources
        self._checking = checking
        self._least_support = least_support

    @classmethod
    @asynccontextmanager
    async def of(
        cls, sources: Sequence[Mapping[str, Any]], passages: CitationCheck, least_support: float
    ) -> AsyncIterator[Self]:
        """The comparison begins, and ends with the answer at the latest."""
        if not sources:
            yield cls((), None, least_support)
            return
        checking = asyncio.create_task(passages.check(sources), name="passage check")
        try:
            yield cls(sources, checking, least_support)
        finally:
            checking.cancel()
            await asyncio.gather(checking, return_exceptions=True)

    async def cited(self, text: str) -> Cited:
        """What a whole answer cites. A passage that could not be compared in time is cited as not verified."""
        verified: Mapping[int, bool | None] = {}
        if self._checking is not None:
            done, _ = await asyncio.wait([self._checking], timeout=self.PATIENCE_S)
            verified = self._checking.result() if done else {}
        read = partial(cite, text, self._sources, verified=verified, least_support=self._least_support)
        size = len(text) + sum(len(source["text"]) for source in self._sources)
        return read() if size <= self.AT_ONCE else await asyncio.to_thread(read)
