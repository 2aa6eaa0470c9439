"""The words of a text, in any script: for keyword search, and for cheap comparisons of texts. No I/O."""

import re
import unicodedata

# Scripts that are written without spaces between words: Thai, Lao, Burmese, Khmer, Chinese, Japanese; and Korean, whose particles
# hang on its words.
_UNSPACED = (
    "\u0e01-\u0e4e\u0e81-\u0ece\u1000-\u1049\u1780-\u17d3\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_UNSPACED_RUN = re.compile(f"[{_UNSPACED}]+")
# A number keeps what joins its digits (5.8.2, 1,200, 203.0.113.64/28); scripts without spaces give a word a character.
_WORD = re.compile(rf"[{_UNSPACED}]|\d+(?:[.,:/-]\d+)+|[^\W_{_UNSPACED}]+")

FUNCTION_WORDS = frozenset(
    """
    a about above after again against all also am an and any are as at be because been before being below between both
    but by can could did do does doing don down during each few for from further had has have having he her here hers
    him his how i if in into is it its itself just may me might more most must my no nor not now of off on once only or
    other our ours out over own s same shall she should so some such t than that the their them then there these they
    this those through to too under until up very was we were what when where which while who whom whose why will with
    within without would you your yours
    aber als am an auch auf aus bei beim bis da dann das dass dem den der des dies diese dieser dieses doch durch ein
    eine einem einen einer eines er es für haben ich ihr ihre im ist kann kein keine mit nach nicht noch nur ob oder sein
    sich sie sind über um und uns unter vom von vor warum wann was weil welche welcher welches wenn wer werden wie wir
    wird wo wurde wurden zu zum zur
    """.split()  # noqa: SIM905 - a list literal of them would be ten times as many lines
)
"""Of English and German: those that carry none of a text's meaning."""

_STEMMED = re.compile(r"\b[^\W\d_]{4,}\b")
_UMLAUTS = str.maketrans("äöü", "aou")
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
    stands alone stays. All characters are in their compatible form (`ﬁ`, full width); marks that do not melt into their letter
    and what is invisible are left out, since the analyzer would cut words there. Words lose the commonest endings.
    """
    return _STEMMED.sub(lambda word: _stem(word[0]), spaced(text).casefold())


def keyword_query(question: str) -> str:
    """What keyword search looks for: the words of a question, both as they are and without their endings, so that an index
    without stems is searched as well. Function words are left out where there are others: they say nothing of a passage,
    and each of them is in so many that looking at these is most of a search's time.
    """
    separated = spaced(question)
    capitals = question.isupper()
    looked_for: list[str] = []
    for word in re.findall(r"\w+", separated):
        folded = word.casefold()
        if folded not in FUNCTION_WORDS or (is_acronym(word) and not capitals):
            stem = _STEMMED.sub(lambda match: _stem(match[0]), folded)
            looked_for += [folded] if stem == folded else [folded, stem]
    return " ".join(looked_for) or separated


def spaced(text: str) -> str:
    """A text in the compatible form of its characters, without marks and what is invisible; in scripts without spaces every two
    neighbouring characters are a word.
    """
    normal = unicodedata.normalize("NFKC", text)
    if not normal.isascii():
        normal = "".join(char for char in normal if unicodedata.category(char) not in ("Mn", "Mc", "Me", "Cf"))
    return _UNSPACED_RUN.sub(_pairs, normal)


def _pairs(run: re.Match[str]) -> str:
    chars = run[0]
    pairs = [chars[at : at + 2] for at in range(len(chars) - 1)] or [chars]
    return f" {' '.join(pairs)} "


def _stem(word: str) -> str:
    """Of German and English alike, and of what is near them: `Häuser` and `Haus`, `houses` and `house` become one."""
    if word in FUNCTION_WORDS:
        return word
    return _ENDING.sub("", word.translate(_UMLAUTS), count=1)


def _singular(word: str) -> str:
    plural = len(word) > 3 and word.endswith("s") and not word.endswith("ss") and word not in FUNCTION_WORDS
    return word[:-1] if plural else word
