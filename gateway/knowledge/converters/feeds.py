"""Feeds: RSS in all its versions, and Atom. What each entry has is read, whatever it is called."""

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from gateway.knowledge.converters.archives import fault, xml
from gateway.knowledge.converters.encodings import decode
from gateway.knowledge.converters.markup import of_html, tidy
from gateway.knowledge.converters.text import document_of
from gateway.knowledge.documents import CorruptDocument, Document
from gateway.knowledge.normalization import clean

_ENTRIES = ("{*}item", "{*}entry")
_LONG = frozenset({"description", "summary", "content", "encoded", "subtitle"})
"""What is a text of its own; the rest are lines with their names."""
_OF_MACHINES = frozenset({"guid", "id", "items", "ttl", "docs", "generator", "cloud", "skipHours", "skipDays"})


def feed(name: str, content: bytes) -> Document:
    """The feed's own description, then a heading for each entry. Raises CorruptDocument for what is no feed."""
    decoded = decode(name, content)
    source = decoded.text[decoded.text.find("?>") + 2 :] if decoded.text.lstrip().startswith("<?xml") else decoded.text
    try:
        root = xml(source.strip().encode())  # it is UTF-8 now, whatever its declaration said
    except ValueError as error:
        raise fault(name, error) from error
    except SyntaxError as error:
        raise fault(name, error) from error
    about = root if _called(root) == "feed" else next(root.iter("{*}channel"), None)
    if about is None:
        raise CorruptDocument(f"{name} is no feed: it has neither <channel> nor <feed>")
    parts = list(_read(about, "#"))
    for entry in root.iter(*_ENTRIES):
        parts += _read(entry, "##")
    title = next((clean(each.text or "").strip() for each in about.iterchildren("{*}title")), "")
    return document_of(decoded, tidy("\n\n".join(parts)), title or PurePath(name).stem, "markdown")


def _read(holder: Any, mark: str) -> Iterator[str]:
    """The title as a heading, texts as Markdown, and everything else as a list of what is called how."""
    children = [each for each in holder.iterchildren("*") if _called(each) not in ("item", "entry")]
    for child in children:
        if _called(child) == "title" and (title := _words(child)):
            yield f"{mark} {title}"
    lines = (_line(child) for child in children if _called(child) not in _LONG | {"title"} | _OF_MACHINES)
    yield "\n".join(dict.fromkeys(filter(None, lines)))
    seen = set[str]()
    for child in children:
        if _called(child) in _LONG and (text := _markdown(child)) and text not in seen:
            seen.add(text)
            yield text


def _called(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def _line(element: Any) -> str:
    value = (
        _words(element) or element.get("href") or element.get("url") or element.get("term") or element.get("text") or ""
    )
    return f"- {_called(element)}: {value}" if value else ""


def _words(element: Any) -> str:
    """All text within, of HTML without its tags."""
    text = " ".join(" ".join(element.itertext()).split())
    return " ".join(of_html(text, "").text.split()) if "<" in text or "&" in text else clean(text)


def _markdown(element: Any) -> str:
    from lxml import etree

    if len(element):  # XHTML
        return of_html("".join(etree.tostring(child, encoding="unicode") for child in element), "").text.strip()
    return of_html(element.text or "", "").text.strip()
