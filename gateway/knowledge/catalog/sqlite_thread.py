"""Prepared statements to SQLite in a thread of their own: a transaction costs the event loop one hop, an async engine's six."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
Values = Mapping[str, Any]
Rows = Sequence[Values]
_Job = tuple[Callable[[], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]


class SqliteConnection(sqlite3.Connection):
    """Undoes what was begun before it closes: SQLite lets go of no lock while a cursor in the middle of its rows is there, and
    whoever was cancelled leaves one."""

    def close(self) -> None:
        """Raises sqlite3.Error."""
        if self.in_transaction:
            self.rollback()
        super().close()


class SqliteThread:
    """One connection, opened with the first statement; the file and its tables are there already.

    Not an executor: its future, a second one for the loop and the bridge between them cost more than a short transaction does.
    """

    def __init__(self, path: str, timeout_s: float) -> None:
        """timeout_s: for which a transaction waits for another writer."""
        self._path = path
        self._timeout_s = timeout_s
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
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

        return await self._submit(partial(self._connected, write))

    async def scalar(self, statement: str, values: Values) -> Any:
        """The first value that a SELECT finds, or None. Raises sqlite3.Error."""

        def first(connection: sqlite3.Connection) -> Any:
            rows = connection.execute(statement, values).fetchall()  # to its end, for until then it holds a snapshot
            return rows[0][0] if rows else None

        return await self._submit(partial(self._connected, first))

    async def close(self) -> None:
        """Close the connection, after what is being done. Idempotent."""
        if self._closed:
            return
        disconnected = None if self._thread is None else self._submit(self._disconnect)
        self._closed = True
        if disconnected is not None:
            self._jobs.put(None)
            await disconnected

    def _submit(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        if self._closed:
            raise RuntimeError("the connection is closed")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="sqlite", daemon=True)
            self._thread.start()
        self._jobs.put((work, loop, done))
        return done

    def _serve(self) -> None:
        """The thread: one job after the other, but those that nobody waits for any more."""
        while (job := self._jobs.get()) is not None:
            work, loop, done = job
            if done.cancelled():
                continue
            found, error = None, None
            try:
                found = work()
            except BaseException as raised:  # noqa: BLE001 - whoever waits gets it
                error = raised
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(_tell, done, found, error)
        self._disconnect()

    def _connected(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(
                    self._path, timeout=self._timeout_s, isolation_level=None, factory=SqliteConnection
                )
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


def _tell(done: "asyncio.Future[Any]", found: Any, error: BaseException | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(found)
    else:
        done.set_exception(error)
