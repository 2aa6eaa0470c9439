"""Differences between catalog, object store and index, made one by one; SQLite is real."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from gateway.errors import KnowledgeUnavailable
from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.ingestion_types import Removal
from gateway.knowledge.catalog.types import ChunkRecord, FileError, FileState, NewMember
from gateway.knowledge.index import MemoryIndex, Owner, Row
from gateway.knowledge.objects import MemoryStore, content_key, document_key
from gateway.knowledge.reconcile import Difference, DifferenceKind, Report, reconcile, repair
from gateway.tenants.tenant import Tenant

CHUNKS = [ChunkRecord(index=i, text=f"words {i}", page=1, start=i, end=i + 1) for i in range(3)]
NOW = 1_700_000_000.0


class World:
    """The three, with two completed members of one store in them, and what the ingestion does to them."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.index = MemoryIndex()
        self.objects = MemoryStore()
        self.store = ""

    async def fill(self) -> None:
        await self.catalog.collections.add("c1", embedding_model="m", dimension=2)
        await self.index.ensure("c1", 2)
        self.store = (await self.catalog.of(Tenant("a")).stores.create(name="books")).id
        for name in ("f1", "f2"):
            await self.objects.put(content_key(name), b"12345")
            await self.catalog.of(Tenant("a")).files.add(
                file_id=name, filename="x.md", purpose="assistants", size=5, sha256="0"
            )
        await self.catalog.of(Tenant("a")).members.attach(
            self.store, [NewMember(file_id=name) for name in ("f1", "f2")]
        )
        await self.ingest()

    async def write(self, file: str, generation: int, *, store: str = "", number: int = 3, tenant: str = "a") -> None:
        rows = [
            Row(
                tenant=tenant,
                store=store or self.store,
                file_id=file,
                filename="x.md",
                index=i,
                text=f"words {i}",
                page=1,
                start=i,
                end=i + 1,
                attributes={},
                generation=generation,
            )
            for i in range(number)
        ]
        await self.index.upsert("c1", rows, np.zeros((number, 2), np.float32))

    async def ingest(self) -> None:
        """Do all removals, then all jobs."""
        for each in await self.catalog.removals.first(limit=99):
            await self.remove(each)
        await self.catalog.removals.done(await self.catalog.removals.first(limit=99))
        for job in await self.catalog.queue.claim("w", limit=99, lease_s=60):
            member = job.member
            if member.state is not FileState.COMPLETED:
                await self.objects.put(document_key(member.file_id), b"{}")
            await self.catalog.queue.put_chunks(job, CHUNKS, usage_bytes=9)
            await self.write(member.file_id, member.generation)
            owner = Owner(tenant=member.tenant, store=member.store_id, file_id=member.file_id)
            await self.index.delete("c1", owner, before=member.generation)
            await self.catalog.queue.complete(job, "c1")

    async def remove(self, removal: Removal) -> None:
        if removal.store_id is None:
            await self.objects.delete_prefix(f"files/{removal.file_id}/")
            return
        owner = Owner(tenant=removal.tenant, store=removal.store_id, file_id=removal.file_id)
        before = None if removal.generation is None else removal.generation + 1
        await self.index.delete("c1", owner, before=before)

    async def look(self) -> Report:
        return await reconcile(self.catalog, self.index, self.objects, clock=lambda: NOW, sleep=self.pause)

    async def pause(self, _seconds: float) -> None:
        """What happens between the two looks."""

    async def mend(self, differences: Sequence[Difference]) -> None:
        assert await repair(self.catalog, differences) == []
        await self.ingest()
        assert (await self.look()).differences == []


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    catalog = Catalog(f"sqlite:///{tmp_path / 'catalog.db'}", clock=lambda: NOW)
    made = World(catalog)
    await made.fill()
    yield made
    await catalog.close()


def told(report: Report) -> list[tuple[DifferenceKind, str]]:
    return [(each.kind, each.file_id) for each in report.differences]


async def test_they_agree(world: World) -> None:
    report = await world.look()
    assert (report.files, report.members, report.jobs, report.removals, told(report)) == (2, 2, 0, 0, [])


async def test_a_lost_row_is_written_again(world: World) -> None:
    del world.index.rows["c1"][f"{world.store}/f1/1"]
    report = await world.look()
    assert told(report) == [(DifferenceKind.MISSING_ROWS, "f1")]
    assert report.differences[0].detail == "2 rows for 3 chunks"
    await world.mend(report.differences)
    assert len(world.index.rows["c1"]) == 6


async def test_a_lost_collection_is_written_again(world: World) -> None:
    await world.index.drop("c1")
    report = await world.look()
    assert told(report) == [(DifferenceKind.MISSING_ROWS, "f1"), (DifferenceKind.MISSING_ROWS, "f2")]
    await world.index.ensure("c1", 2)
    await world.mend(report.differences)
    assert len(world.index.rows["c1"]) == 6


async def test_rows_of_nothing_are_removed(world: World) -> None:
    await world.write("gone", 4)
    await world.write("f1", 2, store="vs_gone")
    await world.write("f1", 1, tenant="b", store="vs_gone2")
    report = await world.look()
    assert told(report) == [(DifferenceKind.ORPHAN_ROWS, file) for file in ("gone", "f1", "f1")]
    await world.mend(report.differences)
    assert len(world.index.rows["c1"]) == 6


