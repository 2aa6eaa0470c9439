"""Two rankings become one: docs/retrieval.md says why this way."""

from __future__ import annotations

from collections.abc import Mapping

RANKERS = ("minmax", "rrf", "dense", "bm25")
"""Weighted sum of both scores, each scaled to 0…1 over what there is of it; reciprocal ranks; one search alone."""

# Cormack, Clarke and Büttcher (SIGIR 2009): 1 / (60 + rank), summed over the rankings.
RRF_K = 60


def fuse(
    dense: Mapping[str, float], bm25: Mapping[str, float], *, ranker: str, dense_weight: float
) -> dict[str, float]:
    """Id → fused score, best first, of what either search found; a draw goes to the one that the dense search has in front.

    dense, bm25: id → score, higher is better, best first. dense_weight: 0…1, what `minmax` gives the dense score; the rest
    is BM25's. What a search did not find counts 0 in it.
    """
    if ranker == "rrf":
        parts = [_reciprocal(dense), _reciprocal(bm25)]
        weights = (1.0, 1.0)
    else:
        parts = [scaled(dense), scaled(bm25)]
        weights = (dense_weight, 1.0 - dense_weight)
    found = dict.fromkeys([*dense, *bm25])
    total = {
        key: sum(weight * scores.get(key, 0.0) for weight, scores in zip(weights, parts, strict=True)) for key in found
    }
    return dict(sorted(total.items(), key=lambda item: -item[1]))


def _reciprocal(scores: Mapping[str, float]) -> dict[str, float]:
    return {key: 1 / (RRF_K + rank) for rank, key in enumerate(scores, 1)}


def scaled(scores: Mapping[str, float]) -> dict[str, float]:
    """The best 1, the worst 0; all 1 where they are equal."""
    if not scores:
        return {}
    low, high = min(scores.values()), max(scores.values())
    return {key: (score - low) / (high - low) if high > low else 1.0 for key, score in scores.items()}
