"""Passages that say again what a better one says. No I/O. Headings above a passage do not count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tokens.repeats import distinct_texts, new_texts

Passage = dict[str, Any]


def distinct(passages: Sequence[Passage]) -> list[Passage]:
    """Without near-duplicates: a file that is in the store twice, with a word changed."""
    return [passages[at] for at in distinct_texts([_body(passage) for passage in passages])]


def news(passages: Sequence[Passage]) -> list[Passage]:
    """Without those whose hit is told by one before them, for a prompt: a copy that was joined to its neighbours elsewhere, a
    sentence that a longer passage has.
    """
    hits = [_body(passage.get("hit", passage)) for passage in passages]
    return [passages[at] for at in new_texts(hits, [_body(passage) for passage in passages])]


def _body(passage: Mapping[str, Any]) -> str:
    text: str = passage["text"]
    return text[max(0, len(text) - (passage["end"] - passage["start"])) :]
