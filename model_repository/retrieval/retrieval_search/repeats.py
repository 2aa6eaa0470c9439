"""Passages that say again what a better one says. No I/O."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

TOLD_SHARE = 0.9
"""Of a passage's word triples that a better one must have for the passage to leave. Higher: only true copies go."""


def without_repeats(passages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The passages whose hit is not told by one before them: a file that is in the store twice, an old version of it, a copy
    that was joined to its neighbours elsewhere. Best first; the headings above a passage do not count.
    """
    kept: list[dict[str, Any]] = []
    holders: dict[tuple[str, ...], list[int]] = {}
    for passage in passages:
        triples = _triples(_body(passage.get("hit", passage)))
        shared = Counter(place for triple in triples for place in holders.get(triple, ()))
        if any(count >= TOLD_SHARE * len(triples) for count in shared.values()):
            continue
        for triple in _triples(_body(passage)):
            holders.setdefault(triple, []).append(len(kept))
        kept.append(passage)
    return kept


def _body(passage: Mapping[str, Any]) -> str:
    text: str = passage["text"]
    return text[max(0, len(text) - (passage["end"] - passage["start"])) :]


def _triples(text: str) -> frozenset[tuple[str, ...]]:
    """Three words in a row, for every place; of a shorter text all its words."""
    words = re.findall(r"\w+", text.casefold()) or [text]
    return frozenset(tuple(words[at : at + 3]) for at in range(max(1, len(words) - 2)))
