"""Plain text, Markdown, source code and tables of text, in whatever encoding they come."""

import csv
import io
import re
from pathlib import PurePath

from gateway.knowledge.documents import CorruptDocument, Document, clean

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SAMPLE = 64 * 1024
"""Bytes that are looked at where the encoding must be guessed."""


def decode(name: str, content: bytes) -> str:
    """UTF-8, UTF-16 with a byte order mark, or what the bytes look like. Raises CorruptDocument for what is no text."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    else:
        encodings = ["utf-8-sig"]
        if not _is(content, "utf-8-sig"):
            encodings = [_likely(content), "cp1252"]
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        # Stray controls happen in UTF-8 (logs have colours), but almost any bytes are some one-byte encoding.
        controls = set(_CONTROLS.findall(text)) - set("\n\r\t\f")
        if "\0" not in controls and not (controls and encoding != "utf-8-sig"):
            return text
    raise CorruptDocument(f"{name} is not text; save it as UTF-8")


def is_text(content: bytes) -> bool:
    """Whether these bytes are UTF-8 without binary controls, or UTF-16 that says so: surely text."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _is(content, "utf-16")
    return b"\0" not in content and _is(content, "utf-8-sig")


def _is(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _likely(content: bytes) -> str:
    """The encoding that makes the most sense of the bytes; among equals that of western Europe."""
    from charset_normalizer import from_bytes

    matches = from_bytes(content[:_SAMPLE])
    best = matches.best()
    if best is None:
        return "cp1252"
    for match in matches:
        same = (match.chaos, match.coherence) == (best.chaos, best.coherence)
        if same and not best.multi_byte_usage and "cp1252" in match.could_be_from_charset:
            return "cp1252"
    return best.encoding


def title_of(text: str, name: str) -> str:
    """The first heading of a Markdown text, or the file's name without its ending."""
    first = re.search(r"^ {0,3}#[ \t]+(.+?)[ \t#]*$", text, re.MULTILINE)
    return first.group(1) if first else PurePath(name).stem


def markdown(name: str, content: bytes) -> Document:
    """Markdown, as it is."""
    text = clean(decode(name, content))
    return Document(text, title_of(text, name), "markdown")


def plain(name: str, content: bytes) -> Document:
    """Text without markup."""
    return Document(clean(decode(name, content)), PurePath(name).stem, "plain")


def code(name: str, content: bytes) -> Document:
    """Source code, and whatever else is made of lines. Its title keeps the ending: it names the language."""
    return Document(clean(decode(name, content)), PurePath(name).name, "code")


def table(name: str, content: bytes) -> Document:
    """A table with a separator of its own choice, as a Markdown table."""
    text = decode(name, content).strip()
    try:
        dialect: type[csv.Dialect] | csv.Dialect = csv.Sniffer().sniff(text[:_SAMPLE], delimiters=",;\t|")
    except csv.Error:
        dialect = csv.excel_tab if name.lower().endswith(".tsv") else csv.excel
    try:
        rows = list(csv.reader(io.StringIO(text), dialect))
    except csv.Error as error:
        raise CorruptDocument(f"{name} is not a readable table: {error}") from error
    return Document(clean(markdown_table(rows)), PurePath(name).stem, "markdown")


def markdown_table(rows: list[list[str]]) -> str:
    """Rows as a Markdown table, the first one as its head; empty rows, and columns that are empty at the right, are left out."""
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    width = max((last + 1 for row in rows for last, cell in enumerate(row) if cell.strip()), default=0)
    if not width:
        return ""
    lines = [
        "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in [*row, *[""] * width][:width]) + " |"
        for row in rows
    ]
    return "\n".join([lines[0], "| " + " | ".join(["---"] * width) + " |", *lines[1:]]) + "\n"
