"""The words that carry a text's meaning, for cheap comparisons of texts. English and German function words are left out."""

import re

# A number keeps what joins its digits (5.8.2, 1,200, 203.0.113.64/28); scripts without spaces give a word a character.
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\d+(?:[.,:/-]\d+)+|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+"
)

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


def words(text: str) -> list[str]:
    """All words in their order, case folded, an English plural as its singular."""
    return [_singular(word) for word in _WORD.findall(text.casefold())]


def content_words(text: str) -> list[str]:
    """Those of `words` that are no function words."""
    return [_singular(word) for word in _WORD.findall(text.casefold()) if word not in FUNCTION_WORDS]


def _singular(word: str) -> str:
    plural = len(word) > 3 and word.endswith("s") and not word.endswith("ss") and word not in FUNCTION_WORDS
    return word[:-1] if plural else word
