"""Numbers as the formats of their cells show them, near enough to be found: percentages, currencies, leading zeros, and what a
format writes around the digits (`"INV-"00000`, `0 "kg"`). No I/O."""

import re
from collections.abc import Sequence

_CURRENCY = re.compile(r"\[\$([^\-\]\d]{1,5})[-\]]|([€$£¥₹₽₩])")
_QUOTED = re.compile(r'"[^"]*"|\\.|\[[^\]$]*\]')
_CONDITION = re.compile(r"\[[<>=]")
_TOKEN = re.compile(
    r'(?P<literal>"[^"]*"|\\.)|(?P<nothing>[_*].|\[[^\]]*\])|(?P<digit>[0#?]|General)|(?P<plain>[-+/():!^&\'~{}<>= ])'
    r"|(?P<other>.)",
    re.DOTALL | re.IGNORECASE,
)
_LONGEST = 255
"""Characters of a format, as Excel has it."""


def number(value: float, number_format: str) -> str:
    """A number as its cell shows it, but with all its digits, and a currency behind it."""
    pattern = _QUOTED.sub("", number_format)
    if "%" in pattern:
        return f"{value * 100:.15g}%"
    shown = str(int(value)) if value == value // 1 and abs(value) < 1e21 else f"{value:.15g}"
    currency = _CURRENCY.search(number_format)
    made = _dressed(value, shown, number_format) if len(number_format) <= _LONGEST else shown
    return f"{made} {currency.group(1) or currency.group(2)}" if currency else made


def _dressed(value: float, shown: str, number_format: str) -> str:
    """With leading zeros, and what is written before, between and behind the digits. Of several sections the first one counts."""
    section = _first_section(number_format)
    tokens = [(match.lastgroup or "", match[0]) for match in _TOKEN.finditer(section)]
    places = [at for at, (kind, _) in enumerate(tokens) if kind == "digit"]
    if not places or _CONDITION.search(number_format):
        return shown
    first, last = places[0], places[-1]
    inner = tokens[first : last + 1]
    if all(kind != "other" for kind, _ in inner) and value == value // 1 and 0 <= value < 1e21:
        shown = _filled(shown, inner)
    if tokens[last + 1 : last + 2] == [("other", ",")]:  # thousands or millions: the digits that are shown are others
        return shown
    before, behind = _words(tokens[:first]), _words(tokens[last + 1 :])
    return f"{before if value >= 0 else ''}{shown}{behind}"


def _first_section(number_format: str) -> str:
    made = ""
    for match in re.finditer(r'"[^"]*"|\\.|[^;"\\]+|;|.', number_format, re.DOTALL):
        if match[0] == ";":
            break
        made += match[0]
    return made


def _filled(shown: str, tokens: Sequence[tuple[str, str]]) -> str:
    """Digits in their places, from the right; what stands between two of them if the digits reach so far."""
    if any(written != "0" for kind, written in tokens if kind == "digit"):
        return shown
    places = sum(kind == "digit" for kind, _ in tokens)
    if places < 2:
        return shown
    left = list(shown.zfill(places))
    made: list[str] = []
    for kind, token in reversed(tokens):
        made.append(left.pop() if kind == "digit" else _unquoted(token) if kind in ("literal", "plain") else "")
    return "".join([*left, *reversed(made)])


def _words(tokens: Sequence[tuple[str, str]]) -> str:
    """What is written there, if it is more than signs, which belong to currencies and to sums below zero."""
    made = "".join(_unquoted(token) for kind, token in tokens if kind in ("literal", "plain"))
    made = re.sub(r"[€$£¥₹₽₩]", "", made)
    return made if re.search(r"\w", made) else ""


def _unquoted(token: str) -> str:
    return token[1:-1] if token[0] == '"' and len(token) > 1 else token[1:] if token[0] == "\\" else token