async def test_rows_of_an_older_generation_are_removed_and_the_newer_stay(world: World) -> None:
    await world.catalog.of(Tenant("a")).members.set_attributes(world.store, "f1", {"x": "y"})
    await world.ingest()
    await world.write("f1", 1, number=5)
    await world.write("f1", 2, number=3)
    report = await world.look()
    assert told(report) == [(DifferenceKind.ORPHAN_ROWS, "f1")]
    await world.mend(report.differences)
    assert (await world.catalog.of(Tenant("a")).members.get(world.store, "f1")).generation == 2


async def test_rows_newer_than_a_catalog_from_a_backup_are_written_over(world: World) -> None:
    await world.write("f1", 7, number=5)
    report = await world.look()
    assert told(report) == [(DifferenceKind.MISSING_ROWS, "f1")]
    await world.mend(report.differences)
    assert (await world.catalog.of(Tenant("a")).members.get(world.store, "f1")).generation == 8


async def test_rows_of_a_failed_member_are_removed(world: World) -> None:
    await world.catalog.of(Tenant("a")).members.attach(world.store, [NewMember(file_id="f1", attributes={"x": "y"})])
    (job,) = await world.catalog.queue.claim("w", limit=9, lease_s=60)
    await world.catalog.queue.fail(job, FileError(code="invalid_file", message="no"))
    assert told(await world.look()) == []  # its removal is there
    await world.ingest()
    await world.write("f1", 2)
    report = await world.look()
    assert told(report) == [(DifferenceKind.ORPHAN_ROWS, "f1")]
    await world.mend(report.differences)


async def test_a_lost_text_is_told_and_comes_again_with_its_file(world: World) -> None:
    del world.objects.objects[document_key("f1")]
    report = await world.look()
    assert told(report) == [(DifferenceKind.MISSING_DOCUMENT, "f1")]
    assert await repair(world.catalog, report.differences) == report.differences
    await world.catalog.of(Tenant("a")).members.set_attributes(world.store, "f1", {"x": "y"})
    assert told(await world.look()) == []  # a job is under way


async def test_a_lost_content_is_told_and_cannot_be_mended(world: World) -> None:
    await world.objects.delete_prefix("files/f1/")
    await world.objects.put(document_key("f1"), b"{}")
    await world.objects.put(content_key("f2"), b"123")
    report = await world.look()
    assert told(report) == [(DifferenceKind.MISSING_OBJECT, "f1"), (DifferenceKind.MISSING_OBJECT, "f2")]
    assert [each.detail for each in report.differences] == ["the content is not there", "3 bytes of 5"]
    assert await repair(world.catalog, report.differences) == report.differences
    assert await world.catalog.removals.first(limit=9) == []


async def test_objects_of_no_file_are_removed_when_they_are_old(world: World) -> None:
    await world.objects.put(document_key("gone"), b"{}")
    world.objects.modified[document_key("gone")] = NOW - 60
    assert told(await world.look()) == []
    world.objects.modified.clear()
    report = await world.look()
    assert told(report) == [(DifferenceKind.ORPHAN_OBJECT, "gone")]
    await world.mend(report.differences)
    assert document_key("gone") not in world.objects.objects


async def test_what_is_under_way_is_no_difference(world: World) -> None:
    await world.catalog.of(Tenant("a")).members.set_attributes(world.store, "f1", {"x": "y"})
    await world.catalog.of(Tenant("a")).files.delete("f2")
    report = await world.look()
    assert (report.jobs, report.removals, told(report)) == (1, 2, [])


async def test_what_a_second_look_does_not_find_was_under_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    del world.index.rows["c1"][f"{world.store}/f1/1"]

    async def written(_seconds: float) -> None:
        await world.write("f1", 1)
        await world.write("gone", 1)

    monkeypatch.setattr(world, "pause", written)
    assert told(await world.look()) == []


async def test_a_repair_that_comes_late_takes_nothing_away(world: World) -> None:
    await world.write("f3", 1)
    report = await world.look()
    await world.catalog.of(Tenant("a")).files.add(
        file_id="f3", filename="x.md", purpose="assistants", size=5, sha256="0"
    )
    await world.objects.put(content_key("f3"), b"12345")
    await world.catalog.of(Tenant("a")).members.attach(world.store, [NewMember(file_id="f3")])
    await world.mend(report.differences)
    assert sum(row.file_id == "f3" for row, _ in world.index.rows["c1"].values()) == 3


async def test_a_second_collection_may_be_behind_but_not_lack_what_it_had(world: World) -> None:
    await world.catalog.collections.add("c2", embedding_model="n", dimension=2)
    report = await world.look()
    assert (report.refilling, told(report)) == (2, [])
    await world.catalog.collections.indexed("c2", [await world.catalog.of(Tenant("a")).members.get(world.store, "f1")])
    report = await world.look()
    assert report.refilling == 1
    assert [(each.kind, each.collection) for each in report.differences] == [(DifferenceKind.MISSING_ROWS, "c2")]


async def test_it_says_when_the_index_is_away(world: World) -> None:
    world.index.away = True
    with pytest.raises(KnowledgeUnavailable):
        await world.look()
