"""Jobs of the ingestion over a real catalog (SQLite) and real converter processes, with an index and an embedder in memory."""

import asyncio
import zipfile
from collections.abc import AsyncIterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import CatalogUnavailable, KnowledgeUnavailable, StorageFull
from gateway.ingestion.backfill import Backfill
from gateway.ingestion.chunk_embedder import LocalEmbedder
from gateway.ingestion.converter_pool import Converters
from gateway.ingestion.index_collections import Collections
from gateway.ingestion.jobs import Jobs
from gateway.ingestion.removals import Removals
from gateway.ingestion.service import follow_tenants, weights
from gateway.ingestion.writer import Writer
from gateway.knowledge.catalog.administration import Administration, TenantSettings
from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.types import Chunking, CollectionState, FileState, Member, NewMember
from gateway.knowledge.chunking import embedding_folder, token_counter
from gateway.knowledge.index import ALIAS, MemoryIndex, Row
from gateway.knowledge.objects import MemoryStore, content_key, document_key
from gateway.knowledge.storage_reserve import StorageReserve
from gateway.tenants.directory import Directory
from gateway.tenants.directory_sync import DirectorySync
from gateway.tenants.tenant import Tenant


class Rounds(Jobs):
    """Jobs that are begun and ended in one call."""

    async def round(self) -> int:
        """Claim some and bring each to its end; how many there were. Raises Unavailable as `begin` does."""
        try:
            begun = await self.begin()
            await self.idle()
        except asyncio.CancelledError:
            await self.close()
            raise
        if self._away is not None:
            await self.begin()
        return begun


class Setup:
    """An ingestion with one store, `vs`, of the tenant `acme`."""

    def __init__(self, folder: Path, **converting: Any) -> None:
        model = embedding_folder()
        self.now = 1_700_000_000.0
        self.catalog = Catalog(f"sqlite:///{folder / 'catalog.db'}", clock=lambda: self.now)
        self.objects, self.index = MemoryStore(), MemoryIndex()
        self.embedder = LocalEmbedder("model-a")
        limits = {"count": 2, "memory_bytes": 1536 << 20, "deadline_s": 60.0} | converting
        self.converters = Converters(model, **limits)  # type: ignore[arg-type]
        self.writer = Writer(self.index, self.embedder, count=token_counter(model), window=254)
        self.collections = Collections(self.catalog, self.index, self.embedder)
        self.jobs = self.worker("one")
        self.removals = Removals(self.catalog, self.objects, self.index)
        self.backfill = Backfill(self.catalog, self.collections, self.writer)
        self.store = ""

    def worker(self, owner: str, **options: Any) -> Rounds:
        return Rounds(
            catalog=self.catalog,
            objects=self.objects,
            index=self.index,
            collections=self.collections,
            converters=self.converters,
            writer=self.writer,
            owner=owner,
            clock=lambda: self.now,
            **options,
        )

    async def upload(self, **files: bytes | str) -> None:
        """Files named `<name>.<ending>` for a keyword `<name>_<ending>`; the id is `file-<name>`."""
        for key, content in files.items():
            name, _, ending = key.rpartition("_")
            raw = content.encode() if isinstance(content, str) else content
            await self.objects.put(content_key(f"file-{name}"), raw)
            await self.catalog.of(Tenant("acme")).files.add(
                file_id=f"file-{name}", filename=f"{name}.{ending}", purpose="assistants", size=len(raw), sha256="0"
            )  # fmt: skip

    async def attach(self, *names: str, **changes: Any) -> None:
        await self.catalog.of(Tenant("acme")).members.attach(
            self.store, [NewMember(file_id=f"file-{name}", **changes) for name in names]
        )

    async def member(self, name: str) -> Member:
        return await self.catalog.of(Tenant("acme")).members.get(self.store, f"file-{name}")

    def rows(self) -> list[Row]:
        """Those of the active collection, in order."""
        held = self.index.rows.get(self.index.aliases.get(ALIAS, ""), {})
        return sorted((row for row, _ in held.values()), key=lambda row: (row.file_id, row.index))


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[Setup]:
    made = Setup(tmp_path)
    made.store = (await made.catalog.of(Tenant("acme")).stores.create(name="docs")).id
    yield made
    await made.converters.close()
    await made.catalog.close()


