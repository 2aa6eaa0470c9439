"""Where the cells of an HTML table stand, also of one that nobody wrote quite right."""

from collections.abc import Iterator
from typing import Any

from gateway.knowledge.converters.tables import Region

_CELLS = ("td", "th")
_PARTS = ("thead", "tbody", "tfoot")


def rows_of(table: Any) -> list[list[Any]]:
    """The cells of each row, the head's first and the foot's last. Old pages have forms between a table and its rows; cells
    without a row are one."""
    parts: dict[str, list[list[Any]]] = {"thead": [], "tbody": [], "tfoot": []}
    for child in table:
        parts[child.tag if child.tag in _PARTS else "tbody"] += _rows(child)
    made = [row for part in parts.values() for row in part]
    loose = [cell for child in table for cell in _loose_cells(child)]
    return [*made, loose] if loose else made


def loose_parts(table: Any) -> Iterator[Any]:
    """What stands beside the cells: texts, captions and other elements without cells in them."""
    if table.text and table.text.strip():
        yield table.text
    for child in table:
        if not isinstance(child.tag, str):
            continue
        if child.tag == "tr" or child.tag in _PARTS:
            yield from (part for part in loose_parts(child) if isinstance(part, str) or part.tag not in _CELLS)
        elif child.tag not in (*_CELLS, "colgroup", "col"):
            if child.tag == "table" or next(child.iter(*_CELLS), None) is None:
                yield child
            else:
                yield from loose_parts(child)
        if child.tail and child.tail.strip():
            yield child.tail


def _rows(part: Any) -> Iterator[list[Any]]:
    if part.tag == "tr":
        yield list(_cells(part))
    elif part.tag not in (*_CELLS, "table", "caption") and isinstance(part.tag, str):
        for child in part:
            yield from _rows(child)


def _cells(row: Any) -> Iterator[Any]:
    for child in row:
        if child.tag in _CELLS:
            yield child
        elif child.tag != "table":
            yield from _cells(child)


def _loose_cells(part: Any) -> Iterator[Any]:
    if part.tag in _CELLS:
        yield part
    elif part.tag not in ("tr", "table"):
        for child in part:
            yield from _loose_cells(child)


def grid(rows: list[list[tuple[Any, str]]]) -> tuple[dict[tuple[int, int], str], list[Region]]:
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


def _span(tag: Any, name: str, limit: int) -> int:
    """As it is written, where it is a number; 0 is "to the end" for rows."""
    value = str(tag.get(name) or "1").strip()
    return min(int(value), limit) if value.isascii() and value.isdigit() else 1
