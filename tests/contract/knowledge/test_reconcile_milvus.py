"""`ragfleet reconcile` as a process, on a real Milvus Lite, SQLite and a folder; the ingestion's own parts do the repair."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from gateway.config import Settings
from gateway.ingestion.removals import Removals
from gateway.ingestion.writer import IndexEntry, Writer
from gateway.knowledge.catalog.catalog import Catalog, catalog_url
from gateway.knowledge.catalog.types import ChunkRecord, Collection, NewMember
from gateway.knowledge.embedder import FakeEmbedder, Vectors
from gateway.knowledge.index import MilvusIndex, Owner
from gateway.knowledge.objects import ObjectStore, content_key, document_key, object_store
from gateway.tenants.tenant import Tenant

CHUNKS = [ChunkRecord(index=i, text=f"words {i}", page=1, start=i, end=i + 1) for i in range(3)]


class LocalEmbedder:
    """The fake embedder as the writer wants one."""

    def models(self) -> list[str]:
        return ["fake"]

    async def embed(self, model: str, texts: list[str], *, tenant: str = "") -> Vectors:
        assert model == "fake"
        return FakeEmbedder().embed(texts)


@dataclass
class World:
    """The three, opened as the command opens them."""

    home: Path
    uri: str
    catalog: Catalog
    index: MilvusIndex
    objects: ObjectStore
    collection: Collection

    async def ingest(self) -> None:
        """Do all removals, then all jobs, of files that have CHUNKS in them."""
        while await Removals(self.catalog, self.objects, self.index).round():
            pass
        writer = Writer(self.index, LocalEmbedder(), count=lambda text: len(text.split()), window=256)
        for job in await self.catalog.queue.claim("w", limit=99, lease_s=60):
            await self.catalog.queue.put_chunks(job, CHUNKS, usage_bytes=9)
            assert (await writer.write(self.collection, [IndexEntry(job.member, CHUNKS, True)])).whole
            await self.catalog.queue.complete(job, self.collection.name)

    async def command(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Its exit status, and what it printed."""
        environment = {**os.environ, "RAGFLEET_HOME": str(self.home), "MILVUS_URI": self.uri}
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "ragfleet", "reconcile", "--json", *arguments],
            env=environment,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.stdout, done.stderr.decode()
        return done.returncode, json.loads(done.stdout)


@pytest.fixture
async def world(milvus_uri: str, tmp_path: Path) -> AsyncIterator[World]:
    catalog = Catalog(catalog_url("", tmp_path))
    index = MilvusIndex(milvus_uri)
    collection = await catalog.collections.add(f"test_{uuid4().hex}", embedding_model="fake", dimension=384)
    yield World(tmp_path, milvus_uri, catalog, index, object_store(Settings(home=tmp_path)), collection)
    await index.drop(collection.name)
    await index.close()
    await catalog.close()


@pytest.mark.timeout(300)
@pytest.mark.slow
async def test_what_differs_is_told_repaired_and_gone(world: World) -> None:
    name = world.collection.name
    await world.index.ensure(name, 384)
    store = await world.catalog.of(Tenant("a")).stores.create(name="books")
    for file in ("f1", "f2", "f3"):
        size = await world.objects.put(content_key(file), b"12345")
        await world.objects.put(document_key(file), b"{}")
        await world.catalog.of(Tenant("a")).files.add(
            file_id=file, filename="x.md", purpose="user_data", size=size, sha256="0"
        )
    await world.catalog.of(Tenant("a")).members.attach(
        store.id, [NewMember(file_id=file) for file in ("f1", "f2", "f3")]
    )
    await world.ingest()
    status, told = await world.command()
    assert (status, told["agree"], told["members"], told["differences"]) == (0, True, 3, [])

    await world.index.delete(name, Owner(tenant="a", store=store.id, file_id="f1"))
    await world.catalog.of(Tenant("a")).members.detach(store.id, "f2")
    await world.catalog.removals.done(await world.catalog.removals.first(limit=9))  # as if it had been done
    await world.objects.put(content_key("gone"), b"x")
    os.utime(world.home / "objects" / content_key("gone"), (1, 1))
    status, told = await world.command()
    found = {(each["kind"], each["file_id"]) for each in told["differences"]}
    assert found == {("missing_rows", "f1"), ("orphan_rows", "f2"), ("orphan_object", "gone")}
    assert (status, told["agree"]) == (1, False)

    status, told = await world.command("--repair")
    assert status == 0
    assert all(each["being_repaired"] for each in told["differences"])
    await world.ingest()
    status, told = await world.command()
    assert (status, told["agree"], told["jobs"], told["removals"]) == (0, True, 0, 0)
    rows = await world.index.members(name)
    assert rows == {("a", store.id, "f1"): {2: 3}, ("a", store.id, "f3"): {1: 3}}
    assert not (world.home / "objects/files/gone").exists()

    await world.objects.delete_prefix("files/f3/")
    status, told = await world.command("--repair")
    assert status == 1
    assert [(each["kind"], each["being_repaired"]) for each in told["differences"]] == [
        ("missing_object", False),
        ("missing_document", False),
    ]
