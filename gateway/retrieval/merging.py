"""Passages of several questions as one list, each text once. No I/O."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from gateway.retrieval.passage import Passage

RANK_OFFSET = 60
"""Of reciprocal ranks, as the retrieval model takes it: the larger, the less the first places count."""
SAME_SHARE = 0.9
"""Of the word triples of two passages together that both must have to be one text. Higher: only true copies go."""


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
    """Without near-duplicates, as the retrieval model tells them (retrieval_search/repeats.py): of passages that share almost
    all their word triples the first stays, and each that has a number or a name which that one has not.
    """
    kept: list[Passage] = []
    sizes: list[int] = []
    words: list[frozenset[str]] = []
    # Places in `kept`, by triple: a passage is compared with those alone that share something with it. All pairs of
    # 100 passages took 30 ms, in which the event loop wrote no token.
    holders: dict[tuple[str, ...], list[int]] = {}
    for passage in passages:
        body = re.findall(r"\w+", passage.body) or [passage.body]
        triples = _triples(body)
        names = frozenset(word.casefold() for word in body if _is_name(word))
        shared = Counter(place for triple in triples for place in holders.get(triple, ()))
        if any(
            both >= SAME_SHARE * (len(triples) + sizes[place] - both) and names <= words[place]
            for place, both in shared.items()
        ):
            continue
        for triple in triples:
            holders.setdefault(triple, []).append(len(kept))
        kept.append(passage)
        sizes.append(len(triples))
        words.append(frozenset(map(str.casefold, body)))
    return kept


def _triples(words: Sequence[str]) -> frozenset[tuple[str, ...]]:
    """Three words in a row, for every place; of a shorter text all its words."""
    folded = [word.casefold() for word in words]
    return frozenset(tuple(folded[at : at + 3]) for at in range(max(1, len(folded) - 2)))


def _is_name(word: str) -> bool:
    """Whether it may be a number, a part of a date, or a name: it has a digit or a capital, or its script has no capitals."""
    return any(map(str.isdigit, word)) or word[:1].isupper() or word.lower() == word.upper()
