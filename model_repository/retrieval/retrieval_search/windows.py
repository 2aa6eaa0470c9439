"""A long question (a pasted mail with a question at its end) as windows: each is searched, and the best counts. No I/O.

One vector of a long text says what most of it is about, and the embedding model drops what is behind its 256 tokens. On the
handbook's questions between sentences of mails, windows of a sentence or two found more than longer ones (docs/retrieval.md).
"""

from __future__ import annotations

import itertools
import re

LONG = 40
"""Words up to which a question is searched whole."""
WORDS = 20
"""Of a window, unless one sentence has more. More: what surrounds the question counts more."""
MOST = 48
"""Windows. Of a longer text those at its beginning and at its end, where questions stand."""

_SENTENCE = re.compile(r"(?<=[.!?\u2026])\s+|\n+|(?<=[\u3002\uff01\uff1f])")
# As a word counts also a character of a script without spaces, or so many letters without any.
_WORD = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{1,2}|\w{1,40}")


def windows(question: str) -> list[str]:
    """Sentences in a row, or pieces of very long ones, in their order; none for a question that is short."""
    head, tail = question[: MOST * 200], question[MOST * 200 :][-MOST * 200 :]
    if len(_WORD.findall(head)) <= LONG:
        return []
    made: list[str] = []
    size = WORDS
    for sentence in [*_SENTENCE.split(head), *_SENTENCE.split(tail)]:
        for piece in _pieces(sentence):
            words = len(_WORD.findall(piece))
            if not words:
                continue
            if made and size + words <= WORDS:
                made[-1] = f"{made[-1]} {piece}"
                size += words
            else:
                made.append(piece)
                size = words
    return made if len(made) <= MOST else [*made[: MOST // 4], *made[-(MOST - MOST // 4) :]]


def _pieces(sentence: str) -> list[str]:
    """It, in pieces of two windows where it has more words than that."""
    cuts = [match.start() for match in _WORD.finditer(sentence)][2 * WORDS :: 2 * WORDS]
    return [sentence[a:b].strip() for a, b in itertools.pairwise([0, *cuts, len(sentence)])]
