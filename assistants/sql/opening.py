"""Which warehouse a profile's words mean."""

from pathlib import Path

from assistants.sql.results import Warehouse
from assistants.sql.sqlite_warehouse import SqliteWarehouse


def open_warehouse(database: str, schema: str = "public") -> Warehouse:
    """database: the URL of a PostgreSQL, `duckdb:///PATH`, or a SQLite file. Nothing is asked yet. Raises QueryFailed."""
    kind, _, rest = database.partition("://")
    if kind in ("postgresql", "postgres") and rest:
        from assistants.sql.postgres_warehouse import PostgresWarehouse  # each brings its library with it

        return PostgresWarehouse(database, schema)
    if kind == "duckdb" and rest.startswith("/"):
        from assistants.sql.duckdb_warehouse import DuckDBWarehouse

        return DuckDBWarehouse(Path(rest[1:]))
    if kind == "sqlite" and rest.startswith("/"):
        return SqliteWarehouse(Path(rest[1:]))
    return SqliteWarehouse(Path(database))
