"""The name of a part of a form and of its file, in each of the ways in which clients write what is not ASCII.

The standard for forms (RFC 7578) wants UTF-8 as it is. .NET and older httpx send `filename*` (RFC 5987), .NET besides a
`filename` as in the heads of mails (RFC 2047), and browsers and newer httpx write %22 for a quote.
"""

import re
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from email.utils import collapse_rfc2231_value
from typing import cast

from python_multipart.multipart import parse_options_header

_ENCODED_WORDS = re.compile(r"(?:=\?[^?\s]+\?[bBqQ]\?[^?]*\?=\s*)+")
_ESCAPED = re.compile(r"%(?:22|0[aAdD])")


def read_disposition(header: bytes) -> tuple[str | None, str | None]:
    """Name and file name; no name where the header is none of a form's part. `filename*` goes before `filename`, where it can
    be read."""
    kind, options = parse_options_header(header)
    if kind != b"form-data" or b"name" not in options:
        return None, None
    plain = None if b"filename" not in options else _plain(_text(options[b"filename"]))
    extended = _extended(_text(header)) if b"*" in header else None
    return _text(options[b"name"]), extended if plain is None or (extended and "\ufffd" not in extended) else plain


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")  # what is sent from Windows where nobody thought of it


def _plain(name: str) -> str:
    if _ENCODED_WORDS.fullmatch(name):
        try:
            return str(make_header(decode_header(name)))
        except (HeaderParseError, LookupError, ValueError):
            return name
    return _ESCAPED.sub(lambda match: chr(int(match.group()[1:], 16)), name)


def _extended(header: str) -> str | None:
    message = Message()
    message["content-disposition"] = header
    for name, value in cast(
        "list[tuple[str, str | tuple[str, str, str]]]", message.get_params([], "content-disposition")
    ):
        if name.lower() == "filename" and isinstance(value, tuple):
            return collapse_rfc2231_value(value)
    return None
