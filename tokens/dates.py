"""Dates in the forms that people write, as one: `20240305` for 2024-03-05, 5 March 2024, 05.03.2024, March 5, 2024, 5. März 2024.

No I/O. A day and a month that can be either (03/05/2024) give both days.
"""

import re
from collections.abc import Iterator

# Of English, German, French, Spanish, Italian, Portuguese and Dutch, without accents. Three letters and more may stand for one.
_MONTHS = (
    "january januar janner janvier enero gennaio janeiro januari",
    "february februar feber fevrier febrero febbraio fevereiro februari",
    "march marz maerz mars marzo marco maart mrz",
    "april avril abril aprile",
    "may mai mayo maggio maio mei",
    "june juni juin junio giugno junho",
    "july juli juillet julio luglio julho",
    "august aout agosto augustus",
    "september septembre septiembre settembre setembro sept",
    "october oktober octobre octubre ottobre outubro",
    "november novembre noviembre novembro",
    "december dezember decembre diciembre dicembre dezembro",
)
_NUMBER = {name: number for number, names in enumerate(_MONTHS, 1) for name in names.split()}
_NUMBER |= {name[:3]: number for name, number in _NUMBER.items() if name not in ("juillet", "juin", "marco", "mars")}
_MONTH = f"(?P<month>{'|'.join(sorted(_NUMBER, key=len, reverse=True))})\\.?"

_YEAR = r"(?P<year>(?:1\d|20|21)\d\d)"
_DAY = r"(?P<day>[0-3]?\d)"
_FORMS = tuple(
    re.compile(rf"(?<![^\W_])(?<!\d[-./,]){form}(?![^\W_]|[-./]\d)")
    for form in (
        rf"{_YEAR}(?P<by>[-/.])(?P<month>[01]?\d)(?P=by){_DAY}(?:t[\d:.]+z?)?",
        rf"{_DAY}(?P<by>[-/.])(?P<month>[0-3]?\d)(?P=by)(?P<year>(?:1\d|20|21)?\d\d)",
        rf"{_DAY}\. (?P<month>[01]?\d)\. ?{_YEAR}",
        rf"{_DAY}(?:\.|st|nd|rd|th|er|º)?(?:[ -]| of | de )?{_MONTH}(?:,? |-| de | del )?{_YEAR}",
        rf"{_MONTH} ?{_DAY}(?:st|nd|rd|th)?(?:,? ){_YEAR}",
        rf"{_YEAR}(?:,? |-){_MONTH}[ -]{_DAY}(?:st|nd|rd|th)?",
    )
)
_EAST_ASIAN = re.compile(rf"{_YEAR} ?[年년] ?(?P<month>[01]?\d) ?[月월] ?{_DAY} ?[日号일]")


def dates(text: str) -> Iterator[str]:
    """Eight digits for each date. The text is in lower case and without accents (tokens/keywords.py)."""
    for form in (*_FORMS, _EAST_ASIAN):
        for match in form.finditer(text):
            yield from _days(match.groupdict(), day_first=match.start("year") > match.start("month"))


def _days(found: dict[str, str], *, day_first: bool) -> Iterator[str]:
    """One; both readings where neither is wrong; none where it is no date."""
    year = found["year"]
    if len(year) == 2:  # 05.03.24
        year = f"{20 if int(year) < 70 else 19}{year}"
    month = _NUMBER.get(found["month"]) or int(found["month"])
    day = int(found["day"])
    readings = {(month, day)}
    if found.get("by") in ("/", "-") and day_first:
        readings |= {(day, month)}
    for month, day in sorted(readings):
        if 1 <= month <= 12 and 1 <= day <= 31:
            yield f"{year}{month:02}{day:02}"
