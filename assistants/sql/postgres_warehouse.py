"""A PostgreSQL database that is only ever read.

The grammar and the check stand before it. Should both err: every transaction is read-only, the role must be one that can write
nothing, read no file and reach no other server, PostgreSQL's own plan must name nothing but the tables that the caller may have,
and statements end at their deadline. Columns are the check's and the role's alone.
"""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.abc import QueryNoTemplate
from sqlalchemy import create_engine, inspect
from sqlalchemy.engine.reflection import ObjectKind
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from assistants.sql.dialect import POSTGRES
from assistants.sql.names import with_plain_names
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

MAX_COST = 10_000_000.0
"""Of a plan, in PostgreSQL's units: about a page read in order each."""
TABLES_DEADLINE_S = 60.0
FRESH_S = 300.0
"""How long what tables there are is taken for true."""
_NUMBERS = ("smallint", "integer", "bigint", "numeric", "real", "double precision")
_TEXTS = ("text", "character varying", "character", "bpchar", "varchar", "boolean", "uuid")
_DATES = ("date", "timestamp without time zone", "timestamp with time zone")
_DANGERS = {
    "is a superuser, or may make roles or databases, replicate, or pass over row security": (
        "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls FROM pg_roles"
        " WHERE rolname = current_user"
    ),
    "reads or writes files, runs programs, or writes all data": (
        "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname IN ('pg_read_server_files', 'pg_write_server_files',"
        " 'pg_execute_server_program', 'pg_write_all_data') AND pg_has_role(current_user, oid, 'member'))"
    ),
    "can write to a table": (
        "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema'"
        " AND n.nspname NOT LIKE 'pg\\_%' AND has_schema_privilege(n.oid, 'USAGE')"
        " AND (has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')"
        " OR has_any_column_privilege(c.oid, 'INSERT, UPDATE')))"
    ),
    "may call a function that reads files or asks other servers (dblink, pg_read_file and their like)": (
        "SELECT EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
        " WHERE p.proname ~ '^(dblink.*|pg_read_(binary_)?file|pg_ls_dir|pg_stat_file|pg_file_.*|lo_import|lo_export)$'"
        " AND has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE'))"
    ),
}
"""What a role may not be, and the question that tells it."""
_READ_BY = """
WITH RECURSIVE edge AS (
  SELECT r.ev_class AS above, d.refobjid AS below FROM pg_rewrite r JOIN pg_depend d ON d.objid = r.oid
  WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
  UNION SELECT inhparent, inhrelid FROM pg_inherits
), reached AS (
  SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = %s AND c.relname = ANY(%s)
  UNION SELECT edge.below FROM edge JOIN reached ON edge.above = reached.oid
)
SELECT n.nspname, c.relname FROM reached JOIN pg_class c ON c.oid = reached.oid JOIN pg_namespace n ON n.oid = c.relnamespace
"""
"""Tables, and what views among them and partitions of them are read from: their makers' choice."""


