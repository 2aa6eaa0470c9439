"""Chunks a second through the whole ingestion, beside sentence-transformers called directly on the same texts."""

import asyncio
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks.knowledge.corpus import document
from benchmarks.knowledge.cpu import seconds_by_part
from gateway.knowledge.catalog.catalog import Catalog, catalog_url
from gateway.knowledge.catalog.types import NewMember
from gateway.knowledge.chunking import embedding_folder
from gateway.knowledge.objects import FolderStore, content_key
from gateway.tenants.tenant import Tenant
from tests.support.embedded_fleet import EmbeddedFleet

TENANT = Tenant("default")


@contextmanager
def ingestion(fleet: EmbeddedFleet) -> Iterator[None]:
    """The ingestion as the gateway starts it."""
    environment = {
        **os.environ,
        **fleet.environment,
        "RAGFLEET_HOME": str(fleet.home),
        "RAGFLEET_CONSUL_URL": fleet.consul_url,
        "MILVUS_URI": milvus_uri(fleet),
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


def milvus_uri(fleet: EmbeddedFleet) -> str:
    """The embedded fleet's Milvus Lite."""
    return f"http://127.0.0.1:{fleet.port + 8}"


def catalog_of(fleet: EmbeddedFleet) -> Catalog:
    """The fleet's catalog."""
    return Catalog(catalog_url("", fleet.home))


async def attach(fleet: EmbeddedFleet, catalog: Catalog, name: str, seeds: Sequence[int]) -> str:
    """A new store with a document for each seed, to be brought in; its id."""
    objects = FolderStore(fleet.home / "objects")
    store = await catalog.of(TENANT).stores.create(name=name)
    members = []
    for seed in seeds:
        file_id = _file_id(store.id, seed)
        size = await objects.put(content_key(file_id), document(seed).encode())
        await catalog.of(TENANT).files.add(
            file_id=file_id, filename=f"{seed}.md", purpose="assistants", size=size, sha256="0"
        )
        members.append(NewMember(file_id=file_id))
    await catalog.of(TENANT).members.attach_batch(store.id, members)
    return store.id


async def completed(catalog: Catalog, store: str, count: int, *, within_s: float) -> None:
    """Until so many members are."""
    until = time.monotonic() + within_s
    while (counts := (await catalog.of(TENANT).stores.get(store)).counts).completed < count:
        if counts.failed or time.monotonic() > until:
            raise TimeoutError(f"the ingestion did not end within {within_s:g} s: {counts}")
        await asyncio.sleep(0.1)


async def texts_of(catalog: Catalog, store: str, seeds: Sequence[int]) -> list[str]:
    """Every chunk of a store."""
    return [
        chunk.text for seed in seeds for chunk in await catalog.of(TENANT).members.chunks(store, _file_id(store, seed))
    ]


def _file_id(store: str, seed: int) -> str:
    return f"file-{hashlib.sha256(f'{store}{seed}'.encode()).hexdigest()[:24]}"


class Direct:
    """sentence-transformers as its documentation calls it, with the threads that it chooses: one for each core."""

    def __init__(self) -> None:
        import torch
        import transformers
        from sentence_transformers import SentenceTransformer

        transformers.utils.logging.disable_progress_bar()
        self.threads = torch.get_num_threads()
        self._model = SentenceTransformer(str(embedding_folder()), device="cpu", local_files_only=True)

    def seconds(self, texts: Sequence[str]) -> tuple[float, float]:
        """For these texts, once it is warm: on the clock, and of CPU."""
        self._model.encode(list(texts[:64]), normalize_embeddings=True, show_progress_bar=False)
        started, used = time.monotonic(), time.process_time()
        self._model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return time.monotonic() - started, time.process_time() - used


async def rate(fleet: EmbeddedFleet, documents: int, rounds: int) -> dict[str, Any]:
    """Chunks a second of both, one after the other, round by round: the machine may change its speed meanwhile."""
    catalog, direct = catalog_of(fleet), await asyncio.to_thread(Direct)
    found: list[dict[str, float]] = []
    cpu: dict[str, float] = {}
    direct_cpu_s = 0.0
    try:
        warm = await attach(fleet, catalog, "warm", range(8))
        await completed(catalog, warm, 8, within_s=120)
        for number in range(rounds):
            seeds = range(1000 * (number + 1), 1000 * (number + 1) + documents)
            before, started = seconds_by_part(str(fleet.home)), time.monotonic()
            store = await attach(fleet, catalog, f"bench {number}", seeds)
            await completed(catalog, store, documents, within_s=400)
            whole_s = time.monotonic() - started
            for part, seconds in seconds_by_part(str(fleet.home)).items():
                cpu[part] = cpu.get(part, 0.0) + max(0.0, seconds - before.get(part, 0.0))
            texts = await texts_of(catalog, store, seeds)
            alone_s, alone_cpu_s = await asyncio.to_thread(direct.seconds, texts)
            direct_cpu_s += alone_cpu_s
            found.append({"chunks": len(texts), "whole_s": whole_s, "alone_s": alone_s, "ratio": alone_s / whole_s})
    finally:
        await catalog.close()
    chunks = sum(each["chunks"] for each in found)
    return {
        "documents": documents * rounds,
        "chunks": chunks,
        "threads": direct.threads,
        "ingested_per_s": chunks / sum(each["whole_s"] for each in found),
        "sentence_transformers_per_s": chunks / sum(each["alone_s"] for each in found),
        "ratio": float(np.median([each["ratio"] for each in found])),
        "rounds": found,
        "direct_cpu_ms_a_chunk": 1000 * direct_cpu_s / chunks,
        "cpu_ms_a_chunk": {part: 1000 * cpu[part] / chunks for part in sorted(cpu, key=lambda part: -cpu[part])},
    }
