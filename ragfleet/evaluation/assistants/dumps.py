"""Databases for the data assistant out of dumps of PostgreSQL (`CREATE TABLE`, `INSERT`), each with a profile that asks it.

A dump is read by sqlglot and loaded into DuckDB, whose types and functions are near PostgreSQL's; a SQLite file is copied from
there. What cannot be loaded is told of, with its reason, and the rest is kept.
"""

import ast
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlglot
import yaml
from sqlglot import exp
from sqlglot.errors import SqlglotError

from assistants.sql.dialect import DUCKDB, SQLITE

if TYPE_CHECKING:
    import duckdb

SUFFIXES = {SQLITE.name: ".db", DUCKDB.name: ".duckdb"}
HINTS = "supplementary.py"
"""Beside the dumps' folders: how tables belong together that no foreign key joins (`columns_join`). It is read, never run."""
_SERIAL = {"SERIAL": "INT", "BIGSERIAL": "BIGINT", "SMALLSERIAL": "SMALLINT"}


class DumpError(Exception):
    """No database can be made; the message says why."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """One database. skipped: a line for each statement that was not loaded."""

    name: str
    path: Path
    tables: int
    rows: int
    skipped: Sequence[str] = ()


def dumps_in(folder: Path) -> dict[str, Path]:
    """By database: `NAME.sql`, or `NAME/NAME.sql`, in the folder or one below it."""
    found = [*folder.glob("*.sql"), *folder.glob("*/*.sql"), *folder.glob("*/*/*.sql")]
    return {path.stem: path for path in sorted(found) if path.parent in (folder,) or path.parent.name == path.stem}


def load_dump(dump: Path, folder: Path, dialect: str, joins: Sequence[str] = ()) -> Loaded:
    """Write the database and its profile into the folder, in the place of what was there. Raises DumpError."""
    try:
        import duckdb
    except ImportError as error:
        raise DumpError("dumps are loaded by DuckDB: pip install 'ragfleet[duckdb]'") from error
    try:
        statements = sqlglot.parse(dump.read_text("utf-8"), read="postgres")
    except (SqlglotError, OSError, UnicodeDecodeError) as error:
        raise DumpError(f"{dump.name}: it cannot be read: {str(error).splitlines()[0][:200]}") from error
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{dump.stem}{SUFFIXES[dialect]}"
    path.unlink(missing_ok=True)
    skipped: list[str] = []
    held = list(joins)
    with duckdb.connect(str(path) if dialect == DUCKDB.name else ":memory:") as connection:
        for statement in statements:
            if statement is None or isinstance(statement, exp.Semicolon) or _makes_schema(statement):
                continue
            held += _foreign_keys(statement)
            if why := _loaded(connection, statement):
                skipped.append(f"{dump.stem}: {' '.join(statement.sql()[:60].split())}…: {why}")
        names = [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        rows = sum(connection.execute(f'SELECT COUNT(*) FROM "{name}"').fetchall()[0][0] for name in names)
        if dialect == SQLITE.name:
            _copy(connection, names, path)
    _write_profile(folder, dump.stem, path, list(dict.fromkeys(held)))
    return Loaded(dump.stem, path, len(names), rows, tuple(skipped))


def join_hints(folder: Path) -> Mapping[str, Sequence[str]]:
    """By database: `a.b = c.d`. None where the folder has no file of them. Raises DumpError."""
    path = next(iter([*folder.glob(HINTS), *folder.glob(f"*/{HINTS}")]), None)
    if path is None:
        return {}
    try:
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.Assign) and [getattr(each, "id", "") for each in node.targets] == ["columns_join"]:
                return {
                    database: [
                        f"{_in_schema(left)} = {_in_schema(right)}" for pairs in found.values() for left, right in pairs
                    ]
                    for database, found in ast.literal_eval(node.value).items()
                }
    except (SyntaxError, ValueError, AttributeError, OSError) as error:
        raise DumpError(f"{path.name}: it cannot be read: {error}") from error
    return {}


def _in_schema(column: str) -> str:
    """`table.column`, without the schema before it."""
    return ".".join(column.split(".")[-2:])


def assistant_name(database: str) -> str:
    """Of the profile that asks a database of dumps."""
    return f"public-{database.replace('_', '-').lower()}"


def _makes_schema(statement: exp.Expr) -> bool:
    return isinstance(statement, exp.Create) and statement.kind == "SCHEMA"


def _loaded(connection: "duckdb.DuckDBPyConnection", statement: exp.Expr) -> str:
    """ "", or why not."""
    import duckdb

    if not isinstance(statement, exp.Create | exp.Insert):
        return f"{statement.key.upper()} is not loaded"
    for table in statement.find_all(exp.Table):
        table.set("db", None)
    read, why = statement.transform(_as_duckdb) or statement, ""
    for tried in (read, read.transform(_unformatted)):
        try:
            connection.execute(tried.sql(dialect=DUCKDB.name))
        except (SqlglotError, duckdb.Error) as error:
            why = why or str(error).splitlines()[0][:160]
        else:
            return ""
    return why


def _as_duckdb(node: exp.Expr) -> exp.Expr | None:
    """Numbers that PostgreSQL counts by itself are numbers; foreign keys are joins alone: DuckDB would hold rows to them."""
    if isinstance(node, exp.DataType) and node.this.name in _SERIAL:
        return exp.DataType.build(_SERIAL[node.this.name])
    if isinstance(node, exp.ForeignKey):
        return None
    if isinstance(node, exp.ColumnConstraint) and isinstance(node.kind, exp.Reference):
        return None
    if isinstance(node, exp.Interval) and isinstance(node.unit, exp.Var) and node.unit.name.upper() == "MIN":
        node.set("unit", exp.var("MINUTE"))
    return node


def _unformatted(node: exp.Expr) -> exp.Expr:
    """A time in a form that DuckDB does not know becomes the time as text."""
    return exp.cast(node.this, "text") if isinstance(node, exp.TimeToStr) else node


def _foreign_keys(statement: exp.Expr) -> Iterator[str]:
    """As joins."""
    owner = next((each.name for each in statement.find_all(exp.Table)), "")
    for reference in statement.find_all(exp.Reference):
        held = reference.find_ancestor(exp.ForeignKey, exp.ColumnDef)
        other = reference.find(exp.Table)
        named = [each.name for each in reference.this.expressions] if isinstance(reference.this, exp.Schema) else []
        own = (
            [held.name] if isinstance(held, exp.ColumnDef) else [each.name for each in held.expressions] if held else []
        )
        if other is not None and len(own) == len(named) == 1:
            yield f"{owner}.{own[0]} = {other.name}.{named[0]}"


def _copy(connection: "duckdb.DuckDBPyConnection", names: Sequence[str], path: Path) -> None:
    with closing(sqlite3.connect(path)) as made, made:
        for name in names:
            described = connection.execute(
                "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index", [name]
            ).fetchall()
            columns = ", ".join(f'"{column}" {_sqlite_type(declared)}' for column, declared in described)
            made.execute(f'CREATE TABLE "{name}" ({columns})')
            rows = connection.execute(f'SELECT * FROM "{name}"').fetchall()
            made.executemany(
                f'INSERT INTO "{name}" VALUES ({", ".join("?" * len(described))})',
                [[_sqlite_value(each) for each in row] for row in rows],
            )


def _sqlite_type(declared: str) -> str:
    if declared.startswith(("DATE", "TIMESTAMP")):
        return "DATE" if declared == "DATE" else "TIMESTAMP"
    if any(word in declared for word in ("INT", "BOOL")):
        return "INTEGER"
    return "REAL" if any(word in declared for word in ("DOUBLE", "FLOAT", "DECIMAL")) else "TEXT"


def _sqlite_value(value: Any) -> Any:
    if value is None or isinstance(value, int | float | str):
        return value
    try:
        return float(value) if type(value).__name__ == "Decimal" else str(value)
    except ValueError:
        return str(value)


def _write_profile(folder: Path, database: str, path: Path, joins: Sequence[str]) -> None:
    where = f"duckdb:///{path.resolve()}" if path.suffix == SUFFIXES[DUCKDB.name] else str(path.resolve())
    profile = {
        "description": f"Data. The public questions about '{database}'.",
        "kind": "data",
        "max_tokens": 256,
        "system": "You translate questions into one SQL query.",
        "warehouse": {"database": where, "joins": list(joins)},
    }
    name = assistant_name(database)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({"name": name, **profile}, sort_keys=False), "utf-8")


def databases_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """By name, those that were made there."""
    for suffix in SUFFIXES.values():
        for path in sorted(folder.glob(f"*{suffix}")):
            yield path.stem, path
