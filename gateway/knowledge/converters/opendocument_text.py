"""Text and slides of OpenDocument (LibreOffice): as HTML, which our own converter reads.

What stands apart follows at the end: notes, comments, page headers and footers. Of tracked changes the newer state is read.
"""

import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from html import escape
from io import BytesIO
from typing import Any

from gateway.knowledge.converters.archives import checked, fault, xml
from gateway.knowledge.converters.formulas import line
from gateway.knowledge.converters.markup import of_html
from gateway.knowledge.converters.text import title_of
from gateway.knowledge.documents import Document, EncryptedDocument, Skipped

_NAMESPACE = "{urn:oasis:names:tc:opendocument:xmlns:"
_TEXT, _TABLE, _OFFICE, _DRAW = (f"{_NAMESPACE}{kind}:1.0}}" for kind in ("text", "table", "office", "drawing"))
_STYLE, _PRESENTATION = f"{_NAMESPACE}style:1.0}}", f"{_NAMESPACE}presentation:1.0}}"
_DESCRIBED = f"{_NAMESPACE}svg-compatible:1.0}}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_MAX_DEPTH = 150
"""Elements within each other that are read with their form; of deeper ones the words."""
_MAX_REPEATED = 1000
"""How often a row or cell with something in it may say that it is repeated."""
_MAX_CELLS = 20_000
"""That come of repeating, in all tables together."""
_UNSEEN = frozenset(
    {
        f"{_TEXT}tracked-changes", f"{_TEXT}note-citation", f"{_OFFICE}binary-data", f"{_OFFICE}forms", f"{_OFFICE}scripts",
        f"{_OFFICE}event-listeners", f"{_TEXT}sequence-decls", f"{_TEXT}variable-decls", f"{_TEXT}user-field-decls",
        f"{_TEXT}table-of-content-source", f"{_TEXT}alphabetical-index-source", f"{_TEXT}bibliography-source",
        f"{_TEXT}illustration-index-source", f"{_TEXT}table-index-source", f"{_TEXT}object-index-source",
        f"{_TEXT}user-index-source", f"{_TABLE}covered-table-cell", f"{_TABLE}table-column", f"{_OFFICE}annotation-end",
    }
)  # fmt: skip
_MATHEMATICS = "{http://www.w3.org/1998/Math/MathML}"


def odt(name: str, content: bytes) -> Document:
    """A text with headings, lists, tables, notes, comments, text boxes, charts' numbers and formulas."""
    return _read(name, content, pages=False)


def odp(name: str, content: bytes) -> Document:
    """Slides or drawings; each is a page, with the speaker's notes."""
    return _read(name, content, pages=True)


def root(name: str, content: bytes) -> Any:
    """The root of a document, in an archive or flat. Raises DocumentError."""
    if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return xml(content)
    with zipfile.ZipFile(BytesIO(checked(name, content))) as archive:
        with suppress(KeyError):
            if b"encryption-data" in archive.read("META-INF/manifest.xml"):
                raise EncryptedDocument(f"{name} needs a password; save it without one")
        return xml(archive.read("content.xml"))


def _read(name: str, content: bytes, *, pages: bool) -> Document:
    try:
        whole = root(name, content)
        body = whole.find(f"{_OFFICE}body")
        reading = _TextReading(_members(content), _raised_styles(whole))
        if pages:
            slides = [
                of_html(reading.block(slide) + reading.apart(), name).text.strip()
                for slide in body.iter(f"{_DRAW}page")
            ]
            title = title_of(next(filter(None, slides), ""), name)
            return Document.of_pages(slides, title, "markdown", reading.skipped())
        source = reading.block(body) + reading.apart() + reading.margins()
        made = of_html(source, name)
    except (ValueError, SyntaxError, AttributeError, KeyError, RecursionError, zipfile.BadZipFile, zlib.error) as error:
        raise fault(name, error) from error
    return replace(made, title=title_of(made.text, name), skipped=(*made.skipped, *reading.skipped()))