class PostgresWarehouse:
    """One schema of one database. Thread-safe: each call has a connection of its own."""

    dialect = POSTGRES

    def __init__(self, url: str, schema: str = "public") -> None:
        """url: as libpq has it; a password is better kept in a passfile that it names."""
        self._url = url
        self._schema = schema
        self._known: tuple[float, list[Table]] | None = None
        self._reading = threading.Lock()

    def tables(self) -> list[Table]:
        """See Warehouse; also for a role that can do more than read."""
        with self._reading:
            if self._known is not None and time.monotonic() - self._known[0] < FRESH_S:
                return self._known[1]
            with self._connected(TABLES_DEADLINE_S) as connection:
                self._check_role(connection)
            found = with_plain_names(self._read_tables(), self.dialect)
            self._known = time.monotonic(), found
            return found

    def run(self, query: str, tables: Sequence[Table], *, max_rows: int, deadline_s: float) -> Result:
        """See Warehouse."""
        with self._connected(deadline_s) as connection:
            self._check_role(connection)
            self._check_plan(connection, query, tables)
            with connection.cursor() as cursor:
                rows: Any = cursor.stream(_raw(query))  # in the extended protocol, which takes one statement alone
                try:
                    first = next(rows, None)
                    names = [each.name for each in cursor.description or ()]
                    return gathered(names, [] if first is None else _with_first(first, rows), max_rows)
                finally:
                    rows.close()

    def _check_plan(self, connection: "psycopg.Connection[Any]", query: str, tables: Sequence[Table]) -> None:
        """Raises QueryFailed."""
        explained = connection.execute(_raw(f"EXPLAIN (VERBOSE, FORMAT JSON) {query}"), prepare=True).fetchone()
        plan = explained[0] if explained else []
        top = (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]
        if float(top["Total Cost"]) > MAX_COST:
            raise QueryFailed(f"it would cost {float(top['Total Cost']):.0f}, the limit is {MAX_COST:.0f}")
        allowed = {
            (str(schema), str(name))
            for schema, name in connection.execute(_READ_BY, [self._schema, [table.name for table in tables]])
        }
        for node in _plans(top):
            if "Function Name" in node or node["Node Type"] in ("ModifyTable", "Foreign Scan"):
                raise QueryFailed("it must be one SELECT of tables")
            if "Relation Name" in node and (node.get("Schema"), node["Relation Name"]) not in allowed:
                raise QueryFailed(f"there is no table '{node['Relation Name'][:80]}'")

    @staticmethod
    def _check_role(connection: "psycopg.Connection[Any]") -> None:
        """Raises QueryFailed for one that can do more than read."""
        for danger, asked in _DANGERS.items():
            row = connection.execute(asked.encode()).fetchone()
            if row is None or row[0]:
                raise QueryFailed(f"the role of the warehouse {danger}; give it one that can only read")

    @contextmanager
    def _connected(self, deadline_s: float) -> Iterator["psycopg.Connection[Any]"]:
        """Raises QueryFailed, also for what goes wrong within."""
        try:
            with self._connect(deadline_s) as connection:
                yield connection
        except psycopg.errors.QueryCanceled as error:
            raise QueryFailed(f"it took longer than {deadline_s:g} s") from error
        except psycopg.Error as error:
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise QueryFailed(said[:300]) from error

    def _connect(self, deadline_s: float) -> "psycopg.Connection[Any]":
        settings = {
            "default_transaction_read_only": "on",
            "statement_timeout": f"{max(1, int(deadline_s * 1000))}",
            "lock_timeout": "1000",
            "idle_in_transaction_session_timeout": "60000",
            "standard_conforming_strings": "on",
            "search_path": self._schema,
            "jit": "off",
        }
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        return psycopg.connect(
            self._url, autocommit=True, options=options, connect_timeout=5, application_name="ragfleet"
        )

    def _read_tables(self) -> list[Table]:
        engine = create_engine(
            "postgresql+psycopg://", creator=lambda: self._connect(TABLES_DEADLINE_S), poolclass=NullPool
        )
        kinds = {"schema": self._schema, "kind": ObjectKind.ANY}
        try:
            seen = inspect(engine)
            columns, primary = seen.get_multi_columns(**kinds), seen.get_multi_pk_constraint(**kinds)  # type: ignore[arg-type]
            foreign = seen.get_multi_foreign_keys(**kinds)  # type: ignore[arg-type]
        except SQLAlchemyError as error:
            raise QueryFailed(f"the warehouse cannot be read: {str(error).splitlines()[0][:300]}") from error
        made = []
        with self._connected(TABLES_DEADLINE_S) as connection:
            partitions = {
                str(name) for (name,) in connection.execute("SELECT inhrelid::regclass::text FROM pg_inherits")
            }
            for key in sorted(columns, key=str)[:MAX_TABLES]:
                name = key[1]
                if name in partitions or not _is_plain(connection, name):
                    continue
                references = tuple(
                    Reference(each["constrained_columns"][0], each["referred_table"], each["referred_columns"][0])
                    for each in foreign.get(key, ())
                    if len(each["constrained_columns"]) == 1 and each["referred_schema"] in (None, self._schema)
                )
                pk = primary.get(key)
                keys = {each.column for each in references} | set(pk["constrained_columns"] if pk else ())
                own = [
                    column
                    for each in columns[key][:MAX_COLUMNS]
                    if _is_plain(connection, name, each["name"])
                    and (column := _column(connection, name, each["name"], keys)) is not None
                ]
                if own:
                    made.append(Table(name, tuple(own), references))
        return made


def _raw(query: str) -> QueryNoTemplate:
    """As it stands: a percent sign is no placeholder."""
    return query.encode()


def _with_first(first: Any, rows: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rows


def _plans(top: dict[str, Any]) -> Iterator[dict[str, Any]]:
    waiting = [top]
    while waiting:
        each = waiting.pop()
        yield each
        waiting.extend(each.get("Plans", ()))


def _column(connection: "psycopg.Connection[Any]", table: str, name: str, keys: set[str]) -> Column | None:
    """None for what can be neither counted, read nor compared: lists, JSON, bytes."""
    row = connection.execute(
        "SELECT format_type(a.atttypid, NULL), t.typtype FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
        " WHERE a.attrelid = to_regclass(%s) AND a.attname = %s",
        [table, name],
    ).fetchone()
    declared, kind = row or ("", "")
    key = name in keys
    if declared in _NUMBERS:
        return Column(name, ColumnType.NUMBER, key=key)
    if declared in _DATES:
        return Column(name, ColumnType.DATE, key=key)
    if kind != "e" and declared not in _TEXTS:
        return None
    try:
        found = connection.execute(_raw(distinct_values(table, name, "text"))).fetchall()
    except psycopg.Error:  # a view, perhaps, that fails on its rows: its values are not told, and the others' are
        found = []
    return Column(name, ColumnType.TEXT, few_values([value for (value,) in found]), key=key)


def _is_plain(connection: "psycopg.Connection[Any]", table: str, column: str = "") -> bool:
    """Whether SQL understands a name without quotes, and the role may read it."""
    name = column or table
    if not NAME.fullmatch(name) or name != name.lower() or name.startswith("pg_"):
        return False
    try:
        connection.execute(_raw(f"SELECT {f'{table}.{column}' if column else '1'} FROM {table} LIMIT 0"))
    except psycopg.Error:
        return False
    return True
