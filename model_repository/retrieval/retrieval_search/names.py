"""The names of people, firms and places in a question, by their capitals. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokens.function_words import FUNCTION_WORDS

_WORD = re.compile(r"[^\W\d_][^\W_]*+(?:['\u2019-][^\W\d_]{2,})*+")
_BETWEEN = re.compile(r" |\. ?")
"""Words of one name; a point stands behind an initial alone."""
_PARTICLES = frozenset("al bin da das de del della den der di do dos du el ibn la le van von zu".split())  # noqa: SIM905
_SENTENCE_ENDS = re.compile("(?:\\A|[.!?:;]\\s+|\n)[\"'(\u201e\u201c\u00ab]*\\Z")
_MOST = 16
"""Of one question."""
_LONGEST = 6
"""Words of a name; a title in capitals is none."""


def names(question: str) -> list[str]:
    """Runs of two capitalized words and more, case folded. What a sentence begins with may be a part of a name or not ("Compare
    Anna Grau …", "Anna Grau's …"): both are given.
    """
    if question.isupper():
        return []
    found: dict[str, None] = {}
    for start, words in _runs(question):
        named = words[1:] if words[0].casefold() in FUNCTION_WORDS else words
        if 2 <= len(named) <= _LONGEST:
            found[" ".join(named).casefold()] = None
        if len(named) == len(words) > 2 and _SENTENCE_ENDS.search(question[:start]):
            found[" ".join(words[1:]).casefold()] = None
    return list(found)[:_MOST]


def name_pattern(name: str) -> re.Pattern[str]:
    """Of case folded texts: `anna grau`, also over a line's end, and turned round as in a register (`grau, anna`)."""
    words = [re.escape(word) for word in name.split()]
    forward, turned = r"\.?\s+".join(words), rf"{words[-1]},\s*{' '.join(words[:-1])}"
    return re.compile(rf"(?<![^\W_])(?:{forward}|{turned})(?![^\W_])")


def _runs(question: str) -> Iterator[tuple[int, list[str]]]:
    """Where each begins, and its words; particles in lower case stand within one, never at its end."""
    run: list[str] = []
    start = end = 0
    for match in _WORD.finditer(question):
        word = re.sub("['\u2019]s\\Z", "", match[0])
        between = question[end : match.start()]
        goes_on = bool(run) and _BETWEEN.fullmatch(between) is not None and (between == " " or len(run[-1]) == 1)
        if not goes_on or not (word[0].isupper() or word in _PARTICLES):
            yield from _ended(start, run)
            run = []
        if word[0].isupper() or run:
            start = start if run else match.start()
            run = [*run, word]
        end = match.end()
        if word != match[0]:  # a genitive is the end of a name
            yield from _ended(start, run)
            run = []
    yield from _ended(start, run)


def _ended(start: int, run: list[str]) -> Iterator[tuple[int, list[str]]]:
    while run and not run[-1][0].isupper():
        run = run[:-1]
    if run:
        yield start, run
