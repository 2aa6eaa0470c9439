"""HTML as Markdown: all that a page says, without scripts, styles and menus.

An extractor that looks for "the" article (trafilatura, readability, or the first <main>) loses the second one, or the product
beside its reviews; a line too much costs little. So the whole page is read, but for what is made of links.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from html import escape
from typing import Any

from gateway.knowledge.converters.encodings import decode
from gateway.knowledge.converters.html_markdown import MarkdownRenderer
from gateway.knowledge.converters.text import document_of, title_of
from gateway.knowledge.documents import Document, Skipped
from gateway.knowledge.normalization import clean

_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*>")
_END_OF_PAGE = re.compile(r"</(?:body|html)\s*>", re.IGNORECASE)
"""Whatever follows is a part of the page for a browser, and for libxml2 of none."""
_BRACKETED = re.compile(r"<([\w.+-]{1,64}@[\w.-]{1,255}|https?://[^\s<>\"']{1,2000})>")
"""Addresses as mails and plain texts write them: a parser takes them for elements."""
_ELEMENT_TEXTS = ("title", "textarea", "style", "script")
"""Elements whose text goes on to their end, whatever stands in it: without an end, to that of the page."""
_EMPHASIS = re.compile(
    r"</?(?:a|b|big|em|font|i|ins|mark|s|small|span|strong|tt|u)(?:\s[^<>]{0,2000})?>", re.IGNORECASE
)
"""What old editors nest without end. A page that libxml2 finds too deep (2,048 elements) is read without these."""
_MAX_DEPTH = 3000
"""Python's frames for nested elements, two each; what is deeper is read without its structure."""


class _NestedTooDeepError(Exception):
    """libxml2 gives up on what is within some 2,000 elements."""


def html(name: str, content: bytes) -> Document:
    """HTML and XHTML in the encoding that they say, or that they seem to have."""
    decoded = decode(name, content)
    made = of_html(decoded.text, name)
    return replace(document_of(decoded, made.text, made.title, "markdown"), rows=made.rows, skipped=made.skipped)


def of_html(source: str, name: str, *, keep_menus: bool = True) -> Document:
    """The same of characters. `name` is the title of a page that has none. keep_menus: where there is nothing else."""
    source = _closed(source)
    try:
        try:
            page = _parsed(source)
        except _NestedTooDeepError:
            page = _parsed(_EMPHASIS.sub("", source))
    except _NestedTooDeepError:
        text = tidy(_words(source))
        return Document(text, title_of(text, name), "markdown")
    if page is None:
        return Document("", title_of("", name), "markdown")
    titles = (each for each in page.iter("title") if next(each.iterancestors("svg"), None) is None)
    title = clean(" ".join(next(("".join(each.itertext()) for each in titles), "").split()))
    renderer = MarkdownRenderer(_parsed_frame)
    text = _rendered(renderer, page)
    if keep_menus and not text.strip() and renderer.menus:  # a page of nothing but links says something, too
        renderer = MarkdownRenderer(_parsed_frame, keep_menus=True)
        text = _rendered(renderer, page)
    skipped = []
    if renderer.menus:
        skipped.append(Skipped("menus", f"{renderer.menus} of them: links to other pages are no content"))
    if renderer.frames:
        skipped.append(Skipped("frames", f"{renderer.frames} of them show other pages, which are not in the file"))
    return Document(text, title or title_of(text, name), "markdown", rows=renderer.rows or None, skipped=tuple(skipped))


def tidy(text: str) -> str:
    """Without blanks at the ends of lines and more than one blank line."""
    text = re.sub(r"(?<![ \t])[ \t]+\n", "\n", clean(text))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _rendered(renderer: MarkdownRenderer, page: Any) -> str:
    try:
        with _deep_recursion():
            return tidy(renderer.render(page))
    except RecursionError:
        return tidy("\n".join(text for text in renderer.texts(page) if text.strip()))


def _parsed(source: str) -> Any:
    """The root of a page, or None where there is none. libxml2 ends <p>, <li> and <td> where nobody wrote so. Raises
    _NestedTooDeepError."""
    from lxml import etree

    raw = source.replace("\0", "").encode("utf-8", "replace")
    parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True)
    try:
        page = etree.fromstring(raw, parser) if raw.strip() else None
    except (etree.ParserError, etree.XMLSyntaxError):
        return None
    if any(error.type == etree.ErrorTypes.ERR_RESOURCE_LIMIT for error in parser.error_log):
        raise _NestedTooDeepError
    return page


def _parsed_frame(source: str) -> Any:
    """The same of a page within one; None also of one that is nested too deep."""
    try:
        return _parsed(_closed(source))
    except _NestedTooDeepError:
        return None


def _words(source: str) -> str:
    """The words alone, however deep they are."""
    from lxml import etree

    found: list[str] = []
    unseen: list[str] = []

    class Words:
        def start(self, tag: str, attributes: Any) -> None:
            found.append("\n")
            if tag in _ELEMENT_TEXTS and tag != "textarea":
                unseen.append(tag)

        def end(self, tag: str) -> None:
            if unseen and unseen[-1] == tag:
                unseen.pop()

        def data(self, data: str) -> None:
            if not unseen:
                found.append(data)

        def close(self) -> str:
            return "".join(found)

    return str(
        etree.fromstring(
            source.encode("utf-8", "replace"), etree.HTMLParser(encoding="utf-8", huge_tree=True, target=Words())
        )
    )


def _closed(source: str) -> str:
    """The page as its author meant it: what begins without an end would swallow all that follows."""
    source = _END_OF_PAGE.sub("", _DECLARATION.sub("", source))
    if "<![CDATA[" in source:
        first, *rest = source.split("<![CDATA[")
        parts = (each.partition("]]>") for each in rest)
        source = first + "".join(escape(inner) + behind for inner, _, behind in parts)
    begin = source.rfind("<!--")
    if begin > source.rfind("-->"):
        source = source[:begin] + source[begin + 4 :]
    lower = source.lower()
    for tag in _ELEMENT_TEXTS if len(lower) == len(source) else ():
        begin = lower.rfind(f"<{tag}")
        if begin >= 0 and lower.find(f"</{tag}", begin) < 0 and not _ends_at_once(lower, begin):
            source, lower = (each[:begin] + each[begin + 1 + len(tag) :].partition(">")[2] for each in (source, lower))
    return _BRACKETED.sub(r"&lt;\1&gt;", source)


def _ends_at_once(lower: str, begin: int) -> bool:
    """Whether the element is written as XHTML writes an empty one, or is one of another name."""
    end = lower.find(">", begin)
    return end < 0 or lower[end - 1] == "/" or not re.match(r"<[a-z]+[\s>/]", lower[begin : begin + 20])


@contextmanager
def _deep_recursion() -> Iterator[None]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _MAX_DEPTH))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
