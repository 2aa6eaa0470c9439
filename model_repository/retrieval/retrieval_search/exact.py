"""Passages that have what a question names, whatever their vectors say: an embedding model knows no part numbers. No I/O.

Below the threshold of the cosine a passage still counts if it has one of the question's codes, or all of its content words.
"""

from __future__ import annotations

import re

from tokens.words import content_words, spaced

_TOKEN = re.compile(r"[^\W_]+(?:[-./_,:][^\W_]+)*")
_PART = re.compile(r"[^\W\d_]+|\d+")
# 1998 is a year, 26th, 30min and 1990s are quantities: they stand in passages of any subject.
_COMMON = re.compile(r"(?:1\d|20|21)\d\d|\d+(?:[.,:/-]\d+)*[^\W\d_]+")
_MOST_CODES = 32
"""Of one question, the last ones: each is looked for in each passage."""
_LONGEST = 64
"""Characters of a code."""
_LEAST_DIGITS = 4
"""Of a number without letters from which it is one of few. Lower: prices and counts bring in passages of any subject."""


class ExactMatch:
    """Of one question."""

    def __init__(self, question: str) -> None:
        self._codes = [_pattern(code) for code in codes(question)]
        self._words = frozenset(content_words(question))

    def __call__(self, text: str) -> bool:
        """Whether a passage has one of the codes, or all the words."""
        folded = spaced(text).casefold()
        if any(code.search(folded) for code in self._codes):
            return True
        return bool(self._words) and self._words.issubset(content_words(text))


def codes(question: str) -> list[str]:
    """Part numbers, error codes, versions, amounts: words of letters and digits, and numbers of four digits or more."""
    found = []
    for token in _TOKEN.findall(spaced(question).casefold()):
        digits = sum(char.isdigit() for char in token)
        mixed = digits > 0 and any(char.isalpha() for char in token)
        if (mixed or digits >= _LEAST_DIGITS) and len(token) <= _LONGEST and not _COMMON.fullmatch(token):
            found.append(token)
    return list(dict.fromkeys(found))[-_MOST_CODES:]


def _pattern(code: str) -> re.Pattern[str]:
    """`VK-4417-B` is also written `VK 4417 B` and `VK4417B`."""
    parts = map(re.escape, _PART.findall(code))
    return re.compile(rf"(?<![^\W_]){'[-./_,: ]?'.join(parts)}(?![^\W_])")
