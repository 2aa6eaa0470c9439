"""Words of English and German that carry none of a text's meaning. No I/O."""

from collections.abc import Iterable

ENGLISH = frozenset(
    """
    a about above after again against all also am an and any are as at be because been before being below between both
    but by can could did do does doing don down during each few for from further had has have having he her here hers
    him his how i if in into is it its itself just may me might more most must my no nor not now of off on once only or
    other our ours out over own s same shall she should so some such t than that the their them then there these they
    this those through to too under until up very was we were what when where which while who whom whose why will with
    within without would you your yours
    """.split()  # noqa: SIM905 - a list literal of them would be ten times as many lines
)
GERMAN = frozenset(
    """
    aber als am an auch auf aus bei beim bis da dann das dass dem den der des dies diese dieser dieses doch durch ein
    eine einem einen einer eines er es für haben ich ihr ihre im ist kann kein keine mit nach nicht noch nur ob oder sein
    sich sie sind über um und uns unter vom von vor warum wann was weil welche welcher welches wenn wer werden wie wir
    wird wo wurde wurden zu zum zur
    """.split()  # noqa: SIM905 - as above
)
FUNCTION_WORDS = ENGLISH | GERMAN

_TELL_ENGLISH = ENGLISH - GERMAN - {"die", "will", "so", "in", "hat", "her", "war", "man"}
_TELL_GERMAN = (GERMAN | {"die"}) - ENGLISH


def language_signs(words: Iterable[str]) -> tuple[int, int]:
    """How many of the words (in lower case) are English function words, and how many German ones; what both have is neither."""
    english = german = 0
    for word in words:
        english += word in _TELL_ENGLISH
        german += word in _TELL_GERMAN
    return english, german
