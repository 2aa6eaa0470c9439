"""The catalog's database: SQLite or PostgreSQL, one transaction at a time for each caller, its errors translated."""

import asyncio
import json
import logging
import re
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from copy import copy
from pathlib import Path
from threading import Thread
from typing import Any, Self, cast
from weakref import WeakSet

import aiosqlite
from sqlalchemy import Table, event, exc, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gateway.errors import BadRequest, CatalogUnusable
from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.database_errors import UNSTORABLE, is_undone, translated, without_detail
from gateway.knowledge.catalog.sqlite_thread import Rows, SqliteConnection, SqliteThread, Values

log = logging.getLogger("ragfleet.catalog")

_LOCK = 0x7261_6766
"""PostgreSQL's advisory lock for what must happen once: tables, and which collection is the active one."""

KEEPALIVE_S, KEEPALIVES = 1, 3
"""A connection over TCP that nothing came over for a second is asked each second whether it is still there, three times."""

ATTEMPTS = 3

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
}
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class Database:
    """Connections to one database; nothing is opened until the first transaction, which also makes the tables.

    SQLite: WAL, so that readers never wait; writers take their turns (BEGIN IMMEDIATE), in this process by a lock.
    PostgreSQL: reads see one snapshot (REPEATABLE READ), writes lock the rows that they decide on. All lock in one order, so that
    nobody waits in a circle: an idempotency key, a collection, a store, files, members, what hangs on these; answers in the
    making, responses, their conversation; of each table by the keys; a tenant's advisory lock last. Who deletes what is old, or
    takes what is free, passes over what others hold (SKIP LOCKED).
    clock: Unix seconds; the ingestion's leases are counted on it.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time, timeout_s: float = 5.0) -> None:
        """Raises CatalogUnusable where the address is none."""
        self.clock = clock
        try:
            parsed = make_url(url)
        except (exc.ArgumentError, ValueError):  # not told: a password may be in it
            raise CatalogUnusable(
                "RAGFLEET_CATALOG_URL is no address of a database: write postgresql://user:password@host/name."
            ) from None
        parsed = parsed.set(drivername=_DRIVERS.get(parsed.drivername, parsed.drivername))
        self._lite = parsed.get_backend_name() == "sqlite"
        # Values are the tenants': no error may carry them into a log.
        options: dict[str, Any] = {"json_serializer": _json, "hide_parameters": True}
        self._threads = WeakSet[Thread]()
        """Each of SQLite's connections works in one."""
        if self._lite:
            options["connect_args"] = {"async_creator_fn": self._connect_sqlite}
        else:
            millis = round(timeout_s * 1000)
            limits = {
                "statement_timeout": millis,
                "lock_timeout": millis,
                # A gateway that is cut off in the middle of a transaction, or stopped, would keep its rows locked for hours: the
                # first is noticed by the kernels, the second by the server.
                "tcp_keepalives_idle": KEEPALIVE_S,
                "tcp_keepalives_interval": KEEPALIVE_S,
                "tcp_keepalives_count": KEEPALIVES,
                "idle_in_transaction_session_timeout": 3 * millis,
            }
            options |= {
                "pool_size": 10,
                "pool_timeout": timeout_s,
                "pool_pre_ping": True,
                "connect_args": {
                    "connect_timeout": max(2, round(timeout_s)),  # libpq's least
                    "options": " ".join(f"-c {name}={value}" for name, value in limits.items()),
                    # The same from this side, where a server's host is cut off: no time of the server's counts then.
                    "keepalives_idle": KEEPALIVE_S,
                    "keepalives_interval": KEEPALIVE_S,
                    "keepalives_count": KEEPALIVES,
                    "tcp_user_timeout": 2 * millis,
                    "client_encoding": "utf8",  # else psycopg gives bytes where the database has no encoding
                    "prepare_threshold": None,  # PgBouncer hands each transaction another connection
                },
            }
        self._engine = create_async_engine(parsed, **options)
        event.listen(self._engine.sync_engine, "handle_error", without_detail)
        self._reader: SqliteThread | None = None
        self._writer: SqliteThread | None = None
        if self._lite:
            _tune_sqlite(self._engine, timeout_s)
            # Two, so that who reads does not wait for who writes.
            self._reader = SqliteThread(parsed.database or "", timeout_s)
            self._writer = SqliteThread(parsed.database or "", timeout_s)
            self._reading = self._engine
            self._writing = self._engine.execution_options(ragfleet_writes=True)
        else:
            self._reading = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            self._writing = self._engine.execution_options(isolation_level="READ COMMITTED")
        self.on_commit: Callable[[], None] = lambda: None
        """Called after each transaction that may have changed something."""
        self._timeout_s = timeout_s
        self._joined: AsyncConnection | None = None
        self._turn = asyncio.Lock()
        self._preparing = asyncio.Lock()
        self._prepared = False

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """One transaction that changes nothing. Raises CatalogUnavailable."""
        with translated():
            if self._joined is not None:
                yield self._joined
                return
            await self._prepare()
            async with self._reading.begin() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction; it is undone where the block raises. Raises CatalogUnavailable."""
        with translated():
            if self._joined is not None:
                yield self._joined
                return
            await self._prepare()
            async with self._turn if self._lite else nullcontext(), self._writing.begin() as connection:
                yield connection
            self.on_commit()

    def prepared(self, statement: Any) -> str:
        """The text of a statement for `scalar_prepared` or `write_prepared`; each of its parameters is named, and
        has a value in every row."""
        style: dict[str, Any] = {"paramstyle": "named"} if self._lite else {"paramstyle": "pyformat"}
        dialect = (sqlite if self._lite else postgresql).dialect(**style)
        return str(statement.compile(dialect=dialect))

    async def scalar_prepared(self, statement: str, **values: Any) -> Any:
        """The first value that a SELECT of `prepared` finds, or None: for what is asked every second.

        Raises CatalogUnavailable.
        """
        with translated():
            await self._prepare()
            if self._reader is not None:
                return await self._reader.scalar(statement, values)
            async with self._reading.begin() as connection:
                return (await connection.exec_driver_sql(statement, values)).scalar()

    async def write_prepared(
        self, batch: Sequence[tuple[str, Rows]], first: tuple[str, Values] | None = None
    ) -> list[Any]:
        """Texts of `prepared` with their rows, in one transaction: for what is written with every request.

        first: a SELECT, whose first column comes back as it is before the rest. Unlike `write` it wakes nobody (`on_commit`), and
        what PostgreSQL undid in favour of another transaction is done again: there is nothing around it that would have to be.
        Raises CatalogUnavailable.
        """
        with translated():
            await self._prepare()
            if self._writer is not None:
                async with self._turn:
                    return await self._writer.write(batch, first)
            attempt = 1
            while True:
                try:
                    return await self._write_batch(batch, first)
                except exc.OperationalError as error:
                    if attempt == ATTEMPTS or not is_undone(error):
                        raise
                    log.warning("the catalog's database, once more: %s", error)
                attempt += 1

    async def _write_batch(self, batch: Sequence[tuple[str, Rows]], first: tuple[str, Values] | None) -> list[Any]:
        async with self._writing.begin() as connection:
            found: list[Any] = []
            if first is not None:
                found = list((await connection.exec_driver_sql(*first)).scalars())
            for statement, rows in batch:
                await connection.exec_driver_sql(statement, list(rows))
            return found

    def within(self, connection: AsyncConnection) -> Self:
        """The same database, whose reads and writes are all part of the transaction that this connection is in."""
        joined = copy(self)
        joined._joined = connection
        return joined

    async def patience(self, connection: AsyncConnection, seconds: float | None) -> None:
        """How long this transaction waits for each lock from now on; None: as long as usual. Without effect on SQLite."""
        if not self._lite:
            millis = round((self._timeout_s if seconds is None else seconds) * 1000)
            await connection.execute(text("SELECT set_config('lock_timeout', :millis, true)"), {"millis": str(millis)})

    @property
    def is_sqlite(self) -> bool:
        """SQLite, or else PostgreSQL."""
        return self._lite

    async def alone(self, connection: AsyncConnection, lock: int = _LOCK) -> None:
        """Until the end of this transaction no other is past the same call."""
        if not self._lite:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": lock})

    def insert(self, table: Table) -> Any:
        """An INSERT that knows ON CONFLICT."""
        return sqlite.insert(table) if self._lite else postgresql.insert(table)

    def now(self) -> int:
        """Whole Unix seconds, as the API gives times."""
        return int(self.clock())

    async def prepare(self) -> None:
        """Make the tables where there are none; `read` and `write` do so, too. Raises CatalogUnavailable, CatalogUnusable."""
        async with self.read():
            pass

    async def close(self) -> None:
        """Close the connections."""
        for thread in (self._reader, self._writer):
            if thread is not None:
                await thread.close()
        await self._engine.dispose()
        # A connection whose task was cancelled is left to its thread, which would answer to a loop that is closed by then.
        ends = time.monotonic() + self._timeout_s
        for left in [each for each in self._threads if each.is_alive()]:
            await asyncio.to_thread(left.join, max(0.0, ends - time.monotonic()))

    def _connect_sqlite(self, *where: Any, **how: Any) -> aiosqlite.Connection:
        connection = aiosqlite.connect(*where, **how, factory=SqliteConnection)
        connection._thread.daemon = True  # as SQLAlchemy has it
        self._threads.add(connection._thread)
        return connection

    async def _prepare(self) -> None:
        if self._prepared:
            return
        async with self._preparing:
            if not self._prepared:
                if self._lite:
                    await self._prepare_file()
                async with self._writing.begin() as connection:
                    if not self._lite:
                        await _check_encoding(connection)
                    await self.alone(connection)
                    await connection.run_sync(schema.prepare)
                self._prepared = True

    async def _prepare_file(self) -> None:
        """SQLite's file, readable by its owner alone, as the WAL beside it will be; and the journal mode, which is the file's."""
        path = self._engine.url.database
        if path and path != ":memory:":
            # One that is there is not opened: closing it would end this process's locks on it, those of SQLite's connections too,
            # and whoever leaves last then takes the WAL away under all others.
            with suppress(FileExistsError):
                Path(path).touch(0o600, exist_ok=False)
        async with self._engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            until = time.monotonic() + self._timeout_s
            while True:
                try:
                    await driver.execute("PRAGMA journal_mode = WAL")
                except sqlite3.OperationalError:  # SQLite does not wait for who sets it at the same time
                    if time.monotonic() > until:
                        raise
                    await asyncio.sleep(0.05)
                else:
                    return


def _tune_sqlite(engine: AsyncEngine, timeout_s: float) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # Python's sqlite3 shall begin nothing by itself
        cursor = connection.cursor()
        for pragma in (f"busy_timeout = {round(timeout_s * 1000)}", "foreign_keys = ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begin_write(driver: aiosqlite.Connection) -> Awaitable[None]:
        in_its_thread = cast("Callable[..., Awaitable[None]]", driver._execute)
        return in_its_thread(cast("SqliteConnection", driver._conn).begin_write, timeout_s)

    @event.listens_for(engine.sync_engine, "begin")
    def begun(connection: Any) -> None:
        if connection.get_execution_options().get("ragfleet_writes", False):
            connection.connection.dbapi_connection.run_async(begin_write)
        else:
            connection.exec_driver_sql("BEGIN")


async def _check_encoding(connection: AsyncConnection) -> None:
    encoding = await connection.scalar(text("SHOW server_encoding"))
    if encoding != "UTF8":
        raise CatalogUnusable(
            f"The catalog's database has the encoding {encoding}, which cannot hold every text. Make one with "
            "CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0, and set RAGFLEET_CATALOG_URL to it."
        )


def new_id(prefix: str) -> str:
    """The prefix and 24 hexadecimal digits that nobody can guess."""
    return prefix + secrets.token_hex(12)


def check_storable(*values: str | None) -> None:
    """Raises BadRequest for characters that PostgreSQL cannot hold: NUL, and halves of surrogate pairs."""
    if any(value is not None and _UNSTORABLE.search(value) for value in values):
        raise BadRequest(UNSTORABLE)


def storable(value: str) -> str:
    """The same text, as long, with U+FFFD in place of what cannot be stored."""
    return _UNSTORABLE.sub("\ufffd", value)


def _json(value: object) -> str:
    try:
        written = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise BadRequest("A number of the request is not finite.") from error
    check_storable(written)
    if "\\u0000" in written:
        raise BadRequest("The request holds a NUL character, which cannot be stored.")
    return written
