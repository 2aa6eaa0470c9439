"""HTML as Markdown: all that a page says, without scripts, styles and menus.

An extractor that looks for "the" article (trafilatura, readability, or the first <main>) loses the second one, or the product
beside its reviews; a line too much costs little. So the whole page is read, but for what is made of links.
"""

import re
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gateway.knowledge.converters.encodings import decode
from gateway.knowledge.converters.tables import Region, sparse_table
from gateway.knowledge.converters.text import document_of, title_of
from gateway.knowledge.documents import CorruptDocument, Document, Skipped
from gateway.knowledge.normalization import clean

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

_NO_TEXT = ["script", "style", "template", "iframe", "title", "meta", "link", "base"]
# fmt: off
_BLOCKS = [
    "address", "aside", "center", "details", "dialog", "fieldset", "figure", "footer", "form", "header", "hgroup", "legend",
    "main", "nav", "search", "summary",
]
# fmt: on
_APART = ["audio", "button", "canvas", "label", "object", "optgroup", "option", "select", "textarea", "video"]
_EMPHASIS = ["b", "em", "i", "mark", "s", "small", "strong", "u"]  # its marks would part words: **w**arranty
_BLANK = " " * 100
_BLANKS = re.compile(r"[ \t]{101,}")  # markdownify takes time in the square of how many there are
_MAX_OWN_WORDS = {"header": 3, "footer": 3}
"""Words beside its links that a menu may have (8 in a <nav>); a footer has the telephone number, too."""
_ENDS_IN_DIGIT, _RAISED = re.compile(r"[\d)\]]\Z"), re.compile(r"\s*[+\u2212\u2013-]?\d")
_MAX_DEPTH = 3000
"""Python's frames for nested elements, three each; what is deeper is read without its structure."""


def html(name: str, content: bytes) -> Document:
    """HTML and XHTML in the encoding that they say, or that they seem to have."""
    from bs4.exceptions import ParserRejectedMarkup

    decoded = decode(name, content)
    try:
        made = of_html(decoded.text, name)
    except (ParserRejectedMarkup, ValueError) as error:
        raise CorruptDocument(f"{name} is not readable HTML: {error}") from error
    return replace(document_of(decoded, made.text, made.title, "markdown"), rows=made.rows, skipped=made.skipped)


def of_html(source: str, name: str) -> Document:
    """The same of characters. `name` is the title of a page that has none."""
    from bs4 import BeautifulSoup

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # XHTML read as HTML, names that look like files: both are fine here
        # Its parser ends <p>, <li> and <td> where nobody wrote so; Python's own nests them, hundreds deep.
        soup = BeautifulSoup(_BLANKS.sub(_BLANK, re.sub(r"^\s*<\?xml[^>]*>", "", source)), "lxml")
    titles = (each for each in soup("title") if each.find_parent("svg") is None)
    title = clean(next((each.get_text(" ", strip=True) for each in titles), ""))
    tags = _Tags(soup)
    menus = _drop_menus(tags)
    _strip(tags)
    converter = _converter()
    try:
        with _deep_recursion():
            text: str = converter.convert_soup(soup)
    except RecursionError:
        text = soup.get_text("\n")
    text = tidy(text)
    skipped = (Skipped("menus", f"{menus} of them: links to other pages are no content"),) if menus else ()
    return Document(text, title or title_of(text, name), "markdown", rows=converter.rows or None, skipped=skipped)


def tidy(text: str) -> str:
    """Without blanks at the ends of lines and more than one blank line."""
    text = re.sub(r"(?<![ \t])[ \t]+\n", "\n", clean(text))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


class _Tags:
    """A page's tags by name: each search of the page itself goes through all of it."""

    def __init__(self, soup: "BeautifulSoup") -> None:
        self._by_name: dict[str, list[Tag]] = defaultdict(list)
        for tag in soup(True):
            self._by_name["nav" if tag.get("role") == "navigation" else tag.name].append(tag)

    def __call__(self, *names: str) -> Iterator["Tag"]:
        """Those that are still there. `tag.decomposed` would look for a tag of that name in all that is within."""
        return (tag for name in names for tag in self._by_name[name] if not tag.__dict__.get("_decomposed"))


def _drop_menus(named: _Tags) -> int:
    menus = 0
    for tag in named("nav", "header", "footer"):
        if _is_menu(tag):
            menus += bool(tag.get_text(strip=True))
            tag.decompose()
    return menus


def _strip(named: _Tags) -> None:
    """Take out what is no text, and give what stands apart on the screen a place of its own."""
    _fill_in(named)
    for tag in named(*_NO_TEXT):
        if tag.name in _NO_TEXT and not (tag.name == "title" and tag.find_parent("svg")):
            tag.decompose()
    _say_what_is_drawn(named)
    for tag in named(*_EMPHASIS):
        tag.name = "span"  # unwrap() goes down through all that is within, for each
    for tag in named("a"):
        if str(tag.get("href", "#")).startswith(("#", "javascript:", "data:")):
            tag.name = "span"
    for tag in named(*_APART):
        tag.append(" ")
    for tag in named(*_BLOCKS):
        tag.name = "div"
    for tag in named("table"):
        if tag.find(["table", "h1", "h2", "h3"]) is not None or tag.get("role") == "presentation":
            _unwrap_layout(tag)


