"""The catalog when processes are killed, race, and when its database is away."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.errors import CatalogUnavailable, NotFound, face
from gateway.knowledge.catalog.catalog import LeaseLost
from gateway.knowledge.catalog.schema import SchemaTooNew
from gateway.knowledge.catalog.sql import SqlCatalog
from gateway.knowledge.catalog.types import Counts, Job, NewMember, PageQuery, Store
from tests.contract.catalog.conftest import Clock
from tests.contract.catalog.worker_process import CHUNKS

ROUNDS = 30
WORKER = Path(__file__).with_name("worker_process.py")


@pytest.fixture
def clock() -> Clock:
    """The time of day: other processes have it, too."""
    made = Clock()
    made.now = time.time()
    return made


@pytest.fixture
async def others(url: str) -> AsyncIterator[list[SqlCatalog]]:
    """Three more on the same database, as other processes would have them."""
    made = [SqlCatalog(url) for _ in range(3)]
    yield made
    for each in made:
        await each.close()


async def filled(catalog: SqlCatalog, files: int) -> Store:
    await catalog.add_collection("c1", embedding_model="m", dimension=3)
    store = await catalog.create_store("a", name="books")
    names = [f"file-{i:02}" for i in range(files)]
    for name in names:
        await catalog.add_file("a", file_id=name, filename="x.md", purpose="assistants", size=1, sha256="0")
    await catalog.attach("a", store.id, [NewMember(file_id=name) for name in names])
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
    catalog: SqlCatalog, url: str, clock: Clock, step: str
) -> None:
    store = await filled(catalog, 1)
    assert await process(url, "killed", step) == (-9, [])
    assert await catalog.claim("early", limit=9, lease_s=60) == []
    clock.now = time.time() + 61
    jobs = await _claim_when_unlocked(catalog, 0 if step == "completed" else 1)
    for job in jobs:
        assert job.attempts == 2
        await catalog.put_chunks(job, CHUNKS, usage_bytes=9)
        await catalog.complete(job, "c1")
    assert (await catalog.store("a", store.id)).counts == Counts(completed=1)
    assert await catalog.chunks("a", store.id, "file-00") == CHUNKS
    assert await catalog.behind("c1", limit=9) == []


async def _claim_when_unlocked(catalog: SqlCatalog, number: int) -> list[Job]:
    """PostgreSQL undoes a dead client's transaction when it notices."""
    async with asyncio.timeout(10):
        while len(jobs := list(await catalog.claim("next", limit=9, lease_s=60))) < number:
            await asyncio.sleep(0.05)
    return jobs


async def test_processes_share_the_jobs_and_none_is_done_twice(catalog: SqlCatalog, url: str) -> None:
    store = await filled(catalog, 40)
    ends = await asyncio.gather(*(process(url, f"w{i}", "all") for i in range(3)))
    assert [status for status, _ in ends] == [0, 0, 0]
    assert sorted(name for _, names in ends for name in names) == [f"file-{i:02}" for i in range(40)]
    assert (await catalog.store("a", store.id)).counts == Counts(completed=40)


async def test_whoever_changes_the_same_things_at_once_only_waits(
    catalog: SqlCatalog, others: list[SqlCatalog]
) -> None:
    """Any deadlock would be a CatalogUnavailable."""
    stores = [await filled(catalog, 12)]
    names = [f"file-{i:02}" for i in range(12)]
    stores += [await catalog.create_store("a", name=f"s{i}") for i in range(2)]

    async def ingest(mine: SqlCatalog, owner: str) -> None:
        for _ in range(ROUNDS):
            jobs = await mine.claim(owner, limit=6, lease_s=60)
            await mine.renew(list(reversed(jobs)), lease_s=60)
            for job in jobs:
                try:
                    await mine.put_chunks(job, CHUNKS, usage_bytes=9)
                    await mine.complete(job, "c1")
                except LeaseLost:
                    pass
            await mine.removed(await mine.removals(limit=50))

    async def churn(mine: SqlCatalog, order: int) -> None:
        for number in range(1, ROUNDS + 1):
            try:
                wanted = [NewMember(file_id=name, attributes={"n": number}) for name in names[::order]]
                store = stores[number % 3]
                batch = await mine.attach_batch("a", store.id, wanted)
                if number % 3 == 0:
                    await mine.cancel_batch("a", store.id, batch.id)
                await mine.detach("a", store.id, names[number % 12])
                if number % 5 == 0:
                    gone = names[number % 12]
                    await mine.delete_file("a", gone)
                    await mine.add_file("a", file_id=gone, filename="x.md", purpose="assistants", size=1, sha256="0")
                if number % 7 == 0:
                    await mine.delete_store("a", store.id)
                    stores[number % 3] = await mine.create_store("a", name="again")
            except NotFound:
                pass

    await asyncio.gather(
        ingest(catalog, "w1"), ingest(others[0], "w2"), churn(others[1], 1), churn(others[2], -1), churn(catalog, 1)
    )


