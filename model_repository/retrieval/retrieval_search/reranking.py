"""The best of what was found, in the order of a model that reads question and passage together."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

log = logging.getLogger("retrieval")


class RerankFailed(Exception):
    """There is no such model, or it did not answer; the text says which."""


class Reranker(Protocol):
    """The model `rerank`."""

    async def scores(self, query: str, texts: Sequence[str], *, deadline_s: float) -> Sequence[float]:
        """Of the first texts, as many as the deadline allows: 0…1, higher is better. Raises RerankFailed."""
        ...


async def reranked(
    reranker: Reranker,
    query: str,
    passages: list[dict[str, Any]],
    *,
    candidates: int,
    deadline_s: float,
    count: Callable[[str], None],
) -> list[dict[str, Any]]:
    """The first `candidates`, or as many as the model has read in time, by their `rerank_score`, which they get; then the others
    as they were.

    Where the model fails or is late, all of them as they were: a search is not to fail for its finish. `count` is told
    `done`, `partly`, `late` or `failed`.
    """
    if not passages:
        return passages
    texts = [passage["text"] for passage in passages[:candidates]]
    try:
        async with asyncio.timeout(deadline_s):
            # A part of the time is the way there and back.
            scores = await reranker.scores(query, texts, deadline_s=0.9 * deadline_s)
        if not 0 < len(scores) <= len(texts) or not all(map(math.isfinite, scores)):
            raise RerankFailed(f"{len(scores)} scores for {len(texts)} passages, or some that are no numbers")
    except TimeoutError:
        log.warning("rerank: no answer within %g s; the order of the fusion serves", deadline_s)
        count("late")
        return passages
    except RerankFailed as error:
        log.warning("rerank: %s; the order of the fusion serves", error)
        count("failed")
        return passages
    count("done" if len(scores) == len(texts) else "partly")
    scored = [
        {**passage, "rerank_score": round(float(score), 6)} for passage, score in zip(passages, scores, strict=False)
    ]
    return [*sorted(scored, key=lambda passage: -passage["rerank_score"]), *passages[len(scored) :]]
