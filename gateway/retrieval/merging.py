"""Passages of several questions as one list, each text once. No I/O."""

from collections.abc import Sequence
from dataclasses import replace

from gateway.retrieval.passage import Passage
from tokens.repeats import distinct_texts

RANK_OFFSET = 60
"""Of reciprocal ranks, as the retrieval model takes it: the larger, the less the first places count."""


def merged(rankings: Sequence[Sequence[Passage]]) -> list[Passage]:
    """One ranking of several questions' by reciprocal ranks; a passage has its best score. One ranking stays as it is."""
    if len(rankings) == 1:
        return list(rankings[0])
    best: dict[str, Passage] = {}
    total: dict[str, float] = {}
    for ranking in rankings:
        for rank, passage in enumerate(ranking, 1):
            known = best.setdefault(passage.id, passage)
            best[passage.id] = replace(known, score=max(known.score, passage.score))
            total[passage.id] = total.get(passage.id, 0.0) + 1 / (RANK_OFFSET + rank)
    return [best[key] for key in sorted(best, key=lambda key: -total[key])]


def distinct(passages: Sequence[Passage]) -> list[Passage]:
    """Without near-duplicates, of which the first stays."""
    return [passages[at] for at in distinct_texts([passage.body for passage in passages])]
