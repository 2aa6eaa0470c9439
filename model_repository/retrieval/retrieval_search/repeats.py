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
    """Without near-duplicates (a file that is in the store twice, with a word changed): of passages that have almost all
    their triples in common the first stays. Records of one template differ in their numbers, dates or names: all stay.
    """
    return _kept(passages, lambda both, own, other: both >= SAME_SHARE * (own + other - both))


def news(passages: Sequence[Passage]) -> list[Passage]:
    """Without those whose hit is told by one before them, for a prompt: a copy that was joined to its neighbours elsewhere, a
    sentence that a longer passage has.
    """
    return _kept(passages, lambda both, own, _other: both >= SAME_SHARE * own)


def _kept(passages: Sequence[Passage], same: Callable[[int, int, int], bool]) -> list[Passage]:
    """Those that are not the same as one that was kept before, by the triples of both, of the hit, and of that one; and those
    that name what it does not.
    """
    kept: list[Passage] = []
    sizes: list[int] = []
    words: list[frozenset[str]] = []
    # Places in `kept`, by triple: a passage is compared only with those that share something with it.
    holders: dict[tuple[str, ...], list[int]] = {}
    for passage in passages:
        hit = _words(passage.get("hit", passage))
        triples = _triples(hit)
        names = frozenset(word.casefold() for word in hit if _is_name(word))
        shared = Counter(place for triple in triples for place in holders.get(triple, ()))
        if any(same(both, len(triples), sizes[place]) and names <= words[place] for place, both in shared.items()):
            continue
        whole = _words(passage) if "hit" in passage else hit
        whole_triples = _triples(whole)
        for triple in whole_triples:
            holders.setdefault(triple, []).append(len(kept))
        kept.append(passage)
        sizes.append(len(whole_triples))
        words.append(frozenset(word.casefold() for word in whole))
    return kept


def _words(passage: Mapping[str, Any]) -> list[str]:
    """Of the body; of one without any word the body."""
    text: str = passage["text"]
    body = text[max(0, len(text) - (passage["end"] - passage["start"])) :]
    return re.findall(r"\w+", body) or [body]


def _triples(words: Sequence[str]) -> frozenset[tuple[str, ...]]:
    """Three words in a row, for every place; of a shorter text all its words."""
    folded = [word.casefold() for word in words]
    return frozenset(tuple(folded[at : at + 3]) for at in range(max(1, len(folded) - 2)))


def _is_name(word: str) -> bool:
    """Whether it may be a number, a part of a date, or a name: it has a digit or a capital, or its script has no capitals."""
    return any(map(str.isdigit, word)) or word[:1].isupper() or word.lower() == word.upper()
