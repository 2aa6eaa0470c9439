"""The example's warehouse in the three kinds of databases, the same rows in each."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from assistants.sql.example import make_example
from tests.support.postgres import emptied

READER = "reader"
"""The role of PostgreSQL that can only read."""


def _dumped(folder: Path) -> tuple[list[str], dict[str, list[Sequence[Any]]]]:
    """How each table is made, and its rows, in an order in which they refer to what is there."""
    path = make_example(folder / "example.db")
    with closing(sqlite3.connect(path)) as connection:
        made = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table' ORDER BY rowid").fetchall()
        rows = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name, _ in made}
    return [sql.replace("REAL", "DOUBLE PRECISION") for _, sql in made], rows


def sqlite_example(folder: Path) -> str:
    """Its path."""
    return str(make_example(folder / "example.db"))


def duckdb_example(folder: Path) -> str:
    """Its URL."""
    import duckdb

    path = folder / "example.duckdb"
    tables, rows = _dumped(folder)
    with duckdb.connect(str(path)) as connection:
        for sql in tables:
            connection.execute(sql)
        for name, values in rows.items():
            told = ", ".join(str(row).replace("None", "NULL") for row in values)
            connection.execute(f"INSERT INTO {name} VALUES {told}")
    return f"duckdb:///{path}"


@contextmanager
def postgres_example(server: str, folder: Path) -> Iterator[str]:
    """Its URL, for the role that can only read."""
    tables, rows = _dumped(folder)
    with psycopg.connect(emptied(server), autocommit=True) as connection:
        connection.execute(f"DROP ROLE IF EXISTS {READER}".encode())
        for sql in tables:
            connection.execute(sql.encode())
        with connection.cursor() as cursor:
            for name, values in rows.items():
                with cursor.copy(f"COPY {name} FROM STDIN".encode()) as copy:
                    for row in values:
                        copy.write_row(row)
        connection.execute(f"CREATE ROLE {READER} LOGIN".encode())
        connection.execute(f"GRANT USAGE ON SCHEMA public TO {READER}".encode())
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {READER}".encode())
        connection.execute("ANALYZE")
    yield server.replace("test@", f"{READER}@", 1)