def _say_what_is_drawn(named: _Tags) -> None:
    for tag in named("svg"):
        tag.replace_with(f" {tag.get_text(' ', strip=True)} ")  # of diagrams (Mermaid) the words are HTML within
    for tag in named("sup"):
        if _is_power(tag):
            tag.insert_before("^")
    for tag in named("img", "area"):
        tag.replace_with(f" {tag.get('alt') or ''} ")


def _is_power(raised: "Tag") -> bool:
    """Whether digits stand high behind a digit: 10<sup>6</sup> is not 106, nor is the note 1 at 42 the number 421."""
    before = raised.previous_sibling
    return bool(_ENDS_IN_DIGIT.search(before.get_text() if before else "") and _RAISED.match(raised.get_text()))


def _fill_in(named: _Tags) -> None:
    """What a page shows that is no text between its tags: fields of forms, and what elements of its own making are made of."""
    for tag in named("template"):
        if tag.has_attr("shadowrootmode"):
            tag.name = "div"
    for tag in named("input"):
        tag.replace_with(f" {_entered(tag)} ")


def _entered(field: "Tag") -> str:
    """What a field of a form shows."""
    kind = str(field.get("type") or "text").lower()
    if kind in ("checkbox", "radio"):
        return "☒" if field.has_attr("checked") else "☐"
    return "" if kind in ("hidden", "password", "image", "file") else str(field.get("value") or "")


def _unwrap_layout(table: "Tag") -> None:
    """A table that parts the page, and holds no data."""
    for part in [table, *_rows(table), *(cell for row in _rows(table) for cell in _cells(row))]:
        part.name = "div"


def _is_menu(tag: "Tag") -> bool:
    """Whether it is links and little else. A page's header or footer has to have several, or it is content."""
    links = [*tag("a", href=True), *tag(["button", "select"])]
    if tag.find(["h1", "table", "article"]) is not None or (len(links) < 2 and tag.name in ("header", "footer")):
        return False
    linked = sum(len(link.get_text(" ").split()) for link in links)
    return len(tag.get_text(" ").split()) - linked <= _MAX_OWN_WORDS.get(tag.name, 8)


def _rows(table: "Tag") -> list["Tag"]:
    parts = _children(table, ("tr", "thead", "tbody", "tfoot"))
    return [row for part in parts for row in ([part] if part.name == "tr" else _children(part, ("tr",)))]


def _cells(row: "Tag") -> list["Tag"]:
    return _children(row, ("td", "th"))


def _children(tag: "Tag", names: tuple[str, ...]) -> list["Tag"]:
    """What `tag(names, recursive=False)` finds, in a tenth of the time. Texts have no name."""
    return [child for child in tag.contents if child.name in names]  # type: ignore[misc, attr-defined]


def _converter() -> Any:
    from markdownify import MarkdownConverter

    class Converter(MarkdownConverter):
        """A table is made as a whole, when all its cells are known."""

        rows = 0

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self._texts: dict[int, str] = {}

        def convert_td(self, el: "Tag", text: str, parent_tags: Any) -> str:
            if el.find_parent("table") is None:
                return f"\n{text}\n"
            self._texts[id(el)] = text
            return ""

        convert_th = convert_td

        def convert_tr(self, el: "Tag", text: str, parent_tags: Any) -> str:
            return f"{text}\n"

        def convert_table(self, el: "Tag", text: str, parent_tags: Any) -> str:
            made, rows = sparse_table(*_grid([[(c, self._texts.pop(id(c), "")) for c in _cells(r)] for r in _rows(el)]))
            self.rows += rows
            return f"\n\n{text.strip()}\n\n{made}\n"  # the text: its caption, and what stands beside its cells

    return Converter(
        heading_style="ATX", bullets="-", escape_asterisks=False, escape_underscores=False, wrap=False, strip=["img"]
    )


def _grid(rows: list[list[tuple["Tag", str]]]) -> tuple[dict[tuple[int, int], str], list[Region]]:
    """Where each cell stands, and which places the larger ones take, as a browser lays them out."""
    cells: dict[tuple[int, int], str] = {}
    regions: list[Region] = []
    taken: dict[int, int] = {}  # column → the last row that a cell from above takes there
    for number, row in enumerate(rows):
        column = 0
        for tag, text in row:
            while taken.get(column, -1) >= number:
                column += 1
            high, wide = _span(tag, "rowspan", len(rows)), _span(tag, "colspan", 100)
            bottom = min(number + (high or len(rows)), len(rows)) - 1
            cells[number, column] = text
            if bottom > number or wide > 1:
                regions.append((number, column, bottom, column + max(wide, 1) - 1))
            for place in range(column, column + max(wide, 1)):
                taken[place] = bottom
            column += max(wide, 1)
    return cells, regions


def _span(tag: "Tag", name: str, limit: int) -> int:
    """As it is written, where it is a number; 0 is "to the end" for rows."""
    value = str(tag.get(name, "1")).strip()
    return min(int(value), limit) if value.isascii() and value.isdigit() else 1


@contextmanager
def _deep_recursion() -> Iterator[None]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _MAX_DEPTH))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
