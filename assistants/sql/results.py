"""What a warehouse is, and what a query gives."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol

from assistants.sql.dialect import Dialect
from assistants.sql.tables import Table

MAX_TABLES = 200
MAX_COLUMNS = 60
"""Of a table; those behind are not told."""
FEW_VALUES = 16
MAX_VALUE = 40
"""Characters of a value that a grammar spells."""
SAMPLE_ROWS = 5000
"""Of a table, in which its values are looked for."""
MAX_CELL = 200
"""Characters of a cell that is shown."""
MAX_RESULT = 1_000_000
"""Bytes of all cells together, about."""
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")

Cell = str | int | float | None


class QueryFailed(Exception):
    """The query gave nothing; the message says why."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a query gave."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    cut: bool = False
    """Whether there are more rows than were wanted."""


class Warehouse(Protocol):
    """A database that is only ever read. Thread-safe."""

    dialect: Dialect

    def tables(self) -> list[Table]:
        """All tables, with the values of columns that have few; names that need quotes are left out. Raises QueryFailed."""
        ...

    def run(self, query: str, tables: Sequence[Table], *, max_rows: int, deadline_s: float) -> Result:
        """Ask it. tables: all that it may read. Raises QueryFailed."""
        ...


def cell(value: object) -> Cell:
    """As it is shown."""
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        if not value.is_finite():
            return str(value)
        value = int(value) if value == value.to_integral_value() and abs(value) < 10**15 else float(value)
    if isinstance(value, float):
        shown = float(f"{value:.10g}")  # which is infinite for the largest there are
        return shown if math.isfinite(shown) else str(value)  # JSON has no number for the others
    if isinstance(value, int) or value is None:
        return value
    text = value if isinstance(value, str) else value.isoformat() if isinstance(value, date | datetime) else str(value)
    return text if len(text) <= MAX_CELL else text[: MAX_CELL - 1] + "…"


def gathered(columns: Sequence[str], rows: Iterable[Sequence[Any]], max_rows: int) -> Result:
    """So many rows at the most, and so many bytes. Raises QueryFailed for more bytes."""
    found: list[tuple[Cell, ...]] = []
    size = 0
    for row in rows:
        if len(found) == max_rows:
            return Result(tuple(columns), tuple(found), cut=True)
        size += sum(len(each) if isinstance(each, str | bytes) else 16 for each in row)
        if size > MAX_RESULT:
            raise QueryFailed(f"its result has more than {MAX_RESULT} bytes")
        found.append(tuple(map(cell, row)))
    return Result(tuple(columns), tuple(found))


def distinct_values(table: str, column: str, text: str) -> str:
    """The query for one more than the few values that a column may have. text: the type that they are told as; "": as they are.

    The column stands behind its table, so that `order` or `user` is the column and no word of SQL.
    """
    named = f"sample.{column}"
    told = f"CAST({named} AS {text})" if text else named
    return (
        f"SELECT DISTINCT {told} FROM (SELECT {table}.{column} FROM {table} LIMIT {SAMPLE_ROWS}) AS sample"
        f" WHERE {named} IS NOT NULL LIMIT {FEW_VALUES + 1}"
    )


def few_values(found: Sequence[object]) -> tuple[str, ...]:
    """Of a text column, sorted, where they are few and can be written in a grammar; none otherwise."""
    values = [str(each) for each in found]
    spelled = all(0 < len(v) <= MAX_VALUE and v.isprintable() and "\\" not in v for v in values)
    return tuple(sorted(values)) if spelled and len(values) <= FEW_VALUES else ()
