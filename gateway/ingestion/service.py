"""The life of an ingestion process: stand by or work, back off when something is away, end without a loss."""

import asyncio
import functools
import logging
import os
import random
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import aiohttp

from gateway.admission.queue import class_weight
from gateway.config import Settings
from gateway.errors import Unavailable
from gateway.fleet.discovery import ConsulDiscovery
from gateway.fleet.scraper import MetricsScraper
from gateway.fleet.store import FleetStore
from gateway.ingestion.collections import Collections
from gateway.ingestion.conversion import Converters
from gateway.ingestion.embedding import FleetEmbedder
from gateway.ingestion.jobs import Jobs, Refill, Removals
from gateway.ingestion.lock import ConsulLock
from gateway.ingestion.metrics import IngestionMetrics, MeasuredEmbedder, report
from gateway.ingestion.writer import Writer
from gateway.knowledge.catalog.sql import SqlCatalog, catalog_url
from gateway.knowledge.chunking import embedding_folder, token_counter
from gateway.knowledge.index import MilvusIndex
from gateway.knowledge.objects import ObjectStore
from gateway.knowledge.windows import window_of
from gateway.supervision import supervised
from gateway.tenants.directory import Directory
from gateway.triton.connection import Pool, get

log = logging.getLogger("ragfleet.ingestion")

LANES = 2
"""Groups of jobs under way: while one is embedded, the other is converted."""
IDLE_S = 0.3
EXPIRE_EVERY_S = 60.0


async def serve(
    settings: Settings, objects: ObjectStore, stop: asyncio.Event, *, report_to: socket.socket | None = None
) -> None:
    """Ingest until `stop` is set; jobs that are under way are then given back. Metrics are sent to `report_to`."""
    metrics = IngestionMetrics()
    owner = f"{socket.gethostname()}/{os.getpid()}"
    folder = embedding_folder(settings.embedding_dir)
    async with AsyncExitStack() as stack:
        catalog = SqlCatalog(catalog_url(settings.catalog_url, settings.home))
        stack.push_async_callback(catalog.close)
        index = MilvusIndex(settings.milvus_uri, token=settings.milvus_token, replicas=settings.milvus_replicas)
        stack.push_async_callback(index.close)
        converters = Converters(
            folder,
            count=LANES,
            memory_bytes=settings.convert_memory_mb << 20,
            deadline_s=settings.convert_deadline_s,
        )
        stack.push_async_callback(converters.close)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        store = FleetStore(time.monotonic)
        embedder = MeasuredEmbedder(FleetEmbedder(store, http), metrics)
        writer = Writer(index, embedder, count=token_counter(folder), window=window_of(folder))
        collections = Collections(catalog, index, embedder)
        jobs = Jobs(
            catalog=catalog,
            objects=objects,
            index=index,
            collections=collections,
            converters=converters,
            writer=writer,
            owner=owner,
            weights=weights(Directory.from_settings(settings.api_key, settings.tenants_file)),
            metrics=metrics,
        )
        removals, refill = Removals(catalog, objects, index, metrics), Refill(catalog, collections, writer)
        lock = ConsulLock(settings.consul_url, owner, token=settings.consul_token)
        metrics.lock_held.set_function(lambda: lock.held)
        metrics.working.set_function(lambda: lock.may_work)
        work = Work(lambda: lock.may_work, metrics)
        pool = Pool(connect_deadline_s=settings.connect_deadline_s)
        stack.callback(pool.close)
        scrape = functools.partial(get, pool)

        loops: dict[str, Callable[[], Awaitable[None]]] = {
            "discovery": ConsulDiscovery(settings.consul_url, store=store, token=settings.consul_token).run,
            "scraper": MetricsScraper(store, scrape, period_s=0.5, deadline_s=settings.scrape_deadline_s).run,
            "lock": lock.run,
            **{f"lane {number}": lambda: work.repeat("jobs", jobs.round) for number in range(LANES)},
            "removals": lambda: work.repeat("removals", removals.round, idle_s=0.1),
            "refill": lambda: work.repeat("refill", lambda: refill.round(embedder.models()), idle_s=2.0),
            "expiry": lambda: work.repeat("expiry", catalog.expire, idle_s=EXPIRE_EVERY_S),
        }
        if report_to is not None:
            loops["report"] = functools.partial(report, metrics, report_to)
        async with supervised(loops):
            await stop.wait()


def weights(tenants: Directory) -> dict[str, float]:
    """Shares in the ingestion, as admission has them: a tenant's weight, times that of its priority class."""
    return {tenant.name: tenant.weight * class_weight(tenant.priority) for tenant in tenants.tenants()}


class Work:
    """Rounds, one after the other, while this process may work; with pauses where there is nothing to do or something is away."""

    def __init__(
        self, may_work: Callable[[], bool], metrics: IngestionMetrics, *, rng: random.Random | None = None
    ) -> None:
        self._may_work = may_work
        self._metrics = metrics
        self._rng = rng or random.Random()  # noqa: S311 - jitter, guards nothing

    async def repeat(self, name: str, work: Callable[[], Awaitable[int]], *, idle_s: float = IDLE_S) -> None:
        """Until cancelled. `work` gives how much it did: after something the next round follows at once."""
        failures = 0
        while True:
            done = 0
            if self._may_work():
                try:
                    done = await work()
                    failures = 0
                except Unavailable as error:
                    failures += 1
                    self._metrics.paused(name, error)
                    log.warning("%s: %s", name, error)
            pause = min(idle_s * 2.0**failures, max(10.0, idle_s)) if failures or not done else 0.0
            await asyncio.sleep(pause * self._rng.uniform(0.7, 1.0))
