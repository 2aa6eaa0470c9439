"""Searches of a store through the API: gateway, Triton with the real embedding model, Milvus Lite. Rows are written by our own
classes with made-up vectors, so that 100,000 chunks take minutes and not hours; questions are embedded as always."""

import asyncio
import http.client
import json
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from benchmarks.knowledge import ingesting
from benchmarks.knowledge.searching import Rows, wait_until_indexed
from gateway.knowledge.catalog.types import CollectionState
from gateway.knowledge.index import MilvusIndex, Owner
from tests.support.embedded_fleet import EmbeddedFleet

PASSAGES = 10
WARM = 5
"""Searches before those that count."""


async def through_the_api(fleet: EmbeddedFleet, sizes: Sequence[int], queries: int) -> list[dict[str, Any]]:
    """For each size the median and the 99th percentile in ms of hybrid searches for ten passages, one after the other. Raises
    RuntimeError where one finds fewer."""
    catalog = ingesting.catalog_of(fleet)
    index = MilvusIndex(ingesting.milvus_uri(fleet), timeout_s=120)
    found: list[dict[str, Any]] = []
    try:
        with ingesting.ingestion(fleet):  # it makes the collection
            store = await ingesting.attach(fleet, catalog, "searched", range(1))
            await ingesting.completed(catalog, store, 1, within_s=180)
        name = next(each.name for each in await catalog.collections.all() if each.state is CollectionState.ACTIVE)
        rows = Rows(Owner(tenant=ingesting.TENANT.name, store=store))
        for size in sorted(sizes):
            started = time.monotonic()
            for block, vectors in rows.until(size):
                await index.upsert(name, block, vectors)
                await index.flush(name)
            filled_s = time.monotonic() - started
            await asyncio.to_thread(wait_until_indexed, ingesting.milvus_uri(fleet), name, rows.owner)
            took = await asyncio.to_thread(
                _searches_ms, fleet, store, [next(rows.questions) for _ in range(WARM + queries)]
            )
            times = {f"p{p}_ms": float(np.percentile(took[WARM:], p)) for p in (50, 99)}
            found.append({"chunks": size, "fill_s": filled_s, "searches": queries, **times})
    finally:
        await index.close()
        await catalog.close()
    return found


def _searches_ms(fleet: EmbeddedFleet, store: str, questions: Sequence[str]) -> list[float]:
    with closing(http.client.HTTPConnection(urlsplit(fleet.gateway_urls[0]).netloc, timeout=60)) as connection:
        return [_search_ms(connection, fleet.key, store, question) for question in questions]


def _search_ms(connection: http.client.HTTPConnection, key: str, store: str, question: str) -> float:
    body = json.dumps({"query": question, "max_num_results": PASSAGES})
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    started = time.perf_counter()
    connection.request("POST", f"/v1/vector_stores/{store}/search", body, headers)
    answer = connection.getresponse()
    said = answer.read()
    took = 1000 * (time.perf_counter() - started)
    if answer.status != http.client.OK or len(json.loads(said)["data"]) != PASSAGES:
        raise RuntimeError(f"a search for {question!r} was answered with {answer.status}: {said[:300]!r}")
    return took
