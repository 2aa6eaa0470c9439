"""The catalog when processes are killed, race, and when its database is away."""

import asyncio
import os
import sqlite3
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from gateway.errors import CatalogUnavailable, CatalogUnusable, NotFound, face
from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.database import Database
from gateway.knowledge.catalog.ingestion_types import Job
from gateway.knowledge.catalog.queue import LeaseLost
from gateway.knowledge.catalog.types import Counts, NewMember, PageQuery, Store
from gateway.tenants.tenant import Tenant
from tests.contract.catalog.conftest import PATIENCE_S, Clock
from tests.contract.catalog.worker_process import CHUNKS
from tests.support.postgres import emptied

ROUNDS = 30
WORKER = Path(__file__).with_name("worker_process.py")


@pytest.fixture
def clock() -> Clock:
    """The time of day: other processes have it, too."""
    made = Clock()
    made.now = time.time()
    return made


@pytest.fixture
async def others(url: str) -> AsyncIterator[list[Catalog]]:
    """Three more on the same database, as other processes would have them."""
    made = [Catalog(url, timeout_s=PATIENCE_S) for _ in range(3)]
    yield made
    for each in made:
        await each.close()


async def filled(catalog: Catalog, files: int) -> Store:
    await catalog.collections.add("c1", embedding_model="m", dimension=3)
    store = await catalog.of(Tenant("a")).stores.create(name="books")
    names = [f"file-{i:02}" for i in range(files)]
    for name in names:
        await catalog.of(Tenant("a")).files.add(file_id=name, filename="x.md", purpose="assistants", size=1, sha256="0")
    await catalog.of(Tenant("a")).members.attach(store.id, [NewMember(file_id=name) for name in names])
    return store


async def process(url: str, name: str, step: str) -> tuple[int, list[str]]:
    """The exit status of a worker, and the files that it completed."""
    worker = await asyncio.create_subprocess_exec(
        sys.executable, str(WORKER), url, name, step, stdout=asyncio.subprocess.PIPE
    )
    try:
        written, _ = await asyncio.wait_for(worker.communicate(), 60)
    finally:
        if worker.returncode is None:
            worker.kill()
            await worker.wait()
    assert worker.returncode is not None
    return worker.returncode, written.decode().split()


@pytest.mark.parametrize("step", ["claimed", "chunks", "within", "completed"])
async def test_what_a_killed_process_had_begun_is_ended_by_another(
    catalog: Catalog, url: str, clock: Clock, step: str
) -> None:
    store = await filled(catalog, 1)
    assert await process(url, "killed", step) == (-9, [])
    assert await catalog.queue.claim("early", limit=9, lease_s=60) == []
    clock.now = time.time() + 61
    jobs = await _claim_when_unlocked(catalog, 0 if step == "completed" else 1)
    for job in jobs:
        assert job.attempts == 2
        await catalog.queue.put_chunks(job, CHUNKS, usage_bytes=9)
        await catalog.queue.complete(job, "c1")
    assert (await catalog.of(Tenant("a")).stores.get(store.id)).counts == Counts(completed=1)
    assert await catalog.of(Tenant("a")).members.chunks(store.id, "file-00") == CHUNKS
    assert await catalog.collections.behind("c1", limit=9) == []


async def _claim_when_unlocked(catalog: Catalog, number: int) -> list[Job]:
    """PostgreSQL undoes a dead client's transaction when it notices."""
    async with asyncio.timeout(60):
        while len(jobs := list(await catalog.queue.claim("next", limit=9, lease_s=60))) < number:
            await asyncio.sleep(0.05)
    return jobs


async def test_processes_share_the_jobs_and_none_is_done_twice(catalog: Catalog, url: str) -> None:
    store = await filled(catalog, 40)
    ends = await asyncio.gather(*(process(url, f"w{i}", "all") for i in range(3)))
    assert [status for status, _ in ends] == [0, 0, 0]
    assert sorted(name for _, names in ends for name in names) == [f"file-{i:02}" for i in range(40)]
    assert (await catalog.of(Tenant("a")).stores.get(store.id)).counts == Counts(completed=40)


