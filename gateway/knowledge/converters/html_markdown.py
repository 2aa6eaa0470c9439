"""Elements of HTML become Markdown, in one walk through the page that takes nothing out of it.

While it is made, blanks and line ends that must stay (of code, of the margins of lists) are two characters that stand for
nothing (`_HELD`); what is left of blanks afterwards is the page's own layout, and is no text.
"""

import re
from collections.abc import Callable, Collection, Iterator
from typing import Any

from gateway.knowledge.converters.formulas import line
from gateway.knowledge.converters.html_menus import is_menu
from gateway.knowledge.converters.html_tables import grid, loose_parts, rows_of
from gateway.knowledge.converters.tables import sparse_table

# fmt: off
_UNSEEN = frozenset({"script", "style", "title", "meta", "link", "base"})
_BLOCKS = frozenset({
    "address", "article", "aside", "body", "center", "details", "dialog", "dir", "div", "dl", "fieldset", "figcaption", "figure",
    "footer", "form", "frameset", "head", "header", "hgroup", "html", "legend", "main", "menu", "nav", "noframes", "ol", "p",
    "search", "section", "summary", "ul", "caption", "thead", "tbody", "tfoot", "listing", "xmp", "plaintext", "noscript",
})
_APART = frozenset({
    "audio", "button", "canvas", "label", "meter", "object", "optgroup", "option", "output", "progress", "select", "textarea",
    "video",
})
# fmt: on
_SPACE = re.compile(r"[ \t\r\n\f\v]+")
_AROUND_END = re.compile(r" *\n[ \n]*")
_HELD = {" ": "\ufdd0", "\n": "\ufdd1"}  # noncharacters: no text has a meaning for them
_HOLD, _RELEASE = str.maketrans(_HELD), str.maketrans({held: char for char, held in _HELD.items()})
_NO_HELD = re.compile("[\ufdd0\ufdd1]")
_ENDS_IN_DIGIT, _RAISED = re.compile(r"[\d)\]]\Z"), re.compile(r"\s*[+\u2212\u2013-]?\d")
_ITEM = re.compile(r"\n(?=[^\n])")
_MAX_FRAME_DEPTH = 3
_MAX_INNER = 2000
"""Characters of a table in a cell that is written into that cell; a larger one means that the outer table lays out a page."""


