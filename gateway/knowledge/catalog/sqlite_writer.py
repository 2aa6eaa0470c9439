"""Prepared statements to SQLite in a thread of their own: a transaction costs the event loop one hop, an async engine's six."""

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Rows = Sequence[Mapping[str, Any]]


class SqliteWriter:
    """One connection, opened with the first transaction; the file and its tables are there already."""

    def __init__(self, path: str, timeout_s: float) -> None:
        """timeout_s: for which a transaction waits for another writer."""
        self._path = path
        self._timeout_s = timeout_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writer")
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    async def write(self, batch: Sequence[tuple[str, Rows]]) -> None:
        """Each statement with its rows, all in one transaction. Raises sqlite3.Error."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._write, batch)

    async def close(self) -> None:
        """Close the connection, after what is being written. Idempotent."""
        if self._closed:
            return
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown(wait=False)

    def _write(self, batch: Sequence[tuple[str, Rows]]) -> None:
        if self._connection is None:
            self._connection = sqlite3.connect(self._path, timeout=self._timeout_s, isolation_level=None)
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for statement, rows in batch:
                connection.executemany(statement, rows)
            connection.execute("COMMIT")
        except BaseException:
            self._disconnect()  # undoes what was begun; the file may be another one now
            raise

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
