"""Tables as Markdown: a line for each row, so that whoever reads one line reads one record."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence

Region = tuple[int, int, int, int]
"""Merged cells: first row, first column, last row, last column (inclusive)."""

_MAX_BLANK = 20
"""Blank cells that may be written for each filled one. Rows of a table that is emptier (one of them has thousands of cells, or
they lie far apart) are not filled up."""
_MAX_REPEATED = 1_000_000
"""Cells that merged regions may fill in one table."""


def markdown_table(rows: Iterable[Sequence[str]]) -> tuple[str, int]:
    """Rows as a Markdown table, the first one as its head, and how many there are. Empty rows, and columns that are empty at the
    right, are left out."""
    lines = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    lines = [row for row in lines if any(row)]
    if not lines:
        return "", 0
    for row in lines:
        while not row[-1]:
            row.pop()
    width = max(map(len, lines))
    if width * len(lines) > _MAX_BLANK * sum(sum(map(bool, row)) for row in lines):
        width = len(lines[0])
        made = ["| " + " | ".join(row) + " |" for row in lines]
    else:
        made = ["| " + " | ".join([*row, *[""] * (width - len(row))]) + " |" for row in lines]
    made.insert(1, "| " + " | ".join(["---"] * width) + " |")
    return "\n".join(made) + "\n", len(lines)


def sparse_table(cells: Mapping[tuple[int, int], str], merged: Iterable[Region] = ()) -> tuple[str, int]:
    """The same of cells by row and column, without any empty column. What is merged over rows stands in each of them, so that
    each is whole; what is merged over columns stands in each where the row has other cells (a title alone has none)."""
    by_row: dict[int, dict[int, str]] = {}
    for (row, column), text in cells.items():
        if text.strip():
            by_row.setdefault(row, {})[column] = text
    rows = sorted(by_row)
    columns = sorted({column for line in by_row.values() for column in line})
    left = _MAX_REPEATED
    for top, first, bottom, last in merged:
        value = by_row.get(top, {}).get(first)
        across = columns[bisect_left(columns, first) : bisect_right(columns, last)]
        for row in rows[bisect_left(rows, top) : bisect_right(rows, bottom)] if value else ():
            line = by_row[row]
            left -= len(across) + len(line)
            if value is None or left < 0:
                break
            if any(not first <= column <= last for column in line):
                for column in across:
                    line.setdefault(column, value)
    if len(rows) * len(columns) > _MAX_BLANK * sum(map(len, by_row.values())):
        return markdown_table([text for _, text in sorted(by_row[row].items())] for row in rows)
    return markdown_table([by_row[row].get(column, "") for column in columns] for row in rows)
