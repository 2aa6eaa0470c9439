"""What has been ingested: one row for each file of each store, in SQLite (`RAGFLEET_HOME/knowledge.db`).

A row says that all chunks of the file, made from that content by that recipe, are in the index. It is removed before the index
is touched and written after, so that whatever is interrupted is done again.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    store TEXT NOT NULL,
    file_id TEXT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    chunks INTEGER NOT NULL,
    PRIMARY KEY (store, file_id)
) STRICT, WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that is in the index whole. `digest` covers its content and the recipe its chunks were made by."""

    file_id: str
    name: str
    digest: str
    chunks: int


class Manifest:
    """The table of ingested files. Each call is one transaction; several processes may have it open."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with self._connection() as connection:
            connection.execute(_SCHEMA)

    def entries(self, store: str) -> dict[str, Entry]:
        """The files of a store by their ids."""
        with self._connection() as connection:
            rows = connection.execute("SELECT file_id, name, digest, chunks FROM files WHERE store = ?", (store,))
            return {row[0]: Entry(*row) for row in rows}

    def put(self, store: str, entry: Entry) -> None:
        """Add a file, or replace what was known of it."""
        with self._connection() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO files (store, file_id, name, digest, chunks) VALUES (?, ?, ?, ?, ?)",
                (store, entry.file_id, entry.name, entry.digest, entry.chunks),
            )

    def remove(self, store: str, file_id: str) -> None:
        """Forget a file; nothing happens when it is not known."""
        with self._connection() as connection:
            connection.execute("DELETE FROM files WHERE store = ? AND file_id = ?", (store, file_id))

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=10)) as connection, connection:
            yield connection
