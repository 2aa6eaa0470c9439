"""Passages that say again what a better one says. No I/O. Headings above a passage do not count."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Passage = dict[str, Any]

SAME_SHARE = 0.9
"""Of word triples that are shared. Higher: only true copies go."""


def distinct(passages: Sequence[Passage]) -> list[Passage]:
    """Without near-duplicates (a file that is in the store twice, an old version of it): of passages that have almost all
    their triples in common the first stays.
    """
    return _kept(passages, lambda both, own, other: both >= SAME_SHARE * (own + other - both))


def news(passages: Sequence[Passage]) -> list[Passage]:
    """Without those whose hit is told by one before them, for a prompt: a copy that was joined to its neighbours elsewhere, a
    sentence that a longer passage has.
    """
    return _kept(passages, lambda both, own, _other: both >= SAME_SHARE * own)


def _kept(passages: Sequence[Passage], same: Callable[[int, int, int], bool]) -> list[Passage]:
    """Those that are not the same as one that was kept before, by the triples of both, of the hit, and of that one."""
    kept: list[Passage] = []
    sizes: list[int] = []
    # Places in `kept`, by triple: a passage is compared only with those that share something with it.
    holders: dict[tuple[str, ...], list[int]] = {}
    for passage in passages:
        hit = _triples(passage.get("hit", passage))
        shared = Counter(place for triple in hit for place in holders.get(triple, ()))
        if any(same(both, len(hit), sizes[place]) for place, both in shared.items()):
            continue
        whole = _triples(passage) if "hit" in passage else hit
        for triple in whole:
            holders.setdefault(triple, []).append(len(kept))
        kept.append(passage)
        sizes.append(len(whole))
    return kept


def _triples(passage: Mapping[str, Any]) -> frozenset[tuple[str, ...]]:
    """Three words in a row, for every place of the body; of a shorter one all its words."""
    text: str = passage["text"]
    body = text[max(0, len(text) - (passage["end"] - passage["start"])) :]
    words = re.findall(r"\w+", body.casefold()) or [body]
    return frozenset(tuple(words[at : at + 3]) for at in range(max(1, len(words) - 2)))