async def test_a_database_that_is_away_is_a_503_and_then_it_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    catalog = SqlCatalog(f"sqlite:///{folder / 'catalog.db'}")
    with pytest.raises(CatalogUnavailable) as caught:
        await catalog.stores("a", PageQuery())
    assert face(caught.value).status == 503
    assert caught.value.retry_after_s
    folder.mkdir()
    assert (await catalog.stores("a", PageQuery())).items == []
    await catalog.close()


@pytest.mark.parametrize("url", ["sqlite:///{}/is_text", "postgresql://nobody@/x?host={}"])
async def test_what_is_no_database_is_a_503(url: str, tmp_path: Path) -> None:
    (tmp_path / "is_text").write_text("no database " * 100)
    catalog = SqlCatalog(url.format(tmp_path))
    with pytest.raises(CatalogUnavailable):
        await catalog.create_store("a", name="x")
    await catalog.close()


async def test_connections_that_broke_are_made_anew(catalog: SqlCatalog, url: str) -> None:
    if url.startswith("sqlite"):
        pytest.skip("a file has no connections that break")
    import psycopg

    await catalog.create_store("a", name="x")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    assert len((await catalog.stores("a", PageQuery())).items) == 1


async def test_a_database_of_a_later_version_is_left_alone(catalog: SqlCatalog, others: list[SqlCatalog]) -> None:
    await catalog.create_store("a", name="x")
    async with catalog.database.write() as connection:
        await connection.execute(text("UPDATE schema_version SET version = 99"))
    for _ in range(2):
        with pytest.raises(SchemaTooNew, match="99"):
            await others[0].create_store("a", name="y")
    assert len((await catalog.stores("a", PageQuery())).items) == 1


async def test_many_that_begin_at_once_make_the_tables_once(others: list[SqlCatalog]) -> None:
    await asyncio.gather(*(each.create_store("a", name="x") for each in others))
    assert len((await others[0].stores("a", PageQuery())).items) == 3


async def test_everything_can_be_walked_and_written_anew(catalog: SqlCatalog) -> None:
    store = await filled(catalog, 5)
    for job in await catalog.claim("w", limit=3, lease_s=60):
        await catalog.put_chunks(job, CHUNKS, usage_bytes=9)
        await catalog.complete(job, "c1")
    seen: list[str] = []
    after: str | None = None
    while page := await catalog.all_files(limit=2, after=after):
        seen, after = seen + [file.id for file in page], page[-1].id
    assert seen == [f"file-{i:02}" for i in range(5)]
    members = list(await catalog.all_members(limit=2))
    members += await catalog.all_members(limit=9, after=(members[-1].store_id, members[-1].file_id))
    assert [(each.file_id, each.pending) for each in members] == [(f"file-{i:02}", i > 2) for i in range(5)]
    await catalog.rewrite(members, above=6)  # of those in progress nothing changes
    assert [each.generation for each in await catalog.all_members(limit=9)] == [7, 7, 7, 1, 1]
    await catalog.rewrite(members)  # of an older generation: neither
    assert [each.generation for each in await catalog.all_members(limit=9)] == [7, 7, 7, 1, 1]
    jobs = await catalog.claim("w", limit=9, lease_s=60)
    assert {job.member.file_id: job.member.generation for job in jobs} == dict(zip(seen, [7, 7, 7, 1, 1], strict=True))
    assert (await catalog.store("a", store.id)).counts == Counts(completed=3, in_progress=2)


async def test_only_what_is_unknown_is_left_to_be_removed(catalog: SqlCatalog) -> None:
    store = await filled(catalog, 1)
    await catalog.remove("a", None, "file-00", None)
    await catalog.remove("a", store.id, "file-00", 1)
    await catalog.remove("a", store.id, None, None)
    assert await catalog.removals(limit=9) == []
    await catalog.remove("a", None, "file-gone", None)
    await catalog.remove("a", store.id, "file-00", 0)
    await catalog.remove("b", store.id, "file-00", 1)
    left = await catalog.removals(limit=9)
    assert [(each.tenant, each.store_id, each.file_id, each.generation) for each in left] == [
        ("a", None, "file-gone", None),
        ("a", store.id, "file-00", 0),
        ("b", store.id, "file-00", 1),
    ]
