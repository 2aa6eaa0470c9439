"""Search in Milvus Lite at several sizes: dense, and hybrid as retrieval does it."""

import random
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
from pymilvus import AnnSearchRequest, MilvusClient, RRFRanker

from benchmarks.knowledge.corpus import WORDS, question
from gateway.knowledge.index import MilvusIndex, Owner, Row

DIMENSION = 384


async def latencies(uri: str, size: int, queries: int) -> dict[str, float]:
    """Milliseconds at the median and the 99th percentile in a collection of `size` rows, and seconds to fill it."""
    name = f"bench_{size}"
    index = MilvusIndex(uri, timeout_s=120)
    rng = np.random.default_rng(size)
    centres = rng.normal(size=(64, DIMENSION)).astype(np.float32)
    words = random.Random(size)

    def vectors(count: int) -> Any:
        made = centres[rng.integers(64, size=count)] + 0.7 * rng.normal(size=(count, DIMENSION)).astype(np.float32)
        return made / np.linalg.norm(made, axis=1, keepdims=True)

    owner = Owner(tenant="bench", store="vs_bench")
    started = time.monotonic()
    await index.ensure(name, DIMENSION)
    for first in range(0, size, 5000):
        rows = [
            Row(
                tenant=owner.tenant, store=owner.store, file_id="file-0", filename="a.md", index=number,
                text=" ".join(words.choices(WORDS, k=120)), page=0, start=0, end=1,
            )
            for number in range(first, min(size, first + 5000))
        ]  # fmt: skip
        await index.upsert(name, rows, vectors(len(rows)))
        await index.flush(name)
    filled_s = time.monotonic() - started
    with closing(MilvusClient(uri, timeout=60)) as client:

        def dense(number: int, vector: Any) -> Any:
            return client.search(
                name, [vector], anns_field="dense", filter=owner.filter, limit=5, output_fields=["text"]
            )

        def hybrid(number: int, vector: Any) -> Any:
            arms = [
                AnnSearchRequest([vector], "dense", {}, 30, expr=owner.filter),
                AnnSearchRequest([question(number)], "sparse", {}, 30, expr=owner.filter),
            ]
            return client.hybrid_search(name, arms, RRFRanker(60), limit=5, output_fields=["text"])

        found = {"rows": float(size), "fill_s": filled_s}
        for search in (dense, hybrid):
            found |= _timed(search, vectors(queries + 3))
    await index.drop(name)
    await index.close()
    return found


def _timed(search: Callable[[int, Any], Any], vectors: Any) -> dict[str, float]:
    took = []
    for number, vector in enumerate(vectors):
        started = time.perf_counter()
        search(number, vector)
        took.append(1000 * (time.perf_counter() - started))
    took = took[3:]  # the first ones load what is needed
    return {f"{search.__name__}_p{p}_ms": float(np.percentile(took, p)) for p in (50, 99)}  # type: ignore[attr-defined]
