"""Search at several sizes of a collection, by the code that the `retrieval` model runs: its dense arm, BM25, both fused."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymilvus import DataType, MilvusClient

from benchmarks.knowledge.corpus import Language
from gateway.knowledge.index import MilvusIndex, Owner, Row
from retrieval_search import HybridSearch, Query, RetrievalSettings

DIMENSION = 384
WORDS_OF_A_TEXT = 100
WORDS_OF_A_QUESTION = 7
BLOCK = 5000
OWNER = Owner(tenant="bench", store="vs_bench")


class Rows:
    """Texts, and vectors around 64 centres, block after block, the same in each run."""

    def __init__(self, owner: Owner = OWNER) -> None:
        self.owner = owner
        self._rng = np.random.default_rng(1)
        self._centres = self._rng.normal(size=(64, DIMENSION)).astype(np.float32)
        language = Language(1)
        self._texts = language.texts(WORDS_OF_A_TEXT)
        self.questions = language.texts(WORDS_OF_A_QUESTION)
        self._made = 0

    def vectors(self, count: int) -> NDArray[np.float32]:
        """float32 (count, DIMENSION), rows of length 1."""
        noise = self._rng.normal(size=(count, DIMENSION)).astype(np.float32)
        made = self._centres[self._rng.integers(64, size=count)] + 0.7 * noise
        vectors: NDArray[np.float32] = made / np.linalg.norm(made, axis=1, keepdims=True)
        return vectors

    def until(self, size: int) -> Iterator[tuple[list[Row], NDArray[np.float32]]]:
        """What is missing of so many rows."""
        while self._made < size:
            numbers = range(self._made, min(size, self._made + BLOCK))
            self._made = numbers.stop
            rows = [
                Row(
                    tenant=self.owner.tenant, store=self.owner.store, file_id="file-0", filename="a.md", index=number,
                    text=text, page=0, start=0, end=len(text),
                )
                for number, text in zip(numbers, self._texts, strict=False)
            ]  # fmt: skip
            yield rows, self.vectors(len(rows))


async def milvus_lite(uri: str, sizes: Sequence[int], queries: int) -> list[dict[str, Any]]:
    """One row of the table for each size: the collection of the ingestion, written and searched as it is in use."""
    index = MilvusIndex(uri, timeout_s=120)
    rows, name, found = Rows(), "bench_lite", []
    try:
        await index.ensure(name, DIMENSION)
        for size in sorted(sizes):
            started = time.monotonic()
            for block, vectors in rows.until(size):
                await index.upsert(name, block, vectors)
                await index.flush(name)
            filled_s = time.monotonic() - started
            await asyncio.to_thread(wait_until_indexed, uri, name)
            arms = ("dense", "bm25", "minmax")
            found.append(
                {"milvus": "Lite", "rows": size, "fill_s": filled_s, **await _latencies(uri, name, rows, arms, queries)}
            )
        await index.drop(name)
    finally:
        await index.close()
    return found


async def milvus_server(uri: str, sizes: Sequence[int], queries: int, version: str) -> list[dict[str, Any]]:
    """As above, dense only: servers before 2.5 have no BM25."""
    rows, name, found = Rows(), "bench_server", []
    with closing(MilvusClient(uri, timeout=60)) as client:
        await asyncio.to_thread(_make, client, name)
        for size in sorted(sizes):
            started = time.monotonic()
            for block, vectors in rows.until(size):
                await asyncio.to_thread(_insert, client, name, block, vectors)
            await asyncio.to_thread(client.flush, name)
            filled_s = time.monotonic() - started
            await asyncio.to_thread(wait_until_indexed, uri, name)
            latencies = await _latencies(uri, name, rows, ("dense",), queries)
            found.append({"milvus": version, "rows": size, "fill_s": filled_s, **latencies})
    return found


async def _latencies(uri: str, name: str, rows: Rows, arms: Sequence[str], queries: int) -> dict[str, float]:
    """Milliseconds at the median and the 99th percentile, one query after the other, for five passages."""
    found: dict[str, float] = {}
    search = HybridSearch(RetrievalSettings(uri, deadline_s=60))
    try:
        for arm in arms:
            took = []
            for vector, text in zip(rows.vectors(queries + 3), rows.questions, strict=False):
                query = Query(
                    text=text, vector=vector, collection=name, filter=OWNER.filter, top_k=5, min_score=-1, ranker=arm
                )
                started = time.perf_counter()
                passages = await search.search(query)
                took.append(1000 * (time.perf_counter() - started))
                if len(passages) != 5:
                    raise RuntimeError(f"{name}: {len(passages)} passages instead of 5 for '{text}' by {arm}")
            label = "hybrid" if arm == "minmax" else arm
            # The first three load what is needed.
            found |= {f"{label}_p{p}_ms": float(np.percentile(took[3:], p)) for p in (50, 99)}
    finally:
        await search.close()
    return found


def _make(client: MilvusClient, name: str) -> None:
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=256)
    schema.add_field("tenant", DataType.VARCHAR, is_partition_key=True, max_length=256)
    for field in ("store", "file_id", "filename"):
        schema.add_field(field, DataType.VARCHAR, max_length=256)
    schema.add_field("text", DataType.VARCHAR, max_length=65535)
    for field in ("index", "page", "start", "end", "generation"):
        schema.add_field(field, DataType.INT64)
    schema.add_field("attributes", DataType.JSON)
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=DIMENSION)
    indices = MilvusClient.prepare_index_params()
    indices.add_index("dense", index_type="AUTOINDEX", metric_type="COSINE")
    client.create_collection(name, schema=schema, index_params=indices, consistency_level="Bounded")
    client.load_collection(name)


def _insert(client: MilvusClient, name: str, rows: Sequence[Row], vectors: NDArray[np.float32]) -> None:
    for first in range(0, len(rows), 500):
        part = zip(rows[first : first + 500], vectors[first : first + 500], strict=True)
        client.insert(name, [{**asdict(row), "id": row.id, "dense": vector} for row, vector in part])


def wait_until_indexed(uri: str, name: str, owner: Owner = OWNER) -> None:
    """Until search has its speed: indices are made, and small segments joined, in the background."""
    vector = [1.0] + [0.0] * (DIMENSION - 1)
    best, steady = float("inf"), 0
    with closing(MilvusClient(uri, timeout=60)) as client:
        for _ in range(60):
            started = time.perf_counter()
            for _ in range(5):
                client.search(name, [vector], anns_field="dense", filter=owner.filter, limit=5)
            now = time.perf_counter() - started
            steady = steady + 1 if now > 0.9 * best else 0
            best = min(best, now)
            if steady == 3:
                return
            time.sleep(0.5)
