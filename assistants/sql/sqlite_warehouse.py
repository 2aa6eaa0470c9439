"""A SQLite file that is only ever read: what tables it has, and queries within bounds of rows, bytes and time.

The grammar and the check stand before it. Should both err, SQLite itself still refuses: the file is opened for reading, and its
authorizer lets no table, column or function through that the caller may not have.
"""

import re
import sqlite3
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import groupby
from typing import Any

from assistants.sql.dialect import SQLITE
from assistants.sql.file_warehouse import FileWarehouse
from assistants.sql.results import (
    MAX_COLUMNS,
    MAX_TABLES,
    NAME,
    QueryFailed,
    Result,
    distinct_values,
    few_values,
    gathered,
)
from assistants.sql.tables import Column, ColumnType, Reference, Table

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[ T].*)?")
_FUNCTIONS = frozenset(
    (
        *("count", "sum", "avg", "min", "max", "round", "abs", "coalesce", "ifnull", "nullif", "iif"),
        *("like", "lower", "upper", "length", "substr", "substring"),
        *("strftime", "date", "datetime", "julianday", "current_date", "current_timestamp"),
        *("row_number", "rank", "dense_rank", "lag", "lead"),
    )
)
"""That a query may call, as SQLite names them."""
_STEPS = 2000
"""Of SQLite's machine, between two looks at the clock."""


class SqliteWarehouse(FileWarehouse):
    """One file. Thread-safe: each call has a connection of its own."""

    dialect = SQLITE

    def _read_tables(self) -> list[Table]:
        with self._connected() as connection:
            try:
                found = connection.execute(
                    "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') ORDER BY name"
                )
                names = [name for (name,) in found.fetchmany(MAX_TABLES) if _plain(connection, name)]
                return [self._table(connection, name) for name in names]
            except sqlite3.Error as error:
                raise QueryFailed(f"the warehouse cannot be read: {error}") from error

    def run(self, query: str, tables: Sequence[Table], *, max_rows: int, deadline_s: float) -> Result:
        """See Warehouse."""
        end = time.monotonic() + deadline_s
        with self._connected() as connection:
            there = {str(name).casefold() for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
            connection.set_authorizer(_Authorizer(tables, there).decide)
            connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
            try:
                connection.execute(f"EXPLAIN QUERY PLAN {query}").fetchall()
                cursor = connection.execute(query)
                return gathered([str(each[0]) for each in cursor.description or ()], cursor, max_rows)
            except sqlite3.OperationalError as error:
                late = time.monotonic() > end
                raise QueryFailed(f"it took longer than {deadline_s:g} s" if late else str(error)) from error
            except (sqlite3.Error, sqlite3.Warning, OverflowError) as error:
                raise QueryFailed(str(error)) from error

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            opened = sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro", uri=True, timeout=1.0)
        except sqlite3.Error as error:
            raise QueryFailed(f"the warehouse cannot be opened: {error}") from error
        with closing(opened) as connection:
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1_000_000)
            connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, 20_000)
            connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA temp_store = MEMORY")
            yield connection

    def _table(self, connection: sqlite3.Connection, name: str) -> Table:
        described = connection.execute(f"PRAGMA table_info({name})").fetchall()
        foreign = connection.execute(f"PRAGMA foreign_key_list({name})").fetchall()
        references = tuple(_references(connection, foreign))
        keys = {str(row[1]) for row in described if row[5]} | {str(row[3]) for row in foreign}
        columns = [
            self._column(connection, name, str(row[1]), str(row[2]), key=str(row[1]) in keys)
            for row in described[:MAX_COLUMNS]
            if _plain(connection, f"{name}.{row[1]}", of=name)
        ]
        return Table(name, tuple(columns), references)

    def _column(self, connection: sqlite3.Connection, table: str, name: str, declared: str, *, key: bool) -> Column:
        declared = declared.upper()
        if any(word in declared for word in ("INT", "REAL", "NUM", "DEC", "DOUB", "FLOA")):
            return Column(name, ColumnType.NUMBER, key=key)
        try:
            found = [value for (value,) in connection.execute(distinct_values(table, name, "")).fetchall()]
        except sqlite3.Error:  # a view, perhaps, that fails on its rows: its values are not told, and the others' are
            found = []
        if not declared and found and all(isinstance(value, int | float) for value in found):
            return Column(name, ColumnType.NUMBER, key=key)  # what a view computes has no declared type
        values = [str(value) for value in found]
        if "DATE" in declared or "TIME" in declared or (values and all(_DATE.fullmatch(value) for value in values)):
            return Column(name, ColumnType.DATE, key=key)
        return Column(name, ColumnType.TEXT, few_values(values), key=key)


def _references(connection: sqlite3.Connection, foreign: Sequence[Sequence[Any]]) -> Iterator[Reference]:
    """Of rows of foreign_key_list: those of one column each."""
    for _, group in groupby(sorted(foreign, key=lambda row: (row[0], row[1])), key=lambda row: row[0]):
        (first, *others) = group
        if others:
            continue
        other, column = str(first[2]), first[4]
        if column is None:  # it refers to the primary key, whatever its name is
            keys = [str(row[1]) for row in connection.execute("SELECT * FROM pragma_table_info(?) WHERE pk", [other])]
            column = keys[0] if len(keys) == 1 else None
        if column is not None:
            yield Reference(str(first[3]), other, str(column))


class _Authorizer:
    """Asked by SQLite about each thing that a query would do."""

    def __init__(self, tables: Sequence[Table], there: Collection[str]) -> None:
        """there: everything in the file, by its name in lower case; another name is one that the query itself has given."""
        self._there = there
        self._columns = {
            table.name.casefold(): {column.name.casefold() for column in table.columns} for table in tables
        }

    def decide(self, action: int, first: str | None, second: str | None, database: str | None, view: str | None) -> int:
        """See SQLite's sqlite3_set_authorizer."""
        if action == sqlite3.SQLITE_SELECT:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION and (second or "").casefold() in _FUNCTIONS:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ:
            columns = self._columns.get((first or "").casefold())
            if view is not None and view.casefold() in self._columns:  # what a view reads is its maker's choice
                return sqlite3.SQLITE_OK
            if columns is not None and (not second or second.casefold() in columns):
                return sqlite3.SQLITE_OK
            own = (first or "").casefold()  # of WITH, whose queries are asked about one by one
            if not second and own not in self._there and not own.startswith(("sqlite_", "pragma_")):
                return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY


def _plain(connection: sqlite3.Connection, name: str, *, of: str | None = None) -> bool:
    """Whether SQL understands a name without quotes."""
    if not all(NAME.fullmatch(part) for part in name.split(".")) or name.casefold().startswith("sqlite_"):
        return False
    try:
        connection.execute(f"SELECT {name if of else '1'} FROM {of or name} LIMIT 0")
    except sqlite3.Error:
        return False
    return True
