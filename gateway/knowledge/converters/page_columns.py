"""Two columns of prose on a page whose lines were written across both: read one column after the other. No I/O.

Most programs write a page column by column, and then the plain text is right. Some write line by line (scanners with text behind
the picture, printers of forms): then each line of the plain text is half of one sentence and half of another.
"""

import re
from collections import Counter
from collections.abc import Sequence
from statistics import median

_CELL = re.compile(r"\S+(?: \S+)*")
_LEAST_LINES = 6
"""That have both columns."""
_LEAST_WORDS = 3
"""That the middle one of all cells has more than: fewer are a table's."""

_Line = list[tuple[int, int, str]]
"""Start, end and words of each cell."""


def by_column(layout: str, plain: str) -> str | None:
    """The page's text; None where it has no two columns, or the plain text has each of them already.

    layout: the page with as many blanks between words as there is room for.
    """
    lines = [[(*match.span(), match.group()) for match in _CELL.finditer(line)] for line in layout.split("\n")]
    both = [line for line in lines if len(line) == 2]
    if len(both) < _LEAST_LINES or median(len(text.split()) for line in both for _, _, text in line) <= _LEAST_WORDS:
        return None
    second = Counter(line[1][0] for line in both).most_common(1)[0][0]
    across = Counter(" ".join(line.split()) for line in plain.split("\n"))
    joined = sum(
        across[f"{' '.join(left.split())} {' '.join(right.split())}"] > 0 for (_, _, left), (_, _, right) in both
    )
    if 2 * joined < len(both):
        return None
    return re.sub(r"\n{3,}", "\n\n", "\n".join(_in_order(lines, second)))


def _in_order(lines: Sequence[_Line], second: int) -> list[str]:
    """What stands between two lines that go over both columns: its left one, then its right one."""
    made: list[str] = []
    left: list[str] = []
    right: list[str] = []

    def end() -> None:
        made.extend([*left, *([""] if left and right else []), *right])
        left.clear()
        right.clear()

    for line in lines:
        if not line and (left or right):  # between two paragraphs
            left.append("")
            right.append("")
            continue
        if not line or any(start < second - 1 <= stop for start, stop, _ in line):
            end()
            made.append(" ".join(text for _, _, text in line))
            continue
        for start, _, text in line:
            (left if start < second - 1 else right).append(text)
    end()
    return made
