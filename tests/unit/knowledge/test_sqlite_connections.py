"""SQLite's lock for writers: who waits for it gets it, and whose work broke off holds it no longer."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select

from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.database import Database
from gateway.knowledge.catalog.sqlite_thread import SqliteConnection, SqliteThread


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """It waits for another writer, but not for ever."""
    made = Database(f"sqlite:///{tmp_path / 'catalog.db'}", timeout_s=20)
    await made.prepare()
    yield made
    await made.close()


def row(name: str) -> dict[str, object]:
    return {"id": name, "seen_at": 1.0}


async def test_a_cursor_in_the_middle_of_its_rows_does_not_outlive_the_connection(database: Database) -> None:
    """So it is where a request is cancelled between a query and its rows: the exception's traceback holds the cursor."""
    async with database.write() as connection:
        await connection.execute(database.insert(schema.gateways), [row("a"), row("b")])
    async with database._writing.connect() as connection:
        await connection.execute(database.insert(schema.gateways), row("c"))
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        cursor = await driver.execute("SELECT id FROM gateways")
        assert await cursor.fetchone()
        await connection.invalidate()
        await database.write_prepared([(database.prepared(database.insert(schema.gateways)), [row("d")])])
        assert cursor is not None
    async with database.read() as connection:
        found = await connection.scalars(select(schema.gateways.c.id).order_by(schema.gateways.c.id))
        assert list(found) == ["a", "b", "d"]


async def test_a_thread_whose_statement_failed_in_the_middle_lets_go(database: Database, tmp_path: Path) -> None:
    insert = database.prepared(database.insert(schema.gateways))
    thread = SqliteThread(str(tmp_path / "catalog.db"), 20)
    with pytest.raises(Exception, match="no such table"):
        await thread.write([(insert, [row("a")]), ("INSERT INTO nowhere VALUES (:id, :seen_at)", [row("a")])])
    await database.write_prepared([(insert, [row("b")])])
    await thread.close()


async def test_requests_that_are_cancelled_anywhere_hold_up_no_writer(database: Database) -> None:
    insert = database.prepared(database.insert(schema.gateways))
    begun = asyncio.Event()

    async def work(name: str) -> None:
        async with database.write() as connection:
            begun.set()
            await connection.execute(database.insert(schema.gateways), row(name))
            await connection.execute(select(schema.gateways))
            await connection.execute(database.insert(schema.gateways), row(f"{name} again"))

    left = []  # with the exceptions, and what their tracebacks hold
    for turns in range(40):
        begun.clear()
        task = asyncio.create_task(work(f"cancelled {turns}"))
        await begun.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
        left.append(task)
        await database.write_prepared([(insert, [row(f"after {turns}")])])
    async with database.read() as connection:
        found = set(await connection.scalars(select(schema.gateways.c.id)))
    assert {f"after {turns}" for turns in range(40)} <= found
    for turns, task in enumerate(left):
        assert (f"cancelled {turns}" in found) == (f"cancelled {turns} again" in found)
        assert task.cancelled() or f"cancelled {turns}" in found


async def test_a_writer_waits_for_another_and_not_longer_than_it_may(database: Database, tmp_path: Path) -> None:
    def connect() -> SqliteConnection:
        return sqlite3.connect(
            tmp_path / "catalog.db", isolation_level=None, check_same_thread=False, factory=SqliteConnection
        )

    holder, waiter = connect(), connect()
    holder.begin_write(20)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        waiter.begin_write(0.01)
    thread = threading.Thread(target=waiter.begin_write, args=(60,))
    thread.start()
    holder.execute("INSERT INTO gateways (id, seen_at) VALUES ('first', 1)")
    holder.execute("COMMIT")
    thread.join(60)
    assert waiter.in_transaction
    assert waiter.execute("SELECT id FROM gateways").fetchall() == [("first",)]
    waiter.close()
    # All else goes on to wait by SQLite's own means.
    holder.begin_write(7)
    assert holder.execute("PRAGMA busy_timeout").fetchone() == (7000,)
    holder.close()
