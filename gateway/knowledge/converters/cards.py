"""Calendars (iCalendar) and address cards (vCard): lines of `NAME;PARAMETERS:value`, folded and escaped."""

import quopri
import re
from pathlib import PurePath

from gateway.knowledge.converters.encodings import decode
from gateway.knowledge.converters.text import document_of
from gateway.knowledge.documents import Document
from gateway.knowledge.normalization import clean

_QUOTED = re.compile(r"^[^:\n]*;(?:ENCODING=)?QUOTED-PRINTABLE[^:\n]*:", re.MULTILINE | re.IGNORECASE)
_CHARSET = re.compile(r"CHARSET=\"?([\w.:-]{2,40})", re.IGNORECASE)
_ENCODED = re.compile(
    r"^(?:PHOTO|LOGO|SOUND|KEY|ATTACH)\b[^:\n]*(?:BASE64|ENCODING=B\b)[^:\n]*:.*$", re.MULTILINE | re.IGNORECASE
)
_PARTED = re.compile(rb"([\xc2-\xf4][\x80-\xbf]{0,2})\r?\n[ \t](?=[\x80-\xbf])")
"""The bytes of a character, parted by a fold."""
_ESCAPE = re.compile(r"\\([\\,;nN:])")


def card(name: str, content: bytes) -> Document:
    """Its lines as they were before they were folded (in the middle of words) and escaped; without pictures."""
    decoded = decode(name, _PARTED.sub(rb"\1", content))
    lines: list[str] = []
    for line in re.split(r"\r\n|\r|\n", decoded.text):
        if lines and line[:1] in (" ", "\t"):
            lines[-1] += line[1:]
        elif lines and lines[-1].endswith("=") and _QUOTED.match(lines[-1]):
            lines[-1] = lines[-1][:-1] + line
        else:
            lines.append(line)
    text = "\n".join(_plain(line) for line in lines if not _ENCODED.match(line))
    return document_of(decoded, clean(text), PurePath(name).stem, "plain")


def _plain(line: str) -> str:
    if quoted := _QUOTED.match(line):
        said = _CHARSET.search(quoted.group())
        value = decode("card", quopri.decodestring(line[quoted.end() :]) or b" ", said.group(1) if said else None).text
        line = f"{line.split(';', maxsplit=1)[0]}:{value}"
    return _ESCAPE.sub(lambda match: "\n" if match.group(1) in "nN" else match.group(1), line)