async def test_whoever_changes_the_same_things_at_once_only_waits(catalog: Catalog, others: list[Catalog]) -> None:
    """Any deadlock would be a CatalogUnavailable."""
    stores = [await filled(catalog, 12)]
    names = [f"file-{i:02}" for i in range(12)]
    stores += [await catalog.of(Tenant("a")).stores.create(name=f"s{i}") for i in range(2)]

    async def ingest(mine: Catalog, owner: str) -> None:
        for _ in range(ROUNDS):
            jobs = await mine.queue.claim(owner, limit=6, lease_s=60)
            await mine.queue.renew(list(reversed(jobs)), lease_s=60)
            for job in jobs:
                try:
                    await mine.queue.put_chunks(job, CHUNKS, usage_bytes=9)
                    await mine.queue.complete(job, "c1")
                except LeaseLost:
                    pass
            await mine.removals.done(await mine.removals.first(limit=50))

    async def churn(mine: Catalog, order: int) -> None:
        for number in range(1, ROUNDS + 1):
            try:
                wanted = [NewMember(file_id=name, attributes={"n": number}) for name in names[::order]]
                store = stores[number % 3]
                batch = await mine.of(Tenant("a")).members.attach_batch(store.id, wanted)
                if number % 3 == 0:
                    await mine.of(Tenant("a")).members.cancel_batch(store.id, batch.id)
                await mine.of(Tenant("a")).members.detach(store.id, names[number % 12])
                if number % 5 == 0:
                    gone = names[number % 12]
                    await mine.of(Tenant("a")).files.delete(gone)
                    await mine.of(Tenant("a")).files.add(
                        file_id=gone, filename="x.md", purpose="assistants", size=1, sha256="0"
                    )
                if number % 7 == 0:
                    await mine.of(Tenant("a")).stores.delete(store.id)
                    stores[number % 3] = await mine.of(Tenant("a")).stores.create(name="again")
            except NotFound:
                pass

    await asyncio.gather(
        ingest(catalog, "w1"), ingest(others[0], "w2"), churn(others[1], 1), churn(others[2], -1), churn(catalog, 1)
    )


async def test_a_database_that_is_away_is_a_503_and_then_it_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    catalog = Catalog(f"sqlite:///{folder / 'catalog.db'}")
    with pytest.raises(CatalogUnavailable) as caught:
        await catalog.of(Tenant("a")).stores.page(PageQuery())
    assert face(caught.value).status == 503
    assert caught.value.retry_after_s
    folder.mkdir()
    assert (await catalog.of(Tenant("a")).stores.page(PageQuery())).items == []
    await catalog.close()


@pytest.mark.parametrize("url", ["sqlite:///{}/is_text", "postgresql://nobody@/x?host={}"])
async def test_what_is_no_database_is_a_503(url: str, tmp_path: Path) -> None:
    (tmp_path / "is_text").write_text("no database " * 100)
    catalog = Catalog(url.format(tmp_path))
    with pytest.raises(CatalogUnavailable):
        await catalog.of(Tenant("a")).stores.create(name="x")
    await catalog.close()


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)  # a file has no connections that break
async def test_connections_that_broke_are_made_anew(catalog: Catalog, url: str) -> None:
    await catalog.of(Tenant("a")).stores.create(name="x")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    assert len((await catalog.of(Tenant("a")).stores.page(PageQuery())).items) == 1


async def test_a_database_of_a_later_version_is_left_alone(catalog: Catalog, others: list[Catalog]) -> None:
    await catalog.of(Tenant("a")).stores.create(name="x")
    async with catalog.database.write() as connection:
        await connection.execute(text("UPDATE schema_version SET version = 99"))
    for _ in range(2):
        with pytest.raises(CatalogUnusable, match="99"):
            await others[0].of(Tenant("a")).stores.create(name="y")
    assert len((await catalog.of(Tenant("a")).stores.page(PageQuery())).items) == 1


async def test_a_file_that_other_processes_open_and_close_stays_one_for_all(tmp_path: Path) -> None:
    """A gateway has several connections to it, and commands come and go beside it."""

    async def command(statement: str) -> str:
        """Another process that does this and ends; what it found."""
        program = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); print(c.execute(sys.argv[2]).fetchall()); c.commit()"
        other = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program, str(tmp_path / "catalog.db"), statement), stdout=asyncio.subprocess.PIPE
        )
        found, _ = await other.communicate()
        return found.decode().strip()

    async with AsyncExitStack() as stack:
        gateway = [Catalog(f"sqlite:///{tmp_path / 'catalog.db'}", timeout_s=PATIENCE_S) for _ in range(2)]
        for each in gateway:
            stack.push_async_callback(each.close)
        stores = [each.of(Tenant("a")).stores for each in gateway]
        await stores[0].create(name="first")
        await stores[1].create(name="second")
        assert await command("UPDATE stores SET name = 'changed' WHERE name = 'first'") == "[]"
        for each in stores:
            await each.create(name="last")
            assert {store.name for store in (await each.page(PageQuery())).items} == {"changed", "second", "last"}
        assert await command("SELECT count(*) FROM stores") == "[(4,)]"
        assert await command("PRAGMA integrity_check") == "[('ok',)]"