async def test_a_file_becomes_searchable_rows(setup: Setup) -> None:
    await setup.upload(a_md="# Pumps\n\nThe valve opens at 3 bar.")
    await setup.attach("a", attributes={"year": 2024})
    assert await setup.jobs.round() == 1
    member = await setup.member("a")
    assert (member.state, member.chunk_count, member.error) == (FileState.COMPLETED, 1, None)
    (row,) = setup.rows()
    assert row == Row(
        tenant="acme", store=setup.store, file_id="file-a", filename="a.md", index=0,
        text="# Pumps\n\nThe valve opens at 3 bar.", page=0, start=0, end=34, attributes={"year": 2024},
    )  # fmt: skip
    assert b"valve" in await setup.objects.read(document_key("file-a"))
    assert setup.index.flushes == 1
    assert await setup.jobs.round() == 0


def bomb() -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", bytes(600 << 20))
    return out.getvalue()


async def test_bad_files_fail_with_their_codes_and_harm_no_other(setup: Setup) -> None:
    await setup.upload(
        good_txt="fine", noise_bin=bytes(range(256)), empty_md="", broken_pdf=b"%PDF-1.7 nothing", bomb_docx=bomb()
    )
    await setup.attach("good", "noise", "empty", "broken", "bomb", "good")
    await setup.catalog.of(Tenant("acme")).files.add(
        file_id="file-lost", filename="l.txt", purpose="assistants", size=1, sha256="0"
    )
    await setup.attach("lost")
    assert await setup.jobs.round() == 6
    found = {name: await setup.member(name) for name in ("noise", "empty", "broken", "bomb", "lost", "good")}
    assert {name: member.error.code if member.error else None for name, member in found.items()} == {
        "noise": "unsupported_file", "empty": "invalid_file", "broken": "invalid_file", "bomb": "invalid_file",
        "lost": "server_error", "good": None,
    }  # fmt: skip
    assert all(member.error.message for member in found.values() if member.error)
    assert found["good"].state is FileState.COMPLETED
    assert [row.file_id for row in setup.rows()] == ["file-good"]