class MarkdownRenderer:
    """One page on its way to Markdown. Counted meanwhile: rows of tables, menus that were left out, frames of other pages."""

    def __init__(self, parse: Callable[[str], Any], *, keep_menus: bool = False, depth: int = 0) -> None:
        self.rows = self.menus = self.frames = 0
        self._parse = parse
        self._keep_menus = keep_menus
        self._depth = depth
        self._pre = self._cell = self._code = 0
        self._expanded = set[str]()
        self._nesting: set[Any] = set()
        self._headed: set[Any] = set()

    def render(self, page: Any) -> str:
        """The Markdown of a page; blank lines may be more than one."""
        for table in page.iter("table"):
            if (outer := next(table.iterancestors("table"), None)) is not None:
                self._nesting.add(outer)
        for heading in page.iter("h1", "h2", "h3"):
            if (outer := next(heading.iterancestors("table"), None)) is not None:
                self._headed.add(outer)
        out: list[str] = []
        self._element(page, out)
        return _laid_out(out).translate(_RELEASE)

    def texts(self, page: Any, unseen: Collection[str] = _UNSEEN) -> Iterator[str]:
        """The words alone, without those of unseen elements, of a page that is nested too deep to be rendered."""
        for element in page.iter():
            if element.tag not in unseen and element.text:
                yield element.text
            if element.tail and element is not page:
                yield element.tail

    def _element(self, el: Any, out: list[str]) -> None:
        tag = el.tag
        if not isinstance(tag, str) or tag in _UNSEEN:
            return
        own = _RENDERED.get(tag)
        if own is not None:
            own(self, el, out)
        elif tag in _BLOCKS or el.get("role") == "navigation":
            self._block(el, out)
        else:
            if "-" in tag and (before := el.getprevious()) is not None and not before.tail:
                out.append(" ")  # an element of a page's own making
            self._children(el, out)
            if not len(el):
                self._told(el, out)
            if tag in _APART or ("-" in tag and not el.tail):
                out.append(" ")

    def _children(self, el: Any, out: list[str]) -> None:
        if el.text:
            out.append(self._text(el.text))
        for child in el:
            self._element(child, out)
            if child.tail:
                out.append(self._text(child.tail))

    def _told(self, el: Any, out: list[str]) -> None:
        """What an element without words (an icon) says of itself to those who do not see it; all of what was cut."""
        words = (el.text or "").strip()
        if not words:
            out.append(" ".join((el.get("aria-label") or el.get("alt") or el.get("title") or "").split()))
        elif words.endswith(("…", "...")) and (whole := " ".join((el.get("title") or "").split())):
            out.append(f" ({whole})")

    def _text(self, text: str) -> str:
        text = _NO_HELD.sub("", text)
        return text.translate(_HOLD) if self._pre else _SPACE.sub(" ", text)

    def _inner(self, el: Any) -> str:
        out: list[str] = []
        self._children(el, out)
        return _laid_out(out)

    def _line(self, el: Any) -> str:
        """What is in an element, in one line."""
        return " ".join(self._inner(el).translate(_RELEASE).split())

    def _block(self, el: Any, out: list[str]) -> None:
        if (el.tag in ("nav", "header", "footer") or el.get("role") == "navigation") and self._leave_out(el):
            return
        out.append("\n\n")
        self._children(el, out)
        out.append("\n\n")

    def _leave_out(self, el: Any) -> bool:
        if self._keep_menus or not is_menu(el):
            return False
        self.menus += bool("".join(el.itertext()).strip())
        return True

    def _heading(self, el: Any, out: list[str]) -> None:
        words = self._line(el)
        if words:
            out.append(f" {words} " if self._cell else f"\n\n{'#' * int(el.tag[1])} {words}\n\n")

    def _break(self, el: Any, out: list[str]) -> None:
        out.append(_HELD["\n"] if self._pre else "\n")

    def _rule(self, el: Any, out: list[str]) -> None:
        out.append(" " if self._cell else "\n\n---\n\n")

    def _preformatted(self, el: Any, out: list[str]) -> None:
        self._pre += 1
        inner = self._inner(el).translate(_RELEASE)
        self._pre -= 1
        if self._cell or self._pre:
            out.append(f" {inner} " if self._cell else inner.translate(_HOLD))
        elif inner.strip():
            fence = "`" * max(3, 1 + max((len(each) for each in re.findall("`+", inner)), default=0))
            held = inner.strip("\r\n").translate(_HOLD)
            out.append(f"\n\n{fence}{_HELD[chr(10)]}{held}{_HELD[chr(10)]}{fence}\n\n")

    def _inline_code(self, el: Any, out: list[str]) -> None:
        self._code += 1
        inner = self._inner(el)
        self._code -= 1
        if self._pre or self._code or not inner.strip() or "\n\n" in inner:
            out.append(inner)
            return
        mark = "`" * (1 + max((len(each) for each in re.findall("`+", inner)), default=0))
        start, end = inner[: len(inner) - len(inner.lstrip())], inner[len(inner.rstrip()) :]
        out.append(f"{start}{mark}{inner.strip()}{mark}{end}")

    def _link(self, el: Any, out: list[str]) -> None:
        href = (el.get("href") or "#").strip()
        inner = self._inner(el)
        words = inner.strip() or " ".join((el.get("aria-label") or el.get("title") or "").split())
        if not words or self._pre or self._code or href.startswith(("#", "javascript:", "data:")):
            out.append(inner or words)
            return
        start, end = inner[: len(inner) - len(inner.lstrip())], inner[len(inner.rstrip()) :]
        if "\n\n" in words:
            out.append(f"\n\n{words}\n\n<{href}>\n\n")
        elif words == href:
            out.append(f"{start}<{href}>{end}")
        else:
            title = " ".join((el.get("title") or "").replace('"', "'").split())
            out.append(f"{start}[{words}]({href}{f' {chr(34)}{title}{chr(34)}' if title else ''}){end}")

    def _quotation(self, el: Any, out: list[str]) -> None:
        out.append('"')
        self._children(el, out)
        out.append('"')

    def _deleted(self, el: Any, out: list[str]) -> None:
        inner = self._inner(el)
        out.append(f"~~{inner.strip()}~~ " if inner.strip() and "\n\n" not in inner and not self._code else inner)

    def _quoted_block(self, el: Any, out: list[str]) -> None:
        inner = self._inner(el).strip(" \n")
        if self._cell or not inner:
            out.append(f" {inner} ")
            return
        lines = inner.replace(_HELD["\n"], "\n").split("\n")
        out.append("\n\n" + _HELD["\n"].join(f">{_HELD[' ']}{line}" if line else ">" for line in lines) + "\n\n")

    def _item(self, el: Any, out: list[str]) -> None:
        inner = self._inner(el).strip(" \n")
        if not inner:
            return
        ancestor = next(el.iterancestors("ol", "ul", "menu", "dir"), None)
        bullet = "-"
        if ancestor is not None and ancestor.tag == "ol":
            bullet = f"{_number(el, ancestor)}."
        margin = _HELD[" "] * (len(bullet) + 1)
        held = inner.replace(_HELD["\n"], "\n")
        end = "\n" if ancestor is None or el.getparent() is not ancestor else ""
        out.append(f"\n{bullet}{_HELD[' ']}{_ITEM.sub(_HELD[chr(10)] + margin, held)}{end}")

    def _list(self, el: Any, out: list[str]) -> None:
        end = "\n" if next(el.iterancestors("li"), None) is not None else "\n\n"
        out.append(end)
        self._children(el, out)
        out.append(end)

    def _term(self, el: Any, out: list[str]) -> None:
        out.append("\n\n")
        self._children(el, out)
        out.append("\n" if el.getparent().tag != "dl" else "")

    def _definition(self, el: Any, out: list[str]) -> None:
        inner = self._inner(el).strip(" \n")
        if inner:
            out.append(
                f" {inner} " if self._cell else f"\n:{_HELD[' '] * 3}{inner}{chr(10) * (el.getparent().tag != 'dl')}"
            )

    def _raised(self, el: Any, out: list[str]) -> None:
        """10<sup>6</sup> is not 106, nor is the note 1 at 42 the number 421."""
        before = next((each for each in reversed(out) if each), "")
        inner = self._inner(el)
        power = _ENDS_IN_DIGIT.search(before) and _RAISED.match(inner)
        out.append(f"^{inner}" if power else inner)

    def _drawing(self, el: Any, out: list[str]) -> None:
        """Of diagrams (Mermaid) the words are HTML within."""
        words = " ".join(" ".join(self.texts(el, unseen=("script", "style"))).split())
        out.append(f" {words or el.get('aria-label') or ''} ")

    def _picture(self, el: Any, out: list[str]) -> None:
        out.append(f" {' '.join((el.get('alt') or el.get('title') or '').split())} ")

    def _formula(self, el: Any, out: list[str]) -> None:
        out.append(self._text(line(el)))

    def _other_page(self, el: Any, out: list[str]) -> None:
        self.frames += el.get("src") is not None

    def _field(self, el: Any, out: list[str]) -> None:
        out.append(f" {_entered(el)} ")

    def _text_field(self, el: Any, out: list[str]) -> None:
        self._children(el, out)
        out.append(" " if "".join(el.itertext()).strip() else f" {el.get('placeholder') or ''} ")

    def _choices(self, el: Any, out: list[str]) -> None:
        """A group, or one that has its words in its attributes."""
        out.append(f" {el.get('label') or ''} ")
        self._children(el, out)
        if not (el.text or "").strip() and next(el.iterancestors("datalist"), None) is not None:
            out.append(f" {el.get('value') or ''} ")
        out.append(" ")

    def _abbreviation(self, el: Any, out: list[str]) -> None:
        """With what it stands for, the first time."""
        self._children(el, out)
        meaning = " ".join((el.get("title") or "").split())
        if meaning and meaning not in self._expanded and meaning != "".join(el.itertext()).strip():
            self._expanded.add(meaning)
            out.append(f" ({meaning})")

    def _frame(self, el: Any, out: list[str]) -> None:
        """A page in a page, where the file has it."""
        inner = el.get("srcdoc") or ""
        if inner.strip() and self._depth < _MAX_FRAME_DEPTH and (page := self._parse(inner)) is not None:
            other = MarkdownRenderer(self._parse, keep_menus=self._keep_menus, depth=self._depth + 1)
            made = other.render(page).strip()
            self.rows, self.menus = self.rows + other.rows, self.menus + other.menus
            self.frames += other.frames
            out.append("\n\n" + made.translate(_HOLD) + "\n\n")
        elif el.get("src"):
            self.frames += 1
        self._block(el, out)

    def _template(self, el: Any, out: list[str]) -> None:
        """What elements of a page's own making are made of; others are for scripts."""
        if el.get("shadowrootmode") is not None or el.get("shadowroot") is not None:
            self._block(el, out)

    def _row_alone(self, el: Any, out: list[str]) -> None:
        out.append("\n")
        self._children(el, out)
        out.append("\n")

    def _table(self, el: Any, out: list[str]) -> None:
        lines = rows_of(el)
        if self._cell:
            words = ("; ".join(filter(None, (", ".join(filter(None, map(self._line, row))) for row in lines)))).strip()
            out.append(f" {words} ")
            return
        if self._lays_out(el, lines):
            self._laid_out_page(el, lines, out)
            return
        self._cell += 1
        made, rows = sparse_table(*grid([[(cell, self._line(cell)) for cell in row] for row in lines]))
        self._cell -= 1
        self.rows += rows
        beside: list[str] = []  # its caption, and what stands beside its cells
        for part in loose_parts(el):
            if isinstance(part, str):
                beside.append(f" {self._text(part)} ")
            else:
                self._element(part, beside)
        held = made.rstrip("\n").translate(_HOLD)
        out.append(f"\n\n{_laid_out(beside).strip()}\n\n{held}\n\n")

    def _laid_out_page(self, el: Any, lines: list[list[Any]], out: list[str]) -> None:
        out.append("\n\n")
        for part in loose_parts(el):
            if isinstance(part, str):
                out.append(f" {self._text(part)} ")
            else:
                self._element(part, out)
        for cell in (cell for row in lines for cell in row):
            self._block(cell, out)
        out.append("\n\n")

    def _lays_out(self, el: Any, lines: list[list[Any]]) -> bool:
        """Whether a table parts the page, and holds no data."""
        if el.get("role") == "presentation":
            return True
        nests = el in self._nesting
        if not nests and el not in self._headed:
            return False
        if not any(cell.tag == "th" for row in lines for cell in row):
            return True
        return nests and any(len("".join(inner.itertext())) > _MAX_INNER for inner in el.iterdescendants("table"))


