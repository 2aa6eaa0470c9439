"""Chunks a second through the whole ingestion, beside sentence-transformers called directly on the same texts."""

import asyncio
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.fleet import Fleet
from benchmarks.knowledge.corpus import document
from gateway.knowledge.catalog.sql import SqlCatalog, catalog_url
from gateway.knowledge.catalog.types import NewMember
from gateway.knowledge.chunking import embedding_folder
from gateway.knowledge.objects import FolderStore, content_key

TENANT = "default"


@contextmanager
def ingestion(fleet: Fleet) -> Iterator[None]:
    """The ingestion as the gateway starts it."""
    base = fleet.port
    environment = {
        **os.environ,
        **fleet.environment,
        "RAGFLEET_HOME": str(fleet.home),
        "RAGFLEET_CONSUL_URL": fleet.consul_url,
        "MILVUS_URI": f"http://127.0.0.1:{base + 8}",
    }
    with (fleet.home / "ingestion.log").open("ab") as log:
        child = subprocess.Popen([sys.executable, "-m", "gateway.ingestion"], env=environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def catalog_of(fleet: Fleet) -> SqlCatalog:
    """The fleet's catalog."""
    return SqlCatalog(catalog_url("", fleet.home))


async def attach(fleet: Fleet, catalog: SqlCatalog, name: str, seeds: Sequence[int]) -> str:
    """A new store with a document for each seed; its id."""
    objects = FolderStore(fleet.home / "objects")
    store = await catalog.create_store(TENANT, name=name)
    members = []
    for seed in seeds:
        file_id = f"file-{hashlib.sha256(f'{store.id}{seed}'.encode()).hexdigest()[:24]}"
        size = await objects.put(content_key(file_id), document(seed).encode())
        await catalog.add_file(
            TENANT, file_id=file_id, filename=f"{seed}.md", purpose="assistants", size=size, sha256="0"
        )
        members.append(NewMember(file_id=file_id))
    await catalog.attach_batch(TENANT, store.id, members)
    return store.id


async def completed(catalog: SqlCatalog, store: str, count: int, *, within_s: float) -> None:
    """Until so many members are."""
    until = time.monotonic() + within_s
    while (counts := (await catalog.store(TENANT, store)).counts).completed < count:
        if counts.failed or time.monotonic() > until:
            raise TimeoutError(f"the ingestion did not end within {within_s:g} s: {counts}")
        await asyncio.sleep(0.1)


async def texts_of(catalog: SqlCatalog, store: str, seeds: Sequence[int]) -> list[str]:
    """Every chunk of a store."""
    made = []
    for seed in seeds:
        file_id = f"file-{hashlib.sha256(f'{store}{seed}'.encode()).hexdigest()[:24]}"
        made += [chunk.text for chunk in await catalog.chunks(TENANT, store, file_id)]
    return made


def directly(texts: Sequence[str], folder: Path | None = None) -> float:
    """Seconds that sentence-transformers takes for these texts, with the threads that it chooses, once it is warm."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder or embedding_folder()), device="cpu", local_files_only=True)
    model.encode(list(texts[:64]), normalize_embeddings=True, show_progress_bar=False)
    started = time.monotonic()
    model.encode(list(texts), batch_size=32, normalize_embeddings=True, show_progress_bar=False)
    return time.monotonic() - started


async def rate(fleet: Fleet, documents: int) -> dict[str, float]:
    """Chunks a second of both."""
    catalog = catalog_of(fleet)
    try:
        warm = await attach(fleet, catalog, "warm", range(8))
        await completed(catalog, warm, 8, within_s=120)
        seeds = range(1000, 1000 + documents)
        started = time.monotonic()
        store = await attach(fleet, catalog, "bench", seeds)
        await completed(catalog, store, documents, within_s=400)
        whole_s = time.monotonic() - started
        texts = await texts_of(catalog, store, seeds)
    finally:
        await catalog.close()
    alone_s = await asyncio.to_thread(directly, texts)
    return {
        "documents": documents,
        "chunks": len(texts),
        "ingested_per_s": len(texts) / whole_s,
        "sentence_transformers_per_s": len(texts) / alone_s,
        "ratio": alone_s / whole_s,
    }
