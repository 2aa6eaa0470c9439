"""Prepared statements to SQLite in a thread of their own: a transaction costs the event loop one hop, an async engine's six."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
Values = Mapping[str, Any]
Rows = Sequence[Values]
_Job = tuple[Callable[[], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]


LOOK_S = 0.001
"""Between two looks for another writer's end. SQLite's own waiting sleeps for up to 0.1 s between two: beside a process that
writes all the time, one that writes now and then found the lock taken for a second and more."""


class SqliteConnection(sqlite3.Connection):
    """One that gets its turn beside other processes, and lets go of it whatever happens."""

    def begin_write(self, timeout_s: float) -> None:
        """Begin a transaction that writes. Raises sqlite3.OperationalError if others write for so long."""
        until = time.monotonic() + timeout_s
        self.execute("PRAGMA busy_timeout = 0")
        try:
            while True:
                try:
                    self.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                        raise
                else:
                    return
                time.sleep(LOOK_S)
        finally:
            self.execute(f"PRAGMA busy_timeout = {round(timeout_s * 1000)}")

    def close(self) -> None:
        """Undoes what was begun: SQLite lets go of no lock while a cursor in the middle of its rows is there, and whoever was
        cancelled leaves one. Raises sqlite3.Error."""
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
        self._connection: SqliteConnection | None = None
        self._closed = False

    async def write(self, batch: Sequence[tuple[str, Rows]], first: tuple[str, Values] | None = None) -> list[Any]:
        """Each statement with its rows, all in one transaction; the values of one column that `first`, a SELECT, finds before
        them. Raises sqlite3.Error."""

        def write(connection: SqliteConnection) -> list[Any]:
            connection.begin_write(self._timeout_s)
            found = [] if first is None else [row[0] for row in connection.execute(*first).fetchall()]
            for statement, rows in batch:
                connection.executemany(statement, rows)
            connection.execute("COMMIT")
            return found

        return await self._submit(partial(self._connected, write))

    async def scalar(self, statement: str, values: Values) -> Any:
        """The first value that a SELECT finds, or None. Raises sqlite3.Error."""

        def first(connection: SqliteConnection) -> Any:
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

    def _connected(self, work: Callable[[SqliteConnection], T]) -> T:
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
