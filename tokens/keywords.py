"""The words of a text, in any script: for keyword search, and for cheap comparisons of texts. No I/O."""

import re
import unicodedata
from collections.abc import Iterator

from tokens.chinese import simplified
from tokens.compounds import parts
from tokens.function_words import FUNCTION_WORDS, language_signs
from tokens.spellings import guesses, spellings

# Scripts that are written without spaces between words: Thai, Lao, Burmese, Khmer, Chinese, Japanese; and Korean, whose particles
# hang on its words.
_UNSPACED = (
    "\u0e01-\u0e4e\u0e81-\u0ece\u1000-\u1049\u1780-\u17d3\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_UNSPACED_RUN = re.compile(f"[{_UNSPACED}]+")
# A number keeps what joins its digits (5.8.2, 1,200, 203.0.113.64/28); scripts without spaces give a word a character.
_WORD = re.compile(rf"[{_UNSPACED}]|\d+(?:[.,:/-]\d+)+|[^\W_{_UNSPACED}]+")

_STEMMED = re.compile(r"\b[^\W\d_]{4,}\b")
_UMLAUTS = str.maketrans("äöü", "aou")
_SPELLED_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
_SPELLED_UMLAUT = re.compile(r"ae|oe|(?<![aeq])ue")
# Latin letters with marks that are no characters of their own in the compatible form, and those that have no plain form there.
_PLAIN_LETTERS = {
    code: unicodedata.normalize("NFD", chr(code))[0]
    for code in (*range(0xC0, 0x250), *range(0x1E00, 0x1F00))
    if len(unicodedata.normalize("NFD", chr(code))) > 1
} | str.maketrans(
    {"ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ı": "i", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE"}
)
_SYMBOL = re.compile("[\u231a\u231b\u23e9-\u23fa\u2600-\u27bf\u2b50\u2b55\U0001f000-\U0001f3fa\U0001f400-\U0001faff]")
"""Emoji, without the colours of their skin."""
# Three letters stay. An s belongs to its word behind i, u and s: Preis, bus, class.
_ENDING = re.compile(r"(?<=...)(?:ern|em|en|er|es|e|(?<![ius])s|n)$")


def words(text: str) -> list[str]:
    """All words in their order, case folded, an English plural as its singular."""
    return [_singular(word) for word in _WORD.findall(text.casefold())]


def content_words(text: str) -> list[str]:
    """Those of `words` that are no function words. "IT" is one that is none, unless all of the text is in capitals."""
    capitals = text.isupper()
    return [
        _singular(word.casefold())
        for word in _WORD.findall(text)
        if word.casefold() not in FUNCTION_WORDS or (is_acronym(word) and not capitals)
    ]


def is_acronym(word: str) -> bool:
    """Two capitals or more, and nothing else."""
    return len(word) > 1 and word.isalpha() and word.isupper()


def keyword_text(text: str) -> str:
    """A text as keyword search indexes it: Milvus's analyzer cuts it where no letter or digit is.

    In scripts without spaces every two neighbouring characters become a word, as nobody knows where theirs begin; one that
    stands alone stays. All characters are in their compatible form (`ﬁ`, full width), Chinese ones simplified, Latin ones
    without accents; marks that do not melt into their letter and what is invisible are left out, since the analyzer would cut
    words there. Words lose the commonest endings. Behind the text follow the common spellings of its codes, numbers and dates,
    and the parts of its German compounds.
    """
    plain = _compatible(text)
    made = indexed(_UNSPACED_RUN.sub(_pairs, plain).casefold())
    found = _STEMMED.findall(made)
    return " ".join([made, *dict.fromkeys(spellings(plain.translate(_PLAIN_LETTERS))), *_compound_parts(plain, found)])


def keyword_query(question: str) -> str:
    """What keyword search looks for: the words of a question, both as they are and as `keyword_text` has them, so that an index
    of an earlier version is searched as well; then what else they may be written as. Function words are left out where there
    are others: they say nothing of a passage, and each of them is in so many that looking at these is most of a search's time.
    """
    plain = _compatible(question)
    separated = _UNSPACED_RUN.sub(_pairs, plain)
    capitals = question.isupper()
    looked_for: list[str] = []
    otherwise: list[str] = []
    for word in re.findall(r"\w+", separated):
        folded = word.casefold()
        if folded not in FUNCTION_WORDS or (is_acronym(word) and not capitals):
            made = indexed(folded)
            looked_for += [folded] if made == folded else [folded, made]
            otherwise += map(indexed, _umlauts_otherwise(folded))
    more = [*otherwise, *guesses(plain.translate(_PLAIN_LETTERS)), *_compound_parts(plain, looked_for)]
    looked_for += [word for word in dict.fromkeys(more) if word not in looked_for]
    return " ".join(looked_for) or separated


def symbols(text: str) -> list[str]:
    """The emoji of a text, as words."""
    return [_symbol(match).strip() for match in _SYMBOL.finditer(text)]


def spaced(text: str) -> str:
    """A text in the compatible form of its characters, without marks and what is invisible; in scripts without spaces every two
    neighbouring characters are a word, and so is an emoji.
    """
    return _UNSPACED_RUN.sub(_pairs, _compatible(text))


def unaccented(text: str) -> str:
    """A text in the compatible form of its characters, Latin letters without their marks: what `tokens.spellings` reads."""
    return _compatible(text).translate(_PLAIN_LETTERS)


def _compatible(text: str) -> str:
    normal = unicodedata.normalize("NFKC", text)
    if normal.isascii():
        return normal
    normal = "".join(char for char in normal if unicodedata.category(char) not in ("Mn", "Mc", "Me", "Cf"))
    return _SYMBOL.sub(_symbol, normal)


def _symbol(match: re.Match[str]) -> str:
    return f" u{ord(match[0]):x} "


def _pairs(run: re.Match[str]) -> str:
    chars = run[0]
    pairs = [chars[at : at + 2] for at in range(len(chars) - 1)] or [chars]
    return f" {' '.join(pairs)} "


def indexed(folded: str) -> str:
    """Words in lower case as they stand in the index."""
    return simplified(_STEMMED.sub(lambda word: _stem(word[0]), folded)).translate(_PLAIN_LETTERS)


def _umlauts_otherwise(word: str) -> Iterator[str]:
    """`größl` for `groessl`, and the other way round."""
    if len(word) >= 4 and word.isalpha():
        if word.translate(_UMLAUTS) != word:
            yield word.translate(_SPELLED_OUT)
        elif _SPELLED_UMLAUT.search(word):
            yield _SPELLED_UMLAUT.sub(lambda match: match[0][0], word)


def _compound_parts(text: str, found: list[str]) -> Iterator[str]:
    """Of German words, and of those that may be: an English text has none."""
    english, german = language_signs(text.casefold().split())
    if english <= german:
        for word in found:
            yield from parts(word)


def _stem(word: str) -> str:
    """Of German and English alike, and of what is near them: `Häuser` and `Haus`, `houses` and `house` become one."""
    if word in FUNCTION_WORDS:
        return word
    return _ENDING.sub("", word.translate(_UMLAUTS), count=1)


def _singular(word: str) -> str:
    plural = len(word) > 3 and word.endswith("s") and not word.endswith("ss") and word not in FUNCTION_WORDS
    return word[:-1] if plural else word
