"""The structure of a converted text: sections under headings, blocks in sections, and units that a chunk may begin or end with.

All spans are (start, end) character offsets into the document's text, end exclusive. Between units there is only whitespace,
so that any run of units is one slice of the text.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from gateway.knowledge.documents import Document

_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*)$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+\S")
_INDENTED = re.compile(r"(?: {2,}|\t)\S")
_TABLE_ROW = re.compile(r" {0,3}\|")
# After a full stop (with closing quotes or brackets) and whitespace, or right after a CJK one.
_SENTENCE_END = re.compile(r"(?<=[.!?…:])[\"'”’»)\]*_]*\s+|[。！？]\s*")

_BAR = re.compile(r"(?<!\\)\|")
_RULE = re.compile(r"\|?(?:\s*:?-{3,}:?\s*\|)+\s*(?::?-{3,}:?)?")
_FIGURE = re.compile(r"[-+]?\d[\d.,]*\s*%?")
_MAX_ABOVE = 20
"""Rows of a table among which the one is looked for that names its columns."""
_MOST = 0.6
"""The share of the cells of the fullest row that the names of columns have at least."""

Span = tuple[int, int]


@dataclass(slots=True)
class Block:
    """A paragraph, list, table, code block or heading. `lead` is what a part of it needs to be understood: a table's head.

    nested: the whole of it needs its lead, too: an indented piece of code the line that it stands under.
    """

    units: list[Span]
    lead: str = ""
    nested: bool = False


@dataclass(slots=True)
class Section:
    """What stands under one heading (and under headings right before it that have no text of their own).

    `headings` is the path from the title down; the last `own` of them are in the section's first block, as text.
    """

    headings: tuple[str, ...]
    own: int
    blocks: list[Block] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Line:
    start: int
    end: int
    text: str


def heading_words(line: str) -> str:
    """What a heading says, of what stands behind its first `#`s. Those behind it are its end if a blank parts them (not C#)."""
    words = line.strip()
    bare = words.rstrip("#")
    return bare.rstrip() if bare != words and (not bare or bare[-1].isspace()) else words


def sections(document: Document) -> Iterator[Section]:
    """The sections of a document in order. A page is a section of its own, at least: no section goes over a page's end."""
    starts = document.page_starts or (0,)
    for start, end in pairwise((*starts, len(document.text))):
        if document.markup == "markdown":
            yield from _markdown_sections(document, start, end)
            continue
        section = Section((document.title,), 0)
        if document.markup == "code":
            section.blocks = list(code_blocks(document.text, start, end))
        else:
            section.blocks = [_plain_block(document.text, *span) for span in _paragraphs(document.text, start, end)]
        if section.blocks:
            yield section


def _lines(text: str, start: int, end: int) -> Iterator[_Line]:
    # Only LF ends a line here; str.splitlines would also cut at form feeds and the like.
    while start < end:
        stop = text.find("\n", start, end)
        stop = end if stop < 0 else stop
        yield _Line(start, stop, text[start:stop])
        start = stop + 1


def _trimmed(text: str, start: int, end: int) -> Span:
    """The span without whitespace at its ends; empty (start == end) where there is nothing else."""
    body = text[start:end]
    start += len(body) - len(body.lstrip())
    return start, max(start, end - (len(body) - len(body.rstrip())))


def _paragraphs(text: str, start: int, end: int) -> Iterator[Span]:
    first: int | None = None
    last = start
    for line in _lines(text, start, end):
        if line.text.strip():
            first, last = line.start if first is None else first, line.end
        elif first is not None:
            yield first, last
            first = None
    if first is not None:
        yield first, last


def _plain_block(text: str, start: int, end: int) -> Block:
    """A paragraph; a table, where tables were found in what has no markup otherwise (PDF)."""
    lines = list(_lines(text, start, end))
    if all(_TABLE_ROW.match(line.text) for line in lines):
        return Block(_line_units(text, lines), lead=lines[0].text.strip())
    return Block(_sentences(text, start, end))


def _sentences(text: str, start: int, end: int) -> list[Span]:
    cuts = [start, *(match.end() for match in _SENTENCE_END.finditer(text, start, end)), end]
    spans = (_trimmed(text, a, b) for a, b in pairwise(cuts))
    return [span for span in spans if span[0] < span[1]]


def code_blocks(text: str, start: int, end: int) -> Iterator[Block]:
    """What blank lines part; an indented block is led by the last line before it that is not indented."""
    lead = ""
    for first, last in _paragraphs(text, start, end):
        lines = list(_lines(text, first, last))
        nested = lines[0].text[:1].isspace()
        outer = [line.text.strip() for line in lines if line.text[:1].isalpha() or line.text[:1] in "_@"]
        yield Block(_line_units(text, lines), lead if nested else (outer or [""])[0], nested)
        lead = outer[-1] if outer else lead


def _markdown_sections(document: Document, start: int, end: int) -> Iterator[Section]:
    path: list[tuple[int, int, str]] = []  # level, offset and words of the headings that are open
    section = Section((document.title,), 0)
    bare = True  # the section has nothing but headings so far
    for block, level, words in _markdown_blocks(document.text, start, end):
        if not level:
            bare = False
            section.blocks.append(block)
            continue
        if not bare:
            yield section
            section = Section((), 0)
            bare = True
        section.blocks.append(block)
        path = [heading for heading in path if heading[0] < level]
        path.append((level, block.units[0][0], words))
        names = tuple(heading[2] for heading in path)
        section.headings = names if path[0][0] == 1 else (document.title, *names)
        section.own = sum(heading[1] >= section.blocks[0].units[0][0] for heading in path)
    if section.blocks:
        yield section


def _markdown_blocks(text: str, start: int, end: int) -> Iterator[tuple[Block, int, str]]:
    """Blocks with the level and the words of a heading (0 and "" for all others)."""
    lines = list(_lines(text, start, end))
    at = 0
    while at < len(lines):
        line = lines[at]
        if not line.text.strip():
            at += 1
            continue
        if heading := _HEADING.match(line.text):
            yield Block([_trimmed(text, line.start, line.end)]), len(heading.group(1)), heading_words(heading.group(2))
            at += 1
            continue
        if fence := _FENCE.match(line.text):
            stop = _fence_end(lines, at, fence.group(1))
            block = Block(_line_units(text, lines[at:stop]))
        elif _TABLE_ROW.match(line.text):
            stop = _run(lines, at, lambda candidate: bool(_TABLE_ROW.match(candidate)))
            block = Block(_line_units(text, lines[at:stop]), lead=_head(lines[at:stop]))
        elif _ITEM.match(line.text):
            stop = _list_end(lines, at)
            block = Block(_items(text, lines[at:stop]))
        else:
            stop = _run(lines, at, lambda candidate: bool(candidate.strip()) and not _interrupts(candidate))
            block = Block(_sentences(text, line.start, lines[stop - 1].end))
        at = stop
        yield block, 0, ""


def _head(rows: list[_Line]) -> str:
    """The first row of a table; with the one that names its columns, where titles and remarks of a few cells stand above it. That
    has most of the cells that rows have here, and names are no numbers."""
    texts = [row.text.strip() for row in rows[:_MAX_ABOVE]]
    first, *others = [text for text in texts if not _RULE.fullmatch(text)] or texts
    filled = [sum(map(bool, map(str.strip, _BAR.split(row)))) for row in (first, *others)]
    wide = _MOST * max(filled)
    if filled[0] >= wide:
        return first
    found = next(row for row, cells in zip(others, filled[1:], strict=True) if cells >= wide)
    return first if any(map(_FIGURE.fullmatch, map(str.strip, _BAR.split(found)))) else f"{first}\n{found}"


def _interrupts(line: str) -> bool:
    """Whether this line ends a paragraph without a blank line before it."""
    return any(pattern.match(line) for pattern in (_HEADING, _FENCE, _TABLE_ROW, _ITEM))


def _run(lines: list[_Line], at: int, belongs: Callable[[str], bool]) -> int:
    stop = at + 1
    while stop < len(lines) and belongs(lines[stop].text):
        stop += 1
    return stop


def _fence_end(lines: list[_Line], at: int, fence: str) -> int:
    for stop in range(at + 1, len(lines)):
        stripped = lines[stop].text.strip()
        if stripped.startswith(fence) and not stripped.strip(fence[0]):
            return stop + 1
    return len(lines)


def _list_end(lines: list[_Line], at: int) -> int:
    """A list goes on over blank lines when another item or an indented line follows."""
    stop = at + 1
    while stop < len(lines):
        line = lines[stop].text
        if line.strip():
            if _HEADING.match(line) or _FENCE.match(line) or _TABLE_ROW.match(line):
                break
            stop += 1
            continue
        after = next((index for index in range(stop, len(lines)) if lines[index].text.strip()), len(lines))
        if after == len(lines) or not (_ITEM.match(lines[after].text) or _INDENTED.match(lines[after].text)):
            break
        stop = after
    return stop


def _line_units(text: str, lines: list[_Line]) -> list[Span]:
    return [_trimmed(text, line.start, line.end) for line in lines if line.text.strip()]


def _items(text: str, lines: list[_Line]) -> list[Span]:
    starts = [line.start for line in lines if _ITEM.match(line.text)]
    return [_trimmed(text, a, b) for a, b in pairwise([*starts, lines[-1].end])]
