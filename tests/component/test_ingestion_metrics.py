"""What /metrics says of the ingestion: its queue from the catalog, the rest from its process."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.errors import CatalogUnavailable, KnowledgeUnavailable, ObjectsUnavailable, Unavailable
from gateway.ingestion.chunk_embedder import LocalEmbedder
from gateway.ingestion.metrics import IngestionMetrics, MeasuredEmbedder
from gateway.ingestion.monitor import IngestionMonitor
from gateway.ingestion.process import IngestionProcess
from gateway.ingestion.service import IngestionWork
from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.types import NewMember
from gateway.metrics import Metrics
from gateway.tenants.tenant import Tenant


class World:
    """A catalog with a queue, and a gateway's look at it."""

    def __init__(self, folder: Path) -> None:
        self.now = 1_700_000_000.0
        self.catalog = Catalog(f"sqlite:///{folder / 'catalog.db'}", clock=lambda: self.now)
        self.metrics = Metrics()
        self.watch = IngestionMonitor(self.catalog, self.metrics, None, clock=lambda: self.now)

    async def queue(self, tenant: str, *names: str) -> str:
        store = await self.catalog.of(Tenant(tenant)).stores.create(name="docs")
        for name in names:
            await self.catalog.of(Tenant(tenant)).files.add(
                file_id=name, filename="x", purpose="assistants", size=1, sha256="0"
            )
        await self.catalog.of(Tenant(tenant)).members.attach(store.id, [NewMember(file_id=name) for name in names])
        return store.id

    def samples(self) -> dict[str, float]:
        """Those of the ingestion, as `name` or `name{tenant}`."""
        self.watch.refresh()
        return samples(self.metrics.render()[0])


def samples(text: bytes) -> dict[str, float]:
    return {
        re.sub(r"^ragfleet_ingestion_", "", each.name) + ",".join(f" {v}" for v in each.labels.values()): each.value
        for family in text_string_to_metric_families(text.decode())
        for each in family.samples
        if each.name.startswith("ragfleet_ingestion_")
    }


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    await made.catalog.close()


async def test_the_queue_is_seen_by_tenant_and_age_and_ends(world: World) -> None:
    await world.queue("early", "f1", "f2")
    world.now += 90
    late = await world.queue("late", "f3")
    await world.watch.look()
    world.now += 10
    seen = world.samples()
    assert (seen["files_waiting early"], seen["files_waiting late"]) == (2, 1)
    assert seen["oldest_file_seconds"] == 100
    assert seen["up"] == 0
    await world.catalog.of(Tenant("late")).stores.delete(late)
    await world.watch.look()
    assert "files_waiting late" not in world.samples()


async def test_removals_that_stand_still_grow_old_and_those_that_go_on_do_not(world: World) -> None:
    for name in ("f1", "f2"):
        await world.queue("a", name)
        await world.catalog.of(Tenant("a")).files.delete(name)
    await world.watch.look()
    world.now += 30
    await world.watch.look()
    assert world.samples()["oldest_removal_seconds"] == 30
    waiting = await world.catalog.removals.first(limit=100)
    assert world.samples()["removals_waiting"] == len(waiting)
    await world.catalog.removals.done(waiting[:1])
    await world.watch.look()
    assert world.samples()["oldest_removal_seconds"] == 0
    await world.catalog.removals.done(waiting)
    await world.watch.look()
    assert world.samples()["removals_waiting"] == 0


async def test_while_the_catalog_is_away_what_waited_grows_older(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.queue("a", "f1")
    await world.watch.look()

    async def away() -> None:
        raise CatalogUnavailable("away")

    monkeypatch.setattr(world.catalog.queue, "backlog", away)
    with pytest.raises(CatalogUnavailable):
        await world.watch.look()
    world.now += 50
    assert world.samples()["oldest_file_seconds"] == 50


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (CatalogUnavailable("x"), "catalog"),
        (ObjectsUnavailable("x"), "objects"),
        (KnowledgeUnavailable("x"), "index"),
        (Unavailable("x"), "other"),
    ],
)
async def test_each_pause_is_counted_by_its_cause(error: Unavailable, cause: str) -> None:
    metrics = IngestionMetrics()
    reached = asyncio.Event()

    async def fails() -> int:
        reached.set()
        raise error

    task = asyncio.create_task(IngestionWork(lambda: True, metrics).repeat("jobs", fails))
    await asyncio.wait_for(reached.wait(), 60)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert samples(metrics.render())[f"pauses_total {cause}, jobs"] == 1


async def test_a_fleet_that_does_not_embed_is_told_from_an_index_that_is_away() -> None:
    metrics, embedder = IngestionMetrics(), LocalEmbedder("m")
    measured = MeasuredEmbedder(embedder, metrics)
    await measured.embed("m", ["a", "b"])
    assert samples(metrics.render())["embedded_texts_total"] == 2
    embedder.away = True
    with pytest.raises(KnowledgeUnavailable) as caught:
        await measured.embed("m", ["a"])
    metrics.paused("jobs", caught.value)
    assert samples(metrics.render())["pauses_total embedding, jobs"] == 1


async def test_a_real_process_reports_until_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGFLEET_HOME", str(tmp_path))
    monkeypatch.setenv("RAGFLEET_CONSUL_URL", "http://127.0.0.1:9")  # nobody is there
    process = IngestionProcess(tmp_path / "ingestion.log")
    watch = IngestionMonitor(Catalog(f"sqlite:///{tmp_path / 'catalog.db'}"), Metrics(), process)
    task = asyncio.create_task(process.run())
    try:
        async with asyncio.timeout(60):
            while not (seen := samples(watch.exposition())).get("pauses_total embedding, jobs"):
                await asyncio.sleep(0.1)
        assert (seen["working"], seen["lock_held"], seen["files_in_progress"]) == (1, 0, 0)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert watch.exposition() == b""


async def test_a_report_that_is_old_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    process = IngestionProcess(tmp_path / "log", clock=lambda: now)
    monkeypatch.setattr(IngestionProcess, "pid", 1)
    process._report, process._reported = b"x 1\n", now
    assert process.report == b"x 1\n"
    now += IngestionProcess.FRESH_S
    assert process.report == b""
