"""Durations and moments as people write them."""

import re
import time
from datetime import UTC, datetime

import typer

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_FORM = re.compile(r"(\d{1,9})([smhdw])")


def seconds(text: str, option: str) -> int:
    """`30d`, `12h`, `90m`, `45s`, `2w`, or `0`. Raises typer.BadParameter."""
    if text == "0":
        return 0
    if (found := _FORM.fullmatch(text)) is None:
        raise typer.BadParameter(f"'{text}' is no duration; write 30d, 12h or 45m", param_hint=option)
    return int(found[1]) * _UNITS[found[2]]


def moment(text: str, option: str) -> int:
    """Unix seconds of a duration from now, or of a day or time in UTC: `2027-01-31`, `2027-01-31T12:00`."""
    if _FORM.fullmatch(text):
        return int(time.time()) + seconds(text, option)
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        message = f"'{text}' is neither a duration (30d, 12h) nor a date (2027-01-31)"
        raise typer.BadParameter(message, param_hint=option) from None
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())
