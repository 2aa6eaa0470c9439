"""Passages that have what a question names, whatever their vectors say: an embedding model knows no part numbers. No I/O.

Below the threshold of the cosine a passage still counts if it has one of the question's codes or dates, in whatever spelling
(tokens/spellings.py), a name of two words or more (names.py), or all of its content words. Where a question is about a code and
nothing else ("Where is VK-4417-B?"), a passage without it does not count, however near: it is about another part. So it is in
any question of a sentence or two with a code that no passage has: what names others of its kind (INV-2024-0007 where
INV-2024-0999 was asked for, Q3 for Q7, order 77001 for order 88812) is about those.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set

from retrieval_search.names import name_pattern, names
from tokens.keywords import content_words, indexed, spaced, symbols, unaccented
from tokens.spellings import joined, spellings

_TOKEN = re.compile(r"[^\W_]+(?:[-./_,:][^\W_]+)*")
_WORD = re.compile(r"[^\W_]+")
_PART = re.compile(r"[^\W\d_]+|\d+")
_SEPARATOR = re.compile(r"[\W_]+")
# 1998 is a year, 26th, 30min and 1990s are quantities: they stand in passages of any subject.
_COMMON = re.compile(r"(?:1\d|20|21)\d\d|\d+(?:[.,:/-]\d+)*[^\W\d_]+")
_COMPOUND = re.compile(r"\d+[^\W_]*(?:-[^\W_]+)*?-?[^\W\d_]{3,}\Z")
"""A word that begins with a number: 400-seat, 1970er-Jahren."""
_MOST_CODES = 32
"""Of one question, the last ones: each is looked for in each passage."""
_LONGEST = 64
"""Characters of a code."""
_ASKING = frozenset({"die", "find", "mean", "show", "tell"})
"""Words with a meaning, none of which says what a question is about; "die" is German, too."""
_LEAST_DIGITS_OF_A_PART = 3
"""Of a word of letters and digits that is taken for one part's number, and no abbreviation: H2O, R2D2, COVID-19."""
_MOST_WORDS = 40
"""Of a question whose codes are what it is about; a mail has some that are not."""
_LEAST_DIGITS = 4
"""Of a number without letters from which it is one of few. Lower: prices and counts bring in passages of any subject."""
_LEAST_DIGITS_OF_A_NUMBER = 5
"""Of a number without letters that is all a question is about: fewer are a year, a price, a count."""
_LABELLED = re.compile(
    r"([^\W\d_]{3,})(?:[ -](?:number|nummer|num|no|nr|id))?+[.:]?(?: ?[#\u2116])?[ :|]*(\d{4,})(?![^\W_]|[.,:/-]\d)"
)
"""`order 88812`, `Auftrag Nr. 88812`, `| Ticket number | 88812 |`: what a number is of."""
_NUMBER_ENDING = re.compile(r"s?(?:nummer|number|num|nr)\Z")
_LEAST_LETTERS = 3
"""Of a word that says what a number is of."""


