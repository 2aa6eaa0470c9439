"""JSON, XML and properties as their readers see them: escapes become the characters that they stand for, so that words are words.

It is done token by token: what is not quite valid is read, too, and numbers, the order of keys and repeated ones stay.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePath

from gateway.knowledge.converters.encodings import decode
from gateway.knowledge.converters.text import document_of, lined
from gateway.knowledge.documents import Document
from gateway.knowledge.normalization import clean

# A string that does not end goes on to the end of the text: to look for it anew from each quote would take time in the square.
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[{}\[\],]|[^"{}\[\],]+', re.DOTALL)
_ESCAPE = re.compile(r'(?:\\u[0-9a-fA-F]{4})+|\\["\\/bfnrt]')
_UNICODE = re.compile(r"(?:\\u[0-9a-fA-F]{4})+")
_OF_STRINGS = re.compile(r"\\x([0-9a-fA-F]{2})|\\U([0-9a-fA-F]{8})")
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_SIMPLE = {r"\n": "\n", r"\r": "\n", r"\t": "\t", r"\b": "", r"\f": "\n"}
_ENTITY = re.compile(r"<!ENTITY\s+([\w.-]{1,80})\s+[\"']([^\"'&%<>]{1,1000})[\"']\s*>")
_REFERENCE = re.compile(r"&([\w.-]{1,80});")
_MAX_ENTITY_CHARS = 1_000_000
"""Characters that texts with names may take in a document."""
_LONG_LINE = 400
"""Characters of a line, on average, above which a file was not laid out to be read."""
_WRAP = 200
"""Characters after which a record of such a file gets another line."""


def json(name: str, content: bytes) -> Document:
    """JSON; a file that is one long line is given lines, one for each record if that is short."""
    decoded = decode(name, content)
    text = decoded.text
    if len(text) > _LONG_LINE * (text.count("\n") + 1):
        text = "".join(_laid_out(text))
    return document_of(decoded, clean(_unescaped(text)), PurePath(name).name, "code")


def json_lines(name: str, content: bytes) -> Document:
    """JSON with a record on each line, which stays one."""
    decoded = decode(name, content)
    records = [line for line in re.split(r"\r\n|\r|\n", decoded.text) if line.strip()]
    text = clean("".join(" ".join(_unescaped(record).split()) + "\n" for record in records))
    made = document_of(decoded, text, PurePath(name).name, "code")
    return replace(made, rows=len(records))


def xml(name: str, content: bytes) -> Document:
    """XML with its tags."""
    decoded = decode(name, content)
    text = html.unescape(_with_entities(decoded.text))
    return document_of(decoded, clean(text), PurePath(name).name, "code")


def _with_entities(text: str) -> str:
    """With the texts that a document has given names of its own, in their places. They are not looked into, nor are files."""
    begin = text.find("<!DOCTYPE")
    end = text.find("]", begin)
    known = dict(_ENTITY.findall(text, begin, end)) if 0 <= begin < end else {}
    left = _MAX_ENTITY_CHARS

    def words(match: re.Match[str]) -> str:
        nonlocal left
        found = known.get(match[1], match.group())
        left -= len(found)
        return found if left >= 0 else match.group()

    return _REFERENCE.sub(words, text) if known else text


def unicode_escapes(name: str, content: bytes) -> Document:
    """YAML, TOML: both have `\\u00fc`, and in quotes `\\xfc` and `\\U000000fc`, too."""
    decoded = decode(name, content)
    text = _STRING.sub(lambda string: _OF_STRINGS.sub(_by_number, string.group()), decoded.text)
    return lined(document_of(decoded, clean(_UNICODE.sub(_characters, text)), name, "code"), decoded)


def properties(name: str, content: bytes) -> Document:
    """Java's properties: `\\u00fc`, and values that go on in the next line."""
    decoded = decode(name, content)
    text = re.sub(r"(?<!\\)((?:\\\\)*)\\(?:\r\n|\r|\n)[ \t]*", r"\1", decoded.text)
    return lined(document_of(decoded, clean(_UNICODE.sub(_characters, text)), name, "code"), decoded)


def _by_number(match: re.Match[str]) -> str:
    number = int(match[1] or match[2], 16)
    return chr(number) if number <= 0x10FFFF else match.group()


def _laid_out(text: str) -> Iterator[str]:
    length, last = 0, ""
    for match in _TOKEN.finditer(text):
        part = match.group()
        if part == ",":
            ends = length > _WRAP or last in ("}", "]")
            yield ",\n" if ends else ", "
            length = 0 if ends else length
        else:
            yield ": " + part[1:].lstrip() if part[0] == ":" else part
        length += len(part)
        last = part


def _unescaped(text: str) -> str:
    return _TOKEN.sub(
        lambda token: (_ESCAPE if token.group()[0] == '"' else _UNICODE).sub(_characters, token.group()), text
    )


def _characters(match: re.Match[str]) -> str:
    escape = match.group()
    if escape[1] == "u":  # pairs of surrogates are one character
        return b"".join(bytes.fromhex(unit) for unit in escape.split("\\u")[1:]).decode("utf-16-be", "replace")
    return _SIMPLE.get(escape, escape[1])
