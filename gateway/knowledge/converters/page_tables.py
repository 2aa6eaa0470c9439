"""Tables on a page of which only the places of its words are known: lines of text, with as many blanks between words as there is
room between them on the page."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from gateway.knowledge.converters.tables import sparse_table

_CELL = re.compile(r"\S+(?: \S+)*")
_MIN_ROWS = 3
"""Lines with several cells that make a table."""
_MAX_WORDS = 3
"""Words that the middle one of all cells may have; columns of prose have more."""
_MAX_BLANK_LINES = 2
"""Lines without text that may stand between two rows of a table."""


@dataclass(frozen=True, slots=True)
class _Cell:
    start: int
    end: int
    text: str


def with_tables(page: str) -> str | None:
    """The page's text, with its tables as Markdown; None where there are none."""
    lines = [[_Cell(*match.span(), match.group()) for match in _CELL.finditer(line)] for line in page.split("\n")]
    parts: list[str] = []
    at = 0
    for first, last in _runs(lines):
        if table := _table(lines[first:last]):
            parts += [*_prose(lines[at:first]), f"\n{table}"]
            at = last
    return re.sub(r"\n{3,}", "\n\n", "\n".join([*parts, *_prose(lines[at:])])) if at else None


def _prose(lines: Sequence[Sequence[_Cell]]) -> Iterator[str]:
    return (" ".join(cell.text for cell in line) for line in lines)


def _runs(lines: Sequence[Sequence[_Cell]]) -> Iterator[tuple[int, int]]:
    """First line and the one behind the last of what may be a table: it begins and ends with a line of several cells, and
    between two of them are some blank lines at the most, or one line of one cell that is not a title of its own."""
    several = [at for at, line in enumerate(lines) if len(line) > 1]
    first = 0
    for this, following in pairwise(range(len(several) + 1)):
        between = lines[several[this] + 1 : several[following]] if following < len(several) else ()
        single = sum(map(bool, between))
        title = single == 1 and len(between) > 2 and not between[0] and not between[-1]
        if following == len(several) or single > 1 or title or len(between) - single > _MAX_BLANK_LINES:
            yield several[first], several[this] + 1
            first = following


def _table(lines: Sequence[Sequence[_Cell]]) -> str:
    rows = [line for line in lines if len(line) > 1]
    if len(rows) < _MIN_ROWS or median(len(cell.text.split()) for row in rows for cell in row) > _MAX_WORDS:
        return ""
    columns = _columns(rows)
    if len(columns) < 2:
        return ""
    placed: dict[tuple[int, int], str] = {}
    row, blank = -1, True
    for line in lines:
        if not line:
            blank = True
            continue
        wanted = [_column(columns, cell) for cell in line]
        # A line with one cell right below one that has a cell there is the rest of that.
        if len(line) > 1 or blank or wanted[0] == 0 or (row, wanted[0]) not in placed:
            row += 1
        for column, cell in zip(wanted, line, strict=True):
            placed[row, column] = " ".join(filter(None, [placed.get((row, column)), cell.text]))
        blank = False
    return sparse_table(placed)[0]


def _columns(rows: Sequence[Sequence[_Cell]]) -> list[tuple[int, int]]:
    """Where columns begin and end: what lies over each other is one. The fullest rows know best, if there are some."""
    most = max(map(len, rows))
    full = [row for row in rows if len(row) == most]
    columns: list[tuple[int, int]] = []
    for cell in sorted((cell for row in (full if len(full) >= _MIN_ROWS else rows) for cell in row), key=_start):
        if columns and cell.start <= columns[-1][1]:
            columns[-1] = (columns[-1][0], max(columns[-1][1], cell.end))
        else:
            columns.append((cell.start, cell.end))
    return columns


def _start(cell: _Cell) -> int:
    return cell.start


def _column(columns: Sequence[tuple[int, int]], cell: _Cell) -> int:
    """The one that it lies over most, or is nearest to."""
    return max(range(len(columns)), key=lambda at: min(columns[at][1], cell.end) - max(columns[at][0], cell.start))
