"""A DuckDB file that is only ever read.

The grammar and the check stand before it. Should both err: the file is opened for reading, DuckDB reaches no other file, no
network and no extension, its settings are locked, DuckDB's own parser must name nothing but the tables and functions that the
caller may have, and each of these tables is a view of the columns that the caller may have.
"""

import json
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistants.sql.dialect import DUCKDB
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

if TYPE_CHECKING:
    import duckdb

MAX_ESTIMATE = 100_000_000
"""Rows of one step of a query's plan, as DuckDB guesses them."""
_CONFINED: dict[str, Any] = {
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "memory_limit": "512MB",
    "temp_directory": "",
    "threads": 2,
    "lock_configuration": True,
}
_NUMBERS = ("INT", "HUGEINT", "DOUBLE", "FLOAT", "DECIMAL", "REAL")
_TEXTS = ("VARCHAR", "ENUM", "BOOLEAN")
_CALLED = frozenset(
    (
        *("count", "count_star", "sum", "avg", "min", "max", "round", "abs", "nullif", "stddev", "quantile_cont"),
        *("+", "-", "*", "/", "%", "||", "~~", "!~~", "~~*", "!~~*", "lower", "upper", "length", "substring"),
        *("strftime", "date_part", "date_trunc", "strptime", "to_timestamp", "current_date", "now"),
        *("row_number", "rank", "dense_rank", "lag", "lead", "year", "month", "day"),
    )
)
"""As DuckDB's parser names them; `~~` is LIKE."""
_REFUSED = frozenset(
    {
        *("TABLE_FUNCTION", "EXPRESSION_LIST", "PIVOT", "SHOW_REF", "COLUMN_DATA", "DELIM_GET"),
        *("RECURSIVE_CTE_NODE", "LAMBDA"),
    }
)


class DuckDBWarehouse(FileWarehouse):
    """One file. Thread-safe: each call has a connection of its own."""

    dialect = DUCKDB

    def __init__(self, path: Path) -> None:
        """Raises QueryFailed where DuckDB is not installed."""
        try:
            import duckdb
        except ImportError as error:
            raise QueryFailed("DuckDB is not installed: pip install 'ragfleet[duckdb]'") from error
        super().__init__(path)
        self._duckdb = duckdb

    def _read_tables(self) -> list[Table]:
        with self._connected() as connection:
            try:
                found = connection.execute(
                    "SELECT table_name FROM information_schema.tables WHERE table_schema = 'main'"
                    f" AND table_catalog = current_database() ORDER BY 1 LIMIT {MAX_TABLES}"
                ).fetchall()
                keys = _keys(connection)
                return [_table(connection, name, keys) for (name,) in found if _is_plain(connection, name)]
            except self._duckdb.Error as error:
                raise QueryFailed(f"the warehouse cannot be read: {error}") from error

    def run(self, query: str, tables: Sequence[Table], *, max_rows: int, deadline_s: float) -> Result:
        """See Warehouse."""
        with self._connected() as connection:
            timer = threading.Timer(deadline_s, connection.interrupt)
            timer.start()
            try:
                self._check(connection, query, tables)
                connection.execute(query)
                names = [str(each[0]) for each in connection.description or ()]
                return gathered(names, _rows(connection), max_rows)
            except self._duckdb.InterruptException as error:
                raise QueryFailed(f"it took longer than {deadline_s:g} s") from error
            except (self._duckdb.Error, RuntimeError, ValueError) as error:
                raise QueryFailed(str(error).splitlines()[0][:300]) from error
            finally:
                timer.cancel()
                timer.join()

    def _check(self, connection: "duckdb.DuckDBPyConnection", query: str, tables: Sequence[Table]) -> None:
        """Raises QueryFailed."""
        statements = connection.extract_statements(query)
        if len(statements) != 1 or statements[0].type != self._duckdb.StatementType.SELECT:
            raise QueryFailed("it must be one SELECT")
        row = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchone()
        parsed = json.loads(row[0]) if row else {"error": True}
        if parsed.get("error"):
            raise QueryFailed("it must be one SELECT")
        nodes = list(_nodes(parsed))
        own = {str(node["key"]).casefold() for node in nodes if "key" in node}  # what WITH names
        rows = connection.execute("SELECT table_name FROM information_schema.tables").fetchall()
        allowed = {table.name.casefold() for table in tables} | (own - {str(name).casefold() for (name,) in rows})
        for node in nodes:
            _check_node(node, allowed)
        read = {str(node["table_name"]).casefold() for node in nodes if "table_name" in node}
        for table in tables:
            if table.name.casefold() in read:
                _narrow(connection, table)
        plan = connection.execute(f"EXPLAIN (FORMAT json) {query}").fetchall()
        for node in _nodes([json.loads(text) for kind, text in plan if kind == "physical_plan"]):
            estimate = node.get("extra_info", {}).get("Estimated Cardinality") if "extra_info" in node else None
            if estimate is not None and int(estimate) > MAX_ESTIMATE:
                raise QueryFailed(f"it would look at about {estimate} rows")

    @contextmanager
    def _connected(self) -> Iterator["duckdb.DuckDBPyConnection"]:
        try:
            opened = self._duckdb.connect(str(self._path.resolve()), read_only=True, config=_CONFINED)
        except self._duckdb.Error as error:
            raise QueryFailed(f"the warehouse cannot be opened: {error}") from error
        with opened as connection, connection.cursor() as cursor:
            yield cursor


