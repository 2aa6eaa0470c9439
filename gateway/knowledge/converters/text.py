"""Plain text, Markdown and source code, in whatever encoding they come."""

import re
from pathlib import PurePath

from gateway.knowledge.converters.encodings import Decoded, decode
from gateway.knowledge.document_structure import heading_words
from gateway.knowledge.documents import Document, Markup
from gateway.knowledge.normalization import clean


def title_of(text: str, name: str) -> str:
    """The first heading of a Markdown text, or the file's name without its ending."""
    first = re.search(r"^ {0,3}#[ \t]+(\S.*)$", text, re.MULTILINE)
    return (first and heading_words(first.group(1))) or PurePath(name).stem


def markdown(name: str, content: bytes) -> Document:
    """Markdown, as it is."""
    decoded = decode(name, content)
    text = clean(decoded.text)
    return document_of(decoded, text, title_of(text, name), "markdown")


def plain(name: str, content: bytes) -> Document:
    """Text without markup."""
    decoded = decode(name, content)
    return document_of(decoded, clean(decoded.text), PurePath(name).stem, "plain")


def code(name: str, content: bytes) -> Document:
    """Source code, and whatever else is made of lines. Its title keeps the ending: it names the language."""
    decoded = decode(name, content)
    return document_of(decoded, clean(decoded.text), PurePath(name).name, "code")


def document_of(decoded: Decoded, text: str, title: str, markup: Markup) -> Document:
    """A document of `text`, with what its decoding has to tell."""
    return Document(text, title, markup, encoding=decoded.encoding, replaced=decoded.replaced)
