"""Plain text, Markdown and source code, in whatever encoding they come."""

import html
import re
from dataclasses import replace
from pathlib import PurePath

from gateway.knowledge.converters.encodings import Decoded, decode
from gateway.knowledge.document_structure import heading_words
from gateway.knowledge.documents import Document, Markup
from gateway.knowledge.normalization import clean

_LINE_END = re.compile(r"\r\n|\r")
# What `clean` makes a line's end of that is none to an editor, and what it looks for over the ends of lines.
_INNER = re.compile(r"[\f\v\x1c-\x1e\x85\xad]")
_CODE_OR_ENTITY = re.compile(
    r"^ {0,3}(`{3,}|~{3,})[^\n]*\n.*?(?:^ {0,3}\1[^\n]*$|\Z)|`[^`\n]+`"
    r"|(?P<entity>&(?:[a-zA-Z]{2,10}|#\d{2,6}|#[xX][0-9a-fA-F]{2,6});)",
    re.MULTILINE | re.DOTALL,
)
"""Code, in which an entity stays as it is, or an entity."""


def title_of(text: str, name: str) -> str:
    """The first heading of a Markdown text, or the file's name without its ending."""
    first = re.search(r"^ {0,3}#[ \t]+(\S.*)$", text, re.MULTILINE)
    return (first and heading_words(first.group(1))) or PurePath(name).stem


def markdown(name: str, content: bytes) -> Document:
    """Markdown, as it is."""
    decoded = decode(name, content)
    text = clean(_CODE_OR_ENTITY.sub(_letter, decoded.text))
    return lined(document_of(decoded, text, title_of(text, name), "markdown"), decoded)


def _letter(match: re.Match[str]) -> str:
    """The character that an entity stands for, if it has no meaning in Markdown."""
    found = html.unescape(match["entity"] or "")
    return match.group() if found.isascii() else found


def plain(name: str, content: bytes) -> Document:
    """Text without markup."""
    decoded = decode(name, content)
    return lined(document_of(decoded, clean(decoded.text), PurePath(name).stem, "plain"), decoded)


def code(name: str, content: bytes) -> Document:
    """Source code, and whatever else is made of lines, which stay those of the file. Its title is its name as it was given, with
    folders in front of it: it says where a definition is, and its ending names the language."""
    decoded = decode(name, content)
    return lined(document_of(decoded, clean(_INNER.sub(" ", decoded.text)), name, "code"), decoded)


def document_of(decoded: Decoded, text: str, title: str, markup: Markup) -> Document:
    """A document of `text`, with what its decoding has to tell."""
    return Document(text, title, markup, encoding=decoded.encoding, replaced=decoded.replaced)


def lined(document: Document, decoded: Decoded) -> Document:
    """Says whether the lines are the file's."""
    lines = _LINE_END.sub("\n", decoded.text).count("\n")
    return replace(document, lined=document.text.count("\n") == lines)