async def test_a_file_that_is_locked_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    """Its journal mode is set once, and who finds it locked then tries again."""
    catalog = Catalog(f"sqlite:///{tmp_path / 'catalog.db'}")
    with closing(sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        reading = asyncio.create_task(catalog.of(Tenant("a")).stores.names())
        await asyncio.sleep(0.3)
        assert not reading.done()
        other.execute("COMMIT")
        assert await reading == {}
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    await catalog.close()


async def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        catalog = Catalog(f"sqlite:///{tmp_path / 'catalog.db'}")
        await catalog.of(Tenant("a")).stores.create(name="x")
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        await catalog.close()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(["catalog.db", "catalog.db-shm", "catalog.db-wal"], 0o600)


async def test_no_error_tells_a_value(catalog: Catalog) -> None:
    await catalog.database.prepare()
    with pytest.raises(IntegrityError) as raised:
        async with catalog.database.write() as connection:
            await connection.execute(text("INSERT INTO files (id, tenant) VALUES (:id, 'a')"), {"id": "secret"})
    assert "secret" not in str(raised.value) + str(raised.value.orig)


async def test_a_database_that_cannot_hold_every_text_is_refused(postgres: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    catalog = Catalog(postgres.replace("/postgres?", "/ascii?"))
    with pytest.raises(CatalogUnusable, match="ENCODING 'UTF8'"):
        await catalog.database.prepare()
    await catalog.close()


async def test_many_that_begin_at_once_make_the_tables_once(others: list[Catalog]) -> None:
    await asyncio.gather(*(each.of(Tenant("a")).stores.create(name="x") for each in others))
    assert len((await others[0].of(Tenant("a")).stores.page(PageQuery())).items) == 3


async def test_everything_can_be_walked_and_written_anew(catalog: Catalog) -> None:
    store = await filled(catalog, 5)
    for job in await catalog.queue.claim("w", limit=3, lease_s=60):
        await catalog.queue.put_chunks(job, CHUNKS, usage_bytes=9)
        await catalog.queue.complete(job, "c1")
    seen: list[str] = []
    after: str | None = None
    while page := await catalog.inventory.files(limit=2, after=after):
        seen, after = seen + [file.id for file in page], page[-1].id
    assert seen == [f"file-{i:02}" for i in range(5)]
    members = list(await catalog.inventory.members(limit=2))
    members += await catalog.inventory.members(limit=9, after=(members[-1].store_id, members[-1].file_id))
    assert [(each.file_id, each.pending) for each in members] == [(f"file-{i:02}", i > 2) for i in range(5)]
    await catalog.inventory.rewrite(members, above=6)  # of those in progress nothing changes
    assert [each.generation for each in await catalog.inventory.members(limit=9)] == [7, 7, 7, 1, 1]
    await catalog.inventory.rewrite(members)  # of an older generation: neither
    assert [each.generation for each in await catalog.inventory.members(limit=9)] == [7, 7, 7, 1, 1]
    jobs = await catalog.queue.claim("w", limit=9, lease_s=60)
    assert {job.member.file_id: job.member.generation for job in jobs} == dict(zip(seen, [7, 7, 7, 1, 1], strict=True))
    assert (await catalog.of(Tenant("a")).stores.get(store.id)).counts == Counts(completed=3, in_progress=2)


async def test_only_what_is_unknown_is_left_to_be_removed(catalog: Catalog) -> None:
    store = await filled(catalog, 1)
    await catalog.inventory.remove("a", None, "file-00", None)
    await catalog.inventory.remove("a", store.id, "file-00", 1)
    await catalog.inventory.remove("a", store.id, None, None)
    assert await catalog.removals.first(limit=9) == []
    await catalog.inventory.remove("a", None, "file-gone", None)
    await catalog.inventory.remove("a", store.id, "file-00", 0)
    await catalog.inventory.remove("b", store.id, "file-00", 1)
    left = await catalog.removals.first(limit=9)
    assert [(each.tenant, each.store_id, each.file_id, each.generation) for each in left] == [
        ("a", None, "file-gone", None),
        ("a", store.id, "file-00", 0),
        ("b", store.id, "file-00", 1),
    ]


async def test_who_falls_silent_in_a_transaction_keeps_no_row_locked(postgres: str) -> None:
    """As a gateway does that is stopped or cut off; only PostgreSQL has it, SQLite's locks end with their process."""
    silent, other = Catalog(emptied(postgres), timeout_s=2.0), Catalog(postgres, timeout_s=PATIENCE_S)
    try:
        store = await other.of(Tenant("a")).stores.create(name="before")
        locked = False
        for _ in range(10):  # on a busy machine the silent one's patience can end before it has the row
            with suppress(CatalogUnavailable):
                async with silent.database.write() as connection:
                    await connection.execute(text("UPDATE stores SET name = 'never'"))
                    locked = True
                    async with other.database.write() as another:  # waits for the row
                        await another.execute(text("UPDATE stores SET name = 'after'"))
                    await connection.execute(text("SELECT 1"))
            if locked:
                break
        assert (await other.of(Tenant("a")).stores.get(store.id)).name == "after"
    finally:
        await silent.close()
        await other.close()


async def test_closing_leaves_no_thread_that_would_answer_to_a_closed_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, opening, opened = set(threading.enumerate()), threading.Event(), threading.Event()
    database, connect = Database(f"sqlite:///{tmp_path / 'catalog.db'}"), sqlite3.connect

    def slowly(*where: Any, **how: Any) -> sqlite3.Connection:
        opening.set()
        assert opened.wait(60)
        return connect(*where, **how)

    async def read() -> None:
        async with database.read():
            pass

    async with database.read():
        monkeypatch.setattr(sqlite3, "connect", slowly)
        reading = asyncio.create_task(read())
        assert await asyncio.to_thread(opening.wait, 60)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    asyncio.get_running_loop().call_later(0.1, opened.set)
    await database.close()
    left = set(threading.enumerate()) - before
    assert not [thread.name for thread in left if "connection_worker" in thread.name]