def _laid_out(out: list[str]) -> str:
    """Joined, with one blank or one blank line at most where the page has many."""
    text = "".join(out)
    return _AROUND_END.sub(lambda match: "\n\n" if match[0].count("\n") > 1 else "\n", text)


def _one(match: re.Match[str]) -> str:
    ends = match[0].count("\n")
    return "\n\n" if ends > 1 else "\n" if ends else " "


def _number(item: Any, ordered: Any) -> int:
    """Of an item in its list."""
    for value, more in (
        (item.get("value"), 0),
        (ordered.get("start"), sum(1 for _ in item.itersiblings("li", preceding=True))),
    ):
        if value and value.strip().isascii() and value.strip().isdigit():
            return int(value[:9]) + more
    return 1 + sum(1 for _ in item.itersiblings("li", preceding=True))


def _entered(field: Any) -> str:
    """What a field of a form shows."""
    kind = (field.get("type") or "text").lower()
    if kind in ("checkbox", "radio"):
        return "☒" if field.get("checked") is not None else "☐"
    if kind == "image":
        return field.get("alt") or ""
    return "" if kind in ("hidden", "password", "file") else field.get("value") or field.get("placeholder") or ""


_R = MarkdownRenderer
_RENDERED: dict[str, Callable[[MarkdownRenderer, Any, list[str]], None]] = {
    **dict.fromkeys(("h1", "h2", "h3", "h4", "h5", "h6"), _R._heading),
    **dict.fromkeys(("pre", "listing", "xmp", "plaintext"), _R._preformatted),
    **dict.fromkeys(("code", "kbd", "samp"), _R._inline_code),
    **dict.fromkeys(("ul", "ol", "menu", "dir"), _R._list),
    **dict.fromkeys(("img", "area"), _R._picture),
    **dict.fromkeys(("abbr", "acronym", "dfn"), _R._abbreviation),
    **dict.fromkeys(("optgroup", "option"), _R._choices),
    **dict.fromkeys(("del", "s", "strike"), _R._deleted),
    **dict.fromkeys(("td", "th", "tr"), _R._row_alone),
    "br": _R._break, "hr": _R._rule, "a": _R._link, "q": _R._quotation, "blockquote": _R._quoted_block,
    "li": _R._item, "dt": _R._term, "dd": _R._definition, "sup": _R._raised, "svg": _R._drawing, "input": _R._field,
    "textarea": _R._text_field, "iframe": _R._frame, "template": _R._template, "table": _R._table,
    "math": _R._formula, "frame": _R._other_page,
}  # fmt: skip
