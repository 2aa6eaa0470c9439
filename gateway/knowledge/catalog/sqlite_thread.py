"""Prepared statements to SQLite in a thread of their own: a transaction costs the event loop one hop, an async engine's six."""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
Values = Mapping[str, Any]
Rows = Sequence[Values]


class SqliteThread:
    """One connection, opened with the first statement; the file and its tables are there already."""

    def __init__(self, path: str, timeout_s: float) -> None:
        """timeout_s: for which a transaction waits for another writer."""
        self._path = path
        self._timeout_s = timeout_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    async def write(self, batch: Sequence[tuple[str, Rows]], first: tuple[str, Values] | None = None) -> list[Any]:
        """Each statement with its rows, all in one transaction; the values of one column that `first`, a SELECT, finds before
        them. Raises sqlite3.Error."""

        def write(connection: sqlite3.Connection) -> list[Any]:
            connection.execute("BEGIN IMMEDIATE")
            found = [] if first is None else [row[0] for row in connection.execute(*first).fetchall()]
            for statement, rows in batch:
                connection.executemany(statement, rows)
            connection.execute("COMMIT")
            return found

        return await self._run(write)

    async def scalar(self, statement: str, values: Values) -> Any:
        """The first value that a SELECT finds, or None. Raises sqlite3.Error."""

        def first(connection: sqlite3.Connection) -> Any:
            rows = connection.execute(statement, values).fetchall()  # to its end, for until then it holds a snapshot
            return rows[0][0] if rows else None

        return await self._run(first)

    async def close(self) -> None:
        """Close the connection, after what is being done. Idempotent."""
        if self._closed:
            return
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._connected, work)

    def _connected(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(self._path, timeout=self._timeout_s, isolation_level=None)
                # What is committed outlives this process, not a machine that loses its power: an fsync with every request
                # costs more than the rest of the transaction. The file stays whole in any case (WAL).
                self._connection.execute("PRAGMA synchronous = NORMAL")
            return work(self._connection)
        except BaseException:
            self._disconnect()  # undoes what was begun; the file may be another one now
            raise

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