class ExactMatch:
    """Of one question."""

    def __init__(self, question: str) -> None:
        named = codes(question)
        self._codes = {_SEPARATOR.sub("", code): _pattern(code) for code in named}
        self._names = {name: name_pattern(name) for name in map(spaced, names(question))}
        self._spellings = frozenset(filter(_is_code, joined(unaccented(question)))) | self._codes.keys()
        self._words = frozenset(content_words(question))
        self._symbols = frozenset(() if self._words else symbols(question))
        rest = _TOKEN.sub(_without_code, spaced(question)) if any(map(_is_part, named)) else question
        self.is_all = rest is not question and _ASKING.issuperset(content_words(rest))
        """Whether the question is about codes and nothing else."""
        self._is_short = len(question.split()) <= _MOST_WORDS
        self._kinds = frozenset(_kinds(question)) if self._is_short else frozenset[str]()

    def __call__(self, text: str) -> bool:
        """Whether a passage has one of the codes or names, or all the words."""
        if self.has_code(text) or (self._names and self._named(spaced(text).casefold())):
            return True
        if self._symbols:
            return self._symbols.issubset(symbols(text))
        return bool(self._words) and self._words.issubset(content_words(text))

    def has_code(self, text: str) -> bool:
        """Whether a passage has one of the codes, in whatever spelling."""
        folded = spaced(text).casefold()
        return any(code.search(folded) for code in self._codes.values()) or bool(self._spelled_in(text))

    def things_in(self, text: str) -> Set[str]:
        """Which of the codes, dates and names that a question of a sentence or two is about a passage has."""
        if not self._is_short or not (self._codes or self._spellings or self._names):
            return frozenset()
        folded = spaced(text).casefold()
        written = {code for code, pattern in self._codes.items() if pattern.search(folded)}
        return written | self._spelled_in(text) | self._named(folded)

    def _spelled_in(self, text: str) -> Set[str]:
        if not self._spellings:
            return frozenset()
        written = unaccented(text)
        return self._spellings.intersection([*spellings(written), *_WORD.findall(written.casefold())])

    def _named(self, folded: str) -> Set[str]:
        return {name for name, pattern in self._names.items() if pattern.search(folded)}

    def of_others(self, texts: Mapping[str, str]) -> Set[str]:
        """Which of these passages, by their keys, are about others of the kind that the question asks for; none where one of them
        has what it asks for."""
        if not self._kinds or any(map(self.has_code, texts.values())):
            return frozenset()
        return {key for key, text in texts.items() if not self._kinds.isdisjoint(_kinds(text))}


def codes(question: str) -> list[str]:
    """Part numbers, error codes, versions, amounts: words of letters and digits, and numbers of four digits or more."""
    without_symbols = "".join(char for char in question if not symbols(char))
    found = filter(_is_code, _TOKEN.findall(spaced(without_symbols).casefold()))
    return list(dict.fromkeys(found))[-_MOST_CODES:]


def _is_code(token: str) -> bool:
    """A word of letters and digits, or a long number, that few passages have."""
    digits = sum(char.isdigit() for char in token)
    mixed = digits > 0 and any(char.isalpha() for char in token)
    return (mixed or digits >= _LEAST_DIGITS) and len(token) <= _LONGEST and not _COMMON.fullmatch(token)


def _is_part(code: str) -> bool:
    if code.isdigit():
        return len(code) >= _LEAST_DIGITS_OF_A_NUMBER
    return any(char.isalpha() for char in code) and sum(char.isdigit() for char in code) >= _LEAST_DIGITS_OF_A_PART


def _kind(code: str) -> str:
    """What codes of a kind have in common: their letters (of those with many digits only how many) and where their digits are.
    Nothing of a code without a letter, for numbers of prices and of orders look alike: what stands before it says what it is of
    (`_kinds`). Nor of a compound with a number."""
    if not any(char.isalpha() for char in code) or _COMPOUND.match(code):
        return ""
    many = _is_part(code)
    return "".join("0" if part.isdigit() else "a" * len(part) if many else part for part in _PART.findall(code))


def _kinds(text: str) -> Iterator[str]:
    """The kinds of the codes of a question or passage; of numbers without letters what they are numbers of."""
    folded = spaced(text).casefold()
    yield from filter(None, (_kind(token) for token in _TOKEN.findall(folded) if _is_code(token)))
    for match in _LABELLED.finditer(folded):
        if _is_code(match[2]):
            yield from _labels(match[1])
    head: list[str] = []
    for line in folded.splitlines():
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            for name, cell in zip(head, cells, strict=False):
                if cell.isdigit() and _is_code(cell):
                    yield from _labels(name)
            head = head or cells
        else:
            head = []


def _labels(text: str) -> Iterator[str]:
    words = (_NUMBER_ENDING.sub("", word) for word in content_words(text))
    return (f"{indexed(word)} 0" for word in words if len(word) >= _LEAST_LETTERS)


def _without_code(token: re.Match[str]) -> str:
    return "" if _is_code(token[0].casefold()) else token[0]


def _pattern(code: str) -> re.Pattern[str]:
    """`VK-4417-B` is also written `VK 4417 B` and `VK4417B`."""
    parts = map(re.escape, _PART.findall(code))
    return re.compile(rf"(?<![^\W_]){'[-./_,: ]?'.join(parts)}(?![^\W_])")