async def test_a_500_mb_file_is_not_even_read(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    await setup.upload(huge_txt="x")

    async def size(key: str) -> int:
        return 500 << 20

    monkeypatch.setattr(setup.objects, "size", size)
    await setup.attach("huge")
    await setup.jobs.round()
    error = (await setup.member("huge")).error
    assert error is not None
    assert (error.code, "500 MiB" in error.message) == ("invalid_file", True)


async def test_what_takes_too_much_memory_or_time_fails_alone(tmp_path: Path) -> None:
    rows = "\n".join(f"{number},{number}" for number in range(2_000_000))
    for limits, words in (({"memory_bytes": 450 << 20}, "memory"), ({"deadline_s": 0.5}, "within 0.5 s")):
        folder = tmp_path / words.split()[0]
        folder.mkdir()
        setup = Setup(folder, **limits)
        setup.store = (await setup.catalog.of(Tenant("acme")).stores.create(name="docs")).id
        await setup.upload(big_csv=rows)
        await setup.attach("big")
        await setup.jobs.round()
        error = (await setup.member("big")).error
        assert error is not None
        assert error.code == "invalid_file"
        assert words in error.message
        await setup.converters.close()
        await setup.catalog.close()


async def test_another_chunking_cuts_anew_and_leaves_nothing_old(setup: Setup) -> None:
    await setup.upload(a_txt=" ".join(f"word{number}." for number in range(1500)))
    await setup.attach("a", chunking=Chunking(max_tokens=100, overlap_tokens=0))
    await setup.jobs.round()
    small = len(setup.rows())
    await setup.attach("a", chunking=Chunking(max_tokens=800, overlap_tokens=0))
    await setup.jobs.round()
    large = setup.rows()
    assert small > 5 * len(large) > 0
    assert {row.generation for row in large} == {2}
    assert " ".join(row.text.removeprefix("a\n") for row in large).split() == [f"word{n}." for n in range(1500)]


async def test_new_attributes_are_written_without_embedding_anything(setup: Setup) -> None:
    await setup.upload(a_txt="words")
    await setup.attach("a")
    await setup.jobs.round()
    embedded = setup.embedder.fake.embedded
    await setup.catalog.of(Tenant("acme")).members.set_attributes(setup.store, "file-a", {"draft": True})
    assert await setup.jobs.round() == 1
    assert [row.attributes for row in setup.rows()] == [{"draft": True}]
    assert setup.embedder.fake.embedded == embedded


@pytest.mark.parametrize("away", ["milvus", "triton", "objects"])
async def test_what_is_away_fails_no_file(setup: Setup, away: str) -> None:
    await setup.upload(a_txt="words", b_txt="more")
    await setup.collections.active()
    await setup.attach("a", "b")
    broken: Any = {"milvus": setup.index, "triton": setup.embedder, "objects": setup.objects}[away]
    broken.away = True
    with pytest.raises(Exception, match=r"away|ready"):
        await setup.jobs.round()
    assert (await setup.member("a")).state is FileState.IN_PROGRESS
    broken.away = False
    setup.now += 2
    assert await setup.jobs.round() == 2
    assert [row.file_id for row in setup.rows()] == ["file-a", "file-b"]


async def test_a_job_of_a_dead_worker_is_taken_over_and_written_once(setup: Setup) -> None:
    await setup.upload(a_txt=" ".join(f"word{number}." for number in range(800)))
    await setup.attach("a")
    await setup.collections.active()
    (job,) = await setup.catalog.queue.claim("dead", limit=1, lease_s=15)
    assert await setup.jobs.round() == 0  # it may still live
    setup.now += 16
    assert await setup.jobs.round() == 1
    rows = setup.rows()
    assert [row.index for row in rows] == list(range(len(rows)))
    assert (await setup.member("a")).chunk_count == len(rows) > 3
    assert job.member.file_id == "file-a"


async def test_what_is_deleted_meanwhile_leaves_no_trace(setup: Setup) -> None:
    await setup.upload(a_txt="words", b_txt="more")
    await setup.attach("a", "b")
    embed = setup.embedder.embed

    async def slow(model: str, texts: Any, *, tenant: str) -> Any:
        setup.embedder.embed = embed  # type: ignore[method-assign]
        await setup.catalog.of(Tenant("acme")).files.delete("file-a")
        await setup.removals.round()  # before the rows are written
        return await embed(model, texts)

    await setup.collections.active()
    setup.embedder.embed = slow  # type: ignore[method-assign]
    await setup.jobs.round()
    assert [row.file_id for row in setup.rows()] == ["file-b"]
    await setup.catalog.of(Tenant("acme")).stores.delete(setup.store)
    while await setup.removals.round():
        pass
    assert setup.rows() == []
    assert not [each async for each in setup.objects.listed("files/") if "file-a" in each.key]


async def test_the_ingestion_that_ends_gives_its_jobs_back(setup: Setup) -> None:
    await setup.upload(a_txt="words")
    await setup.attach("a")
    await setup.collections.active()
    reached = asyncio.Event()

    async def never(model: str, texts: Any, *, tenant: str) -> Any:
        reached.set()
        await asyncio.Event().wait()

    embed, setup.embedder.embed = setup.embedder.embed, never  # type: ignore[method-assign]
    task = asyncio.create_task(setup.jobs.round())
    await asyncio.wait_for(reached.wait(), 60)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    setup.embedder.embed = embed  # type: ignore[method-assign]
    assert await setup.worker("two").round() == 1  # at once, not after the lease
    assert (await setup.member("a")).state is FileState.COMPLETED


async def test_a_new_model_is_embedded_beside_the_old_one_and_the_way_back_is_open(setup: Setup) -> None:
    await setup.upload(a_txt="words", b_txt="more")
    await setup.attach("a", "b")
    await setup.jobs.round()
    old = await setup.collections.active()
    setup.embedder.served.append("model-b")
    new = await setup.collections.add("model-b")
    assert (old.state, new.state) == (CollectionState.ACTIVE, CollectionState.BUILDING)
    assert len(setup.rows()) == 2  # the old one serves
    assert await setup.backfill.round(["model-a", "model-b"]) == 2
    assert await setup.backfill.round(["model-a", "model-b"]) == 0
    await setup.catalog.collections.switch(new.name)
    assert (await setup.collections.active()).name == setup.index.aliases[ALIAS] == new.name
    await setup.upload(c_txt="later")
    await setup.attach("c")
    await setup.jobs.round()
    assert (
        await setup.backfill.round(["model-a", "model-b"]) == 1
    )  # the one before follows, so that the way back stays open
    await setup.catalog.collections.switch(old.name)
    assert (await setup.collections.active()).name == old.name
    assert [row.file_id for row in setup.rows()] == ["file-a", "file-b", "file-c"]


async def test_a_collection_that_was_dropped_can_be_begun_anew(setup: Setup) -> None:
    await setup.upload(a_txt="words")
    await setup.attach("a")
    await setup.jobs.round()
    setup.embedder.served = ["model-a", "model-b"]
    for _ in range(2):
        new = await setup.collections.add("model-b")
        with suppress(KnowledgeUnavailable):
            await setup.backfill.round(["model-b"])
        await setup.backfill.round(["model-b"])
        assert list(setup.index.rows[new.name])
        assert await setup.catalog.collections.behind(new.name, limit=9) == []
        await setup.catalog.collections.drop(new.name)
        await setup.index.drop(new.name)


async def test_weights_that_an_administrator_sets_are_those_of_the_next_files(setup: Setup, tmp_path: Path) -> None:
    administrator = Administration(setup.catalog.database, tmp_path / "audit.jsonl").by("cli:a test")
    directory = Directory({})
    shares, budgets = weights(directory), {"gone": 1.0}
    following = asyncio.create_task(
        follow_tenants(DirectorySync(directory, setup.catalog.tenants), directory, shares, budgets, every_s=0.0)
    )
    limits = {"converter_seconds_per_minute": 20}
    await administrator.create_tenant("late", TenantSettings(weight=0.5, priority=1, limits=limits))
    async with asyncio.timeout(60):
        while shares.get("late") != 4.0 or budgets != {"late": 20.0}:
            await asyncio.sleep(0)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_a_tenant_that_comes_later_waits_for_no_backlog_and_weights_are_those_of_admission(
    setup: Setup, tmp_path: Path
) -> None:
    tenants = tmp_path / "tenants.yaml"
    tenants.write_text("tenants: [{name: acme, keys: [a]}, {name: late, keys: [b], weight: 0.5, priority: 1}]")
    shares = weights(Directory.from_settings("", tenants))
    assert shares == {"acme": 1.0, "late": 4.0}
    await setup.upload(**{f"n{number}_txt": "words" for number in range(30)})
    await setup.attach(*(f"n{number}" for number in range(30)))
    worker = setup.worker("one", group=5, weights=shares)
    await worker.round()
    store = (await setup.catalog.of(Tenant("late")).stores.create(name="docs")).id
    for number in range(4):
        await setup.objects.put(content_key(f"file-l{number}"), b"words")
        await setup.catalog.of(Tenant("late")).files.add(
            file_id=f"file-l{number}", filename="l.txt", purpose="assistants", size=5, sha256="0"
        )
    await setup.catalog.of(Tenant("late")).members.attach(
        store, [NewMember(file_id=f"file-l{number}") for number in range(4)]
    )
    await worker.round()
    assert (await setup.catalog.of(Tenant("late")).stores.get(store)).counts.completed == 4
    assert (await setup.catalog.of(Tenant("acme")).stores.get(setup.store)).counts.completed == 6


async def test_without_an_instance_there_is_no_collection_and_no_claim(setup: Setup) -> None:
    setup.embedder.away = True
    with pytest.raises(KnowledgeUnavailable):
        await setup.jobs.round()
    assert setup.index.rows == {}


async def test_what_is_cancelled_while_it_is_written_is_no_fault(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    await setup.upload(a_txt="words", b_txt="more")
    batch = await setup.catalog.of(Tenant("acme")).members.attach_batch(
        setup.store, [NewMember(file_id="file-a"), NewMember(file_id="file-b")]
    )
    await setup.collections.active()
    upsert = setup.index.upsert

    async def cancelled_after(*arguments: Any) -> None:
        await upsert(*arguments)
        await setup.catalog.of(Tenant("acme")).members.cancel_batch(setup.store, batch.id)
        await setup.removals.round()  # the rows are gone before they are counted

    setup.index.upsert = cancelled_after  # type: ignore[method-assign]
    await setup.jobs.round()
    assert setup.rows() == []
    assert (await setup.member("a")).state is FileState.CANCELLED
    assert "does not hold" not in caplog.text
    setup.index.upsert = upsert  # type: ignore[method-assign]
    await setup.attach("a", "b")
    assert await setup.jobs.round() == 2
    assert [row.file_id for row in setup.rows()] == ["file-a", "file-b"]


@pytest.mark.parametrize("call", ["put_chunks", "complete", "fail"])
async def test_a_database_that_goes_away_in_the_middle_fails_no_file(
    setup: Setup, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await setup.upload(a_txt="words", b_txt="more", bad_bin=bytes(range(256)))
    await setup.attach("a", "b", "bad")
    await setup.collections.active()

    async def away(*_: Any, **__: Any) -> None:
        raise CatalogUnavailable("away")

    with monkeypatch.context() as broken:
        for name in (call, "release"):  # it cannot give its jobs back either
            broken.setattr(setup.catalog.queue, name, away)
        with pytest.raises(CatalogUnavailable):
            await setup.jobs.round()
    assert await setup.jobs.round() == 0  # the leases run on
    setup.now += 16
    assert await setup.jobs.round() > 0
    assert [row.file_id for row in setup.rows()] == ["file-a", "file-b"]
    states = {name: (await setup.member(name)).state.value for name in ("a", "b", "bad")}
    assert states == {"a": "completed", "b": "completed", "bad": "failed"}


async def test_a_chunk_that_the_index_refuses_fails_its_file_and_no_neighbour(setup: Setup) -> None:
    setup.index.poison = "poison"
    await setup.upload(bad_txt="poison", **{f"n{number}_txt": f"words {number}" for number in range(7)})
    await setup.attach("n0", "n1", "bad", *(f"n{number}" for number in range(2, 7)))
    assert await setup.jobs.round() == 8
    error = (await setup.member("bad")).error
    assert error is not None
    assert (error.code, "bad.txt cannot be indexed" in error.message) == ("invalid_file", True)
    assert {row.file_id for row in setup.rows()} == {f"file-n{number}" for number in range(7)}
    assert setup.index.flushes < 8, "neighbours are still written together"


async def test_a_text_that_the_embedding_model_refuses_fails_its_file_alone(setup: Setup) -> None:
    setup.embedder.poison = "word1499"
    await setup.upload(bad_txt=" ".join(f"word{number}." for number in range(1500)), a_txt="words", b_txt="more")
    await setup.attach("a", "bad", "b")
    await setup.jobs.round()
    assert {name: (await setup.member(name)).state.value for name in ("a", "bad", "b")} == {
        "a": "completed", "bad": "failed", "b": "completed",
    }  # fmt: skip
    while await setup.removals.round():
        pass
    assert {row.file_id for row in setup.rows()} == {"file-a", "file-b"}


async def test_a_chunk_of_too_many_bytes_is_never_embedded(setup: Setup) -> None:
    await setup.upload(a_txt="words")
    await setup.attach("a", attributes={"note": "é" * 40_000})
    await setup.jobs.round()
    error = (await setup.member("a")).error
    assert error is not None
    assert "attributes" in error.message
    assert setup.embedder.fake.embedded == 1  # the dimension was asked for


async def test_a_part_that_fails_on_one_file_only_is_not_away(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    upsert = setup.index.upsert

    async def breaks(collection: str, rows: Any, vectors: Any) -> None:
        if any("cursed" in row.text for row in rows):
            raise KnowledgeUnavailable("Milvus: connection reset")
        await upsert(collection, rows, vectors)

    monkeypatch.setattr(setup.index, "upsert", breaks)
    await setup.upload(bad_txt="cursed")
    await setup.attach("bad")
    for number in range(20):
        name = f"n{number}"
        await setup.upload(**{f"{name}_txt": "words"})
        await setup.attach(name)
        with suppress(KnowledgeUnavailable):
            await setup.jobs.round()
        setup.now += 61
    error = (await setup.member("bad")).error
    assert error is not None
    assert (error.code, "connection reset" in error.message) == ("server_error", True)
    assert len(setup.rows()) == 20


async def test_while_a_part_is_away_it_is_said_which_and_no_file_fails_however_long_it_lasts(setup: Setup) -> None:
    await setup.upload(a_txt="words", b_txt="more")
    await setup.collections.active()
    await setup.attach("a", "b")
    setup.index.away = True
    for _ in range(20):
        with pytest.raises(KnowledgeUnavailable):
            await setup.jobs.round()
        setup.now += 61
    member = await setup.member("a")
    assert (member.state, member.error) == (FileState.IN_PROGRESS, None)
    assert [(pause.cause, pause.message) for pause in await setup.catalog.pauses.all()] == [("index", "Milvus is away")]
    setup.index.away = False
    assert await setup.jobs.round() == 2
    assert await setup.catalog.pauses.all() == []


async def test_a_file_that_kills_the_ingestion_again_and_again_is_given_up(setup: Setup) -> None:
    await setup.upload(a_txt="words", b_txt="more")
    await setup.collections.active()
    await setup.attach("a")
    for number in range(5):  # each time the process dies with it, and the lease runs out
        assert len(await setup.catalog.queue.claim(f"dead {number}", limit=1, lease_s=15)) == 1
        setup.now += 16
    await setup.attach("b")
    await setup.jobs.round()
    error = (await setup.member("a")).error
    assert error is not None
    assert (error.code, "5 times" in error.message) == ("server_error", True)
    assert [row.file_id for row in setup.rows()] == ["file-b"]


async def test_a_file_that_waits_for_its_converter_holds_up_no_other(setup: Setup) -> None:
    release = asyncio.Event()
    convert = setup.converters.convert

    async def slow(tenant: str, name: str, *arguments: Any, **options: Any) -> Any:
        if name == "slow.txt":
            await release.wait()
        return await convert(tenant, name, *arguments, **options)

    setup.converters.convert = slow  # type: ignore[method-assign]
    await setup.upload(slow_txt="words", a_txt="more")
    await setup.attach("slow", "a")
    await setup.jobs.begin()
    async with asyncio.timeout(60):
        while (await setup.member("a")).state is not FileState.COMPLETED:
            await asyncio.sleep(0.01)
    assert (await setup.member("slow")).state is FileState.IN_PROGRESS
    release.set()
    await setup.jobs.idle()
    assert (await setup.member("slow")).state is FileState.COMPLETED


async def test_with_a_full_disk_the_ingestion_waits_and_goes_on_by_itself(setup: Setup, tmp_path: Path) -> None:
    free = 10 << 20
    reserve = StorageReserve({"state": tmp_path / "not" / "there"}, 20 << 20, free=lambda _: free)
    worker = setup.worker("two", reserve=reserve)
    await setup.upload(a_txt="words")
    await setup.attach("a")
    with pytest.raises(StorageFull, match="10 MiB free"):
        await worker.round()
    assert (await setup.member("a")).state is FileState.IN_PROGRESS
    assert [pause.cause for pause in await setup.catalog.pauses.all()] == ["disk"]
    free = 30 << 20
    assert await worker.round() == 1
    assert await setup.catalog.pauses.all() == []


async def test_source_code_is_known_by_its_path_and_its_names(setup: Setup) -> None:
    """Confined as every converter is, with a grammar's library loaded there."""
    text = "import os\n\n\nclass Door:\n    def open(self):\n        return os.close(self.handle())\n"
    await setup.upload(door_py=text)
    await setup.attach("door", attributes={"path": "house/door.py"})
    assert await setup.jobs.round() == 1
    (row,) = setup.rows()
    assert row.text == f"house/door.py\n{text.strip()}"
    names = setup.catalog.of(Tenant("acme")).code_names
    (found,) = await names.find([setup.store], [("open", "")])
    assert (found.record.scope, found.record.kind, found.record.line, found.record.last_line) == (
        "Door", "function", 5, 6,
    )  # fmt: skip
    assert found.chunk.text == row.text
    assert list(await names.called_in([(setup.store, "file-door", 0)])) == ["close", "handle"]
    await setup.attach("door", attributes={"path": "shed/door.py"})
    assert await setup.jobs.round() == 1
    assert {row.text for row in setup.rows()} == {f"shed/door.py\n{text.strip()}"}
    assert len(await names.find([setup.store], [("open", "")])) == 1