def _members(content: bytes) -> dict[str, bytes]:
    """The parts that are XML, but for `content.xml`; of a flat document there are none."""
    if not content.startswith(b"PK"):
        return {}
    with zipfile.ZipFile(BytesIO(content)) as archive:
        return {
            part: archive.read(part)
            for part in archive.namelist()
            if part == "styles.xml" or (part.endswith("/content.xml") and part.count("/") == 1)
        }


def _raised_styles(whole: Any) -> frozenset[str]:
    """The names of styles whose words stand above the line."""
    return frozenset(
        style.get(f"{_STYLE}name") or ""
        for style in whole.iter(f"{_STYLE}style")
        for each in style.iterchildren(f"{_STYLE}text-properties")
        if re.match(r"super|[1-9]", each.get(f"{_STYLE}text-position") or "")
    )


class _TextReading:
    """One document on its way to HTML, and what is gathered meanwhile."""

    def __init__(self, members: dict[str, bytes], raised: frozenset[str] = frozenset()) -> None:
        self._members = members
        self._apart: list[str] = []
        self._boxes: list[str] = []
        self._depth = self._pictures = 0
        self._left = _MAX_CELLS
        self._objects: list[str] = []
        self._raised = raised

    def block(self, node: Any) -> str:
        """An element that stands by itself. What is drawn in a paragraph follows behind it."""
        tag = node.tag
        if not isinstance(tag, str) or tag in _UNSEEN:
            return ""
        if self._depth >= _MAX_DEPTH:
            return f"<p>{escape(' '.join(node.itertext()))}</p>"
        self._depth += 1
        try:
            return self._block(node, tag)
        finally:
            self._depth -= 1

    def _block(self, node: Any, tag: str) -> str:  # noqa: PLR0911 - a table of kinds
        if tag in (f"{_TEXT}p", f"{_TEXT}h"):
            level = node.get(f"{_TEXT}outline-level") or "1"
            kind = f"h{min(6, max(1, int(level)))}" if tag == f"{_TEXT}h" and level.isdigit() else "p"
            outer, self._boxes = self._boxes, []
            made = f"<{kind}>{self._inline(node)}</{kind}>" + "".join(self._boxes)
            self._boxes = outer
            return made
        if tag == f"{_TEXT}list":
            items = (
                f"<li>{self._children(item)}</li>"
                for item in node.iterchildren(f"{_TEXT}list-item", f"{_TEXT}list-header")
            )
            return f"<ul>{''.join(items)}</ul>"
        if tag == f"{_TABLE}table":
            return f"<table>{''.join(self._rows(node))}</table>"
        if tag == f"{_OFFICE}annotation":
            self._comment(node)
            return ""
        if tag == f"{_PRESENTATION}notes":
            notes = self._children(node)
            return f"<p>Notes:</p>{notes}" if "".join(node.itertext()).strip() else ""
        if tag.startswith(_DRAW):
            return self._drawn(node, tag)
        return self._children(node)

    def _children(self, node: Any) -> str:
        return "".join(map(self.block, node))

    def _inline(self, node: Any) -> str:
        """The words in a paragraph."""
        made = [escape(node.text or "")]
        for child in node:
            made += [self._within(child), escape(child.tail or "")]
        return "".join(made)

    def _within(self, node: Any) -> str:  # noqa: PLR0911 - a table of kinds
        tag = node.tag
        if not isinstance(tag, str) or tag in _UNSEEN:
            return ""
        if self._depth >= _MAX_DEPTH:
            return escape("".join(node.itertext()))
        if tag in (f"{_TEXT}s", f"{_TEXT}tab"):
            return " "
        if tag == f"{_TEXT}line-break":
            return "<br>"
        if tag == f"{_TEXT}note":
            mark = "".join("".join(each.itertext()) for each in node.iterchildren(f"{_TEXT}note-citation"))
            self._apart.append(f"<p>[{escape(mark)}]</p>{self._children(node)}")
            return f" [{escape(mark)}]"
        if tag == f"{_OFFICE}annotation":
            self._comment(node)
            return ""
        if tag.startswith(_DRAW) and tag != f"{_DRAW}a":
            self._boxes.append(self.block(node))
            return ""
        self._depth += 1
        inner = self._inline(node)
        self._depth -= 1
        if node.get(f"{_TEXT}style-name") in self._raised:
            inner = f"<sup>{inner}</sup>"
        link = node.get(_HREF)
        return f'<a href="{escape(link)}">{inner}</a>' if link and tag == f"{_TEXT}a" else inner

    def _comment(self, node: Any) -> None:
        self._apart.append(f"<p>Comment:</p>{self._children(node)}")

    def _drawn(self, node: Any, tag: str) -> str:
        """Text boxes, shapes, pictures' descriptions, what is embedded."""
        if tag == f"{_DRAW}image":
            self._pictures += 1
            return self._children(node)
        if tag in (f"{_DRAW}object", f"{_DRAW}object-ole") and not len(node):
            return self._embedded((node.get(_HREF) or "").removeprefix("./").strip("/"))
        described = (
            f"<p>{escape(child.text or '')}</p>"
            for child in node.iterchildren(f"{_DESCRIBED}title", f"{_DESCRIBED}desc")
        )
        return "".join(described) + self._children(node)

    def _embedded(self, place: str) -> str:
        """The numbers of a chart, a formula as it was typed; others are named."""
        part = self._members.get(f"{place}/content.xml")
        if part is None:
            self._objects.append(place or "object")
            return ""
        inner = xml(part)
        if inner.tag.startswith(_MATHEMATICS):
            typed = [node.text or "" for node in inner.iter(f"{_MATHEMATICS}annotation")]
            return f"<p>{escape(' '.join(typed) or line(inner))}</p>"
        return self.block(inner)

    def _rows(self, table: Any) -> Iterator[str]:
        for row in table.iterchildren():
            if row.tag != f"{_TABLE}table-row":
                if isinstance(row.tag, str) and row.tag.startswith(_TABLE):  # groups of rows
                    yield from self._rows(row)
                continue
            cells = "".join(map(self._cell, row.iterchildren(f"{_TABLE}table-cell")))
            filled = max(1, cells.count("<td")) if "".join(row.itertext()).strip() else 0
            yield from [f"<tr>{cells}</tr>"] * self._times(row, "number-rows-repeated", filled)

    def _cell(self, cell: Any) -> str:
        made = self._children(cell)
        if not made and (value := cell.get(f"{_OFFICE}value")):
            made = escape(value)
        over = f'rowspan="{_count(cell, "number-rows-spanned")}" colspan="{_count(cell, "number-columns-spanned")}"'
        return f"<td {over}>{made}</td>" * self._times(cell, "number-columns-repeated", 1 if made else 0)

    def _times(self, element: Any, kind: str, cells: int) -> int:
        """How often a row or cell is there. `cells`: how many filled ones it is; an empty one is there once."""
        times = min(_count(element, kind), _MAX_REPEATED, 1 + self._left // cells) if cells else 1
        self._left -= (times - 1) * cells
        return times

    def apart(self) -> str:
        """Notes and comments since this was asked last."""
        apart, self._apart = self._apart, []
        return "".join(apart)

    def margins(self) -> str:
        """Headers and footers of pages."""
        part = self._members.get("styles.xml")
        if part is None:
            return ""
        found = xml(part).iter(*(f"{_STYLE}{kind}" for kind in ("header", "header-left", "footer", "footer-left")))
        return "".join(dict.fromkeys(self._children(node) for node in found))

    def skipped(self) -> list[Skipped]:
        """What was not read."""
        made = [
            Skipped(f"embedded {place}", "files within a document are not read; upload it by itself")
            for place in self._objects
        ]
        if self._pictures:
            made.append(Skipped(f"{self._pictures} pictures", "only what is written as their description is read"))
        return made


def _count(element: Any, kind: str) -> int:
    said = element.get(f"{_TABLE}{kind}") or ""
    return max(1, int(said)) if said.isascii() and said.isdigit() and len(said) < 10 else 1