def _check_node(node: dict[str, Any], allowed: Collection[str]) -> None:
    """A node of DuckDB's own parse tree. Raises QueryFailed."""
    kind = node.get("type")
    if kind == "BASE_TABLE":
        if node.get("schema_name") or node.get("catalog_name") or node["table_name"].casefold() not in allowed:
            raise QueryFailed(f"there is no table '{node['table_name'][:80]}'")
    elif kind in _REFUSED:
        raise QueryFailed(f"{kind} is not allowed")
    if "function_name" in node and node["function_name"].casefold() not in _CALLED:
        raise QueryFailed(f"the function '{node['function_name'][:80]}' is not allowed")


def _narrow(connection: "duckdb.DuckDBPyConnection", table: Table) -> None:
    """Let its name stand for the columns that may be read, and for no other, on this connection."""
    (database,) = connection.execute("SELECT current_database()").fetchone() or ("",)
    columns = ", ".join(_quoted(each.name) for each in table.columns)
    source = f"{_quoted(str(database))}.main.{_quoted(table.name)}"
    connection.execute(f"CREATE OR REPLACE TEMP VIEW {_quoted(table.name)} AS SELECT {columns} FROM {source}")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    waiting = [tree]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            yield each
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)


def _rows(connection: "duckdb.DuckDBPyConnection") -> Iterator[Sequence[Any]]:
    while (row := connection.fetchone()) is not None:
        yield row


def _keys(connection: "duckdb.DuckDBPyConnection") -> list[tuple[str, str, list[str], str | None, list[str]]]:
    """table, kind, columns, the other table and its columns."""
    return connection.execute(
        "SELECT table_name, constraint_type, constraint_column_names, referenced_table, referenced_column_names"
        " FROM duckdb_constraints() WHERE constraint_type IN ('PRIMARY KEY', 'FOREIGN KEY')"
    ).fetchall()


def _table(connection: "duckdb.DuckDBPyConnection", name: str, keys: Sequence[Any]) -> Table:
    own = [each for each in keys if each[0] == name]
    references = tuple(
        Reference(columns[0], other, others[0])
        for _, kind, columns, other, others in own
        if kind == "FOREIGN KEY" and other and len(columns) == 1 and others
    )
    key_names = {column for _, _, columns, _, _ in own for column in columns}
    described = connection.execute(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = 'main'"
        f" AND table_catalog = current_database() AND table_name = ? ORDER BY ordinal_position LIMIT {MAX_COLUMNS}",
        [name],
    ).fetchall()
    columns = [
        made
        for column, declared in described
        if _is_plain(connection, name, column)
        and (made := _column(connection, name, column, declared.upper(), key=column in key_names))
    ]
    return Table(name, tuple(columns), references)


def _column(
    connection: "duckdb.DuckDBPyConnection", table: str, name: str, declared: str, *, key: bool
) -> Column | None:
    """None for what can be neither counted, read nor compared: lists, structures, bytes."""
    if "[" in declared or declared.startswith(("STRUCT", "MAP", "UNION")):
        return None
    if declared.startswith(("DATE", "TIMESTAMP")):
        return Column(name, ColumnType.DATE, key=key)
    if not declared.startswith(_TEXTS):
        return Column(name, ColumnType.NUMBER, key=key) if any(each in declared for each in _NUMBERS) else None
    import duckdb

    try:
        found = connection.execute(distinct_values(table, name, "VARCHAR")).fetchall()
    except duckdb.Error:  # a view, perhaps, that fails on its rows: its values are not told, and the others' are
        found = []
    return Column(name, ColumnType.TEXT, few_values([value for (value,) in found]), key=key)


def _is_plain(connection: "duckdb.DuckDBPyConnection", table: str, column: str = "") -> bool:
    """Whether SQL understands a name without quotes."""
    import duckdb

    if not NAME.fullmatch(column or table):
        return False
    try:
        connection.execute(f"SELECT {f'{table}.{column}' if column else '1'} FROM {table} LIMIT 0")
    except duckdb.Error:
        return False
    return True
