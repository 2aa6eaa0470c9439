"""Codes, long numbers and dates, each in the one spelling that keyword search compares. No I/O.

`AB1234.57X` and `AB-1234-57X`, `1,234,567` and `1 234 567`, an IBAN with and without blanks, `DIN 912` and `DIN912`, `0x1F4A` and
`1F4A`, 5 March 2024 and 05.03.2024: an analyzer cuts each into other words. So what they have in common becomes a word, too.
"""

import re
from collections.abc import Iterator

from tokens.dates import dates
from tokens.function_words import FUNCTION_WORDS

# Each begins where a word does and gives back nothing that it took: a text may be one word of 48,000 digits.
_JOINED = re.compile(r"(?<![^\W_])[^\W_]++(?:[-./_,:'\u2019\u00b7\u2212\u2013][^\W_]++)++")
_THOUSANDS = re.compile(r"(?<![^\W_])(?<!\d[.,])\d{1,3}(?: \d{3})+(?![^\W_])")
_GROUPS = re.compile(r"(?<![^\W_])(?=[^\W\d_]*+\d)[^\W_]++(?:[ -](?=[^\W\d_]*+\d)[^\W_]++)++")
_CAPITALS = re.compile(r"(?<![^\W_])([A-Z]{1,6} \d[\dA-Z]*+)((?: \d[\dA-Z]*+)*+(?: [A-Z])?)(?![^\W_])")
"""A norm, a type and its number: `DIN 912`, `VK 4417 B`."""
_HEXADECIMAL = re.compile(r"(?<![^\W_])0x0*+([\da-f]++)(?![^\W_])")
_WITH_DECIMALS = re.compile(r"\d{1,3}(?:[,.'\u2019 ]\d{3})+([.,]\d{1,2})|\d{4,}[.,]\d{1,2}")
_SEPARATOR = re.compile(r"[\W_]+")
_PART = re.compile(r"[^\W\d_]+|\d+")
_WHOLE = re.compile(r"\d+(?:st|nd|rd|th|s)|u[\da-f]{4,5}")
"""Has digits and letters, and no parts: 5th, 1990s, an emoji (tokens/keywords.py)."""
_RUN = re.compile(r"(?<![^\W_])[^\W_]++(?:[-./_,:' \u2019][^\W_]++)++")
_LONGEST = 64
"""Characters of a code."""
_NEIGHBOURS = 4
"""Words of a question that may be one code."""
_LONG_WORD = 6
"""Letters of a word that may be a part of a code."""
_MOST = 64
"""Spellings added to a question."""


def spellings(text: str) -> Iterator[str]:
    """The common spelling of each code, number and date that can be written in several ways, in the text's order for each kind.

    The text is in the compatible form of its characters, without accents; capitals matter.
    """
    folded = text.casefold()
    yield from dates(folded)
    if not any(char.isdigit() for char in folded):
        return
    for form in (_JOINED, _THOUSANDS, _GROUPS):
        for match in form.finditer(folded):
            yield from _telling(match[0])
            decimals = _WITH_DECIMALS.fullmatch(match[0])
            if decimals:
                yield from _telling(re.split(r"[.,](?=\d{1,2}$)", match[0])[0])
    for match in _CAPITALS.finditer(text):
        yield from _telling(match[1].casefold())
        if match[2]:
            yield from _telling(match[0].casefold())
    for match in _HEXADECIMAL.finditer(folded):
        yield match[1]


def joined(question: str) -> list[str]:
    """Spellings, and what neighbours are as one word: in a question nobody knows what belongs together (`vk4417b` for
    `VK 4417 B`). At most 64.
    """
    made: dict[str, None] = dict.fromkeys(spellings(question))
    for run in _RUN.findall(question.casefold()):
        words = _SEPARATOR.split(run)
        for first in range(len(words)):
            for last in range(first + 2, min(first + _NEIGHBOURS, len(words)) + 1):
                if not _may_be_of_a_code(words[last - 1]) or not _may_be_of_a_code(words[first]):
                    break
                made.update(dict.fromkeys(_telling("".join(words[first:last]))))
        if len(made) >= _MOST:
            break
    return list(made)[:_MOST]


def guesses(question: str) -> list[str]:
    """What else a question may mean: `joined`, and letters and digits apart (`DIN 912` for `DIN912`). At most 64."""
    made = dict.fromkeys(joined(question))
    for word in re.findall(r"[^\W_]+", question.casefold()):
        parts = _PART.findall(word)
        if 1 < len(parts) < 9 and not _WHOLE.fullmatch(word):
            made.update(dict.fromkeys(part for part in parts if len(part) > 1))
    return list(made)[:_MOST]


def _may_be_of_a_code(word: str) -> bool:
    return (
        len(word) == 1
        or word.isdigit()
        or (len(word) <= _LONG_WORD and word not in FUNCTION_WORDS)
        or any(map(str.isdigit, word))
    )


def _telling(code: str) -> Iterator[str]:
    """Without what separates its parts, if it has a digit and is no longer than codes are."""
    joined = _SEPARATOR.sub("", code)
    if 1 < len(joined) <= _LONGEST and any(char.isdigit() for char in joined):
        yield joined
