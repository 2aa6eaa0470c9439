"""Texts that say again what an earlier one says: which to keep. No I/O."""

import re
from collections import Counter
from collections.abc import Callable, Sequence

SAME_SHARE = 0.9
"""Of word triples that are shared. Higher: only true copies go."""


def distinct_texts(texts: Sequence[str]) -> list[int]:
    """The places of those that are no near-duplicates: of texts that have almost all their word triples in common the first
    stays, and each that has a number, a date or a name which that one has not. Records of one template differ in these.
    """
    return _kept(texts, texts, lambda both, own, other: both >= SAME_SHARE * (own + other - both))


def new_texts(texts: Sequence[str], wholes: Sequence[str]) -> list[int]:
    """The places of those that are not told by an earlier whole. wholes: each text with what stands around it."""
    return _kept(texts, wholes, lambda both, own, _other: both >= SAME_SHARE * own)


def _kept(texts: Sequence[str], wholes: Sequence[str], same: Callable[[int, int, int], bool]) -> list[int]:
    """`same` is asked with the triples of both, of a text, and of a whole before it that was kept."""
    kept: list[int] = []
    sizes: list[int] = []
    vocabularies: list[frozenset[str]] = []
    # Places in `kept`, by triple: a text is compared with those alone that share something with it. All pairs of 100
    # passages took 30 ms, in which the event loop wrote no token.
    holders: dict[tuple[str, ...], list[int]] = {}
    for at, (text, whole) in enumerate(zip(texts, wholes, strict=True)):
        words = _words(text)
        triples = _triples(words)
        names = frozenset(word.casefold() for word in words if _is_name(word))
        shared = Counter(place for triple in triples for place in holders.get(triple, ()))
        if any(
            same(both, len(triples), sizes[place]) and names <= vocabularies[place] for place, both in shared.items()
        ):
            continue
        whole_words = words if whole == text else _words(whole)
        whole_triples = _triples(whole_words)
        for triple in whole_triples:
            holders.setdefault(triple, []).append(len(kept))
        kept.append(at)
        sizes.append(len(whole_triples))
        vocabularies.append(frozenset(map(str.casefold, whole_words)))
    return kept


def _words(text: str) -> list[str]:
    """Of a text without any word the text."""
    return re.findall(r"\w+", text) or [text]


def _triples(words: Sequence[str]) -> frozenset[tuple[str, ...]]:
    """Three words in a row, for every place; of a shorter text all its words."""
    folded = [word.casefold() for word in words]
    return frozenset(tuple(folded[at : at + 3]) for at in range(max(1, len(folded) - 2)))


def _is_name(word: str) -> bool:
    """Whether it may be a number, a part of a date, or a name: it has a digit or a capital, or its script has no capitals."""
    return any(map(str.isdigit, word)) or word[:1].isupper() or word.lower() == word.upper()
