"""The best of what was found, in an order that a model that reads question and passage together has a share in."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from retrieval_search.fusion import scaled

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
    fused: Mapping[str, float],
    weight: float,
    candidates: int,
    deadline_s: float,
    count: Callable[[str], None],
) -> list[dict[str, Any]]:
    """The first `candidates`, or as many as the model has read in time, which get their `rerank_score`; then the others as they
    were.

    fused: id → score of the fusion. weight: 0…1, the model's share of the order; with 1 it is that of `rerank_score`.

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
    read = passages[: len(scores)]
    shares = scaled({passage["id"]: _logit(score) for passage, score in zip(read, scores, strict=True)})
    before = scaled({passage["id"]: fused[passage["id"]] for passage in read})
    order = {key: weight * share + (1 - weight) * before[key] for key, share in shares.items()}
    scored = [{**passage, "rerank_score": round(float(score), 6)} for passage, score in zip(read, scores, strict=True)]
    return [*sorted(scored, key=lambda passage: -order[passage["id"]]), *passages[len(scored) :]]


def _logit(score: float) -> float:
    """What the model said, before the logistic function: there is as much between its best and its second as it meant."""
    clipped = min(max(float(score), 1e-6), 1 - 1e-6)
    return math.log(clipped / (1 - clipped))
