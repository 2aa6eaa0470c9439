"""The life of an ingestion process: stand by or work, back off when something is away, end without a loss."""

import asyncio
import contextlib
import functools
import logging
import os
import random
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import aiohttp

from gateway.admission.fair_queue import class_weight
from gateway.config import Settings
from gateway.errors import CatalogUnavailable, Unavailable
from gateway.fleet.discovery import ConsulDiscovery
from gateway.fleet.fleet_state import FleetState
from gateway.fleet.scraper import MetricsScraper
from gateway.ingestion import confinement
from gateway.ingestion.answer_watch import AnswerWatch
from gateway.ingestion.backfill import Backfill
from gateway.ingestion.chunk_embedder import FleetEmbedder
from gateway.ingestion.converter_pool import Converters
from gateway.ingestion.index_collections import Collections
from gateway.ingestion.jobs import Jobs
from gateway.ingestion.lock import ConsulLock
from gateway.ingestion.metrics import IngestionMetrics, MeasuredEmbedder, report
from gateway.ingestion.removals import Removals
from gateway.ingestion.writer import Writer
from gateway.knowledge.catalog.catalog import Catalog, catalog_url
from gateway.knowledge.catalog.queue import IngestionQueue
from gateway.knowledge.chunking import embedding_folder, token_counter
from gateway.knowledge.index import MilvusIndex
from gateway.knowledge.objects import ObjectStore
from gateway.knowledge.storage_reserve import StorageReserve
from gateway.knowledge.text_windows import window_of
from gateway.supervision import supervised
from gateway.telemetry import Tracing
from gateway.tenants.directory import Directory
from gateway.tenants.directory_sync import DirectorySync
from gateway.tls import client_context
from gateway.triton.connection import Pool, get

log = logging.getLogger("ragfleet.ingestion")

CONVERTERS = 2
"""Files that are converted at the same time."""
LOOK_S = 2.0
"""Between two looks at the queue that nobody asked for. Our gateway tells us of its own changes at once."""
LOOK_SHARED_S = 0.5
"""The same where other gateways may fill the queue, which do not tell us."""
PAUSE_S = 0.3
"""From one look to the next at the least, and a loop's first pause after a failure."""
BACKFILL_EVERY_S = 10.0
EXPIRE_EVERY_S = 60.0
TENANTS_EVERY_S = 10.0
"""Between two looks at the tenants' weights and limits."""
SCRAPE_S, IDLE_SCRAPE_S = 0.5, 10.0
"""Between two readings of an instance's metrics while there is something to embed, and while there is not."""


async def serve(
    settings: Settings,
    objects: ObjectStore,
    stop: asyncio.Event,
    news: asyncio.Event,
    *,
    report_to: socket.socket | None = None,
) -> None:
    """Ingest until `stop` is set; jobs that are under way are then given back. Metrics are sent to `report_to`.

    news: set by whoever knows that there may be work; we set it, too, when we may begin to work.
    """
    for lack in confinement.missing():
        log.warning("converters are not confined as they should be: %s", lack)
    metrics = IngestionMetrics()
    owner = f"{socket.gethostname()}/{os.getpid()}"
    folder = embedding_folder(settings.embedding_dir)
    tracing = Tracing.from_settings(settings, "ragfleet-ingestion")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(tracing.close)
        catalog = Catalog(catalog_url(settings.catalog_url, settings.home))
        stack.push_async_callback(catalog.close)
        index = MilvusIndex.from_settings(settings)
        stack.push_async_callback(index.close)
        directory = Directory.from_settings(settings.api_key, settings.tenants_file)
        shares, budgets = weights(directory), converter_budgets(directory)
        converters = Converters(
            folder,
            count=CONVERTERS,
            memory_bytes=settings.convert_memory_mb << 20,
            deadline_s=settings.convert_deadline_s,
            ocr_languages=settings.ocr_languages,
            scratch=settings.home.resolve() / "convert",
            budgets=budgets,
        )
        stack.push_async_callback(converters.close)
        tls = client_context(settings)
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)))
        store = FleetState(time.monotonic)
        instances = FleetEmbedder(
            store,
            http,
            tls=settings.triton_tls,
            weights=shares,
            answers=None if report_to is None else AnswerWatch(report_to),
            yield_s=settings.ingestion_yield_s,
        )
        embedder = MeasuredEmbedder(instances, metrics)
        writer = Writer(index, embedder, count=token_counter(folder), window=window_of(folder), tracing=tracing)
        collections = Collections(catalog, index, embedder)
        lock = ConsulLock(settings.consul_url, owner, token=settings.consul_token, tls=tls, changed=news)
        metrics.lock_held.set_function(lambda: lock.held)
        metrics.working.set_function(lambda: lock.may_work)
        work = IngestionWork(lambda: lock.may_work, metrics)
        jobs = Jobs(
            catalog=catalog,
            objects=objects,
            index=index,
            collections=collections,
            converters=converters,
            writer=writer,
            owner=owner,
            weights=shares,
            metrics=metrics,
            ended=work.wake,
            reserve=StorageReserve.from_settings(settings),
            tracing=tracing,
        )
        stack.push_async_callback(jobs.close)
        removals, backfill = Removals(catalog, objects, index, metrics), Backfill(catalog, collections, writer)
        pool = Pool(connect_deadline_s=settings.connect_deadline_s, tls=tls if settings.triton_tls else None)
        stack.callback(pool.close)
        scrape = functools.partial(get, pool)

        loops: dict[str, Callable[[], Awaitable[None]]] = {
            "discovery": ConsulDiscovery(settings.consul_url, store=store, token=settings.consul_token, tls=tls).run,
            "scraper": MetricsScraper(
                store,
                scrape,
                period_s=SCRAPE_S,
                deadline_s=settings.scrape_deadline_s,
                idle=lambda: not instances.busy,
                idle_period_s=IDLE_SCRAPE_S,
            ).run,
            "lock": lock.run,
            "tenants": lambda: follow_tenants(DirectorySync(directory, catalog.tenants), directory, shares, budgets),
            "queue": lambda: work.look(catalog.queue, news, LOOK_S if catalog.database.is_sqlite else LOOK_SHARED_S),
            "jobs": lambda: work.repeat("jobs", jobs.begin),
            "leases": jobs.keep_leases,
            "removals": lambda: work.repeat("removals", removals.round),
            "backfill": lambda: work.repeat(
                "backfill", lambda: backfill.round(embedder.models()), every_s=BACKFILL_EVERY_S
            ),
            "expiry": lambda: work.repeat("expiry", catalog.removals.expire, every_s=EXPIRE_EVERY_S),
        }
        if report_to is not None:
            loops["report"] = functools.partial(report, metrics, report_to)
        async with supervised(loops):
            await stop.wait()


async def follow_tenants(
    sync: DirectorySync,
    directory: Directory,
    shares: dict[str, float],
    budgets: dict[str, float],
    *,
    every_s: float = TENANTS_EVERY_S,
) -> None:
    """Keep the shares and budgets as administrators set them; until cancelled."""
    while True:
        await sync.look()
        shares.update(weights(directory))
        found = converter_budgets(directory)
        budgets.update(found)
        for tenant in budgets.keys() - found.keys():
            del budgets[tenant]
        await asyncio.sleep(every_s)


def weights(tenants: Directory) -> dict[str, float]:
    """Shares in the ingestion, as admission has them: a tenant's weight, times that of its priority class."""
    return {tenant.name: tenant.weight * class_weight(tenant.priority) for tenant in tenants.tenants()}


def converter_budgets(tenants: Directory) -> dict[str, float]:
    """Seconds of converters a minute, of the tenants that have such a limit."""
    limits = {tenant.name: tenant.limits.converter_seconds_per_minute for tenant in tenants.tenants()}
    return {name: float(limit) for name, limit in limits.items() if limit is not None}


class IngestionWork:
    """Rounds, one after the other, while this process may work; with pauses where there is nothing to do or something is away.

    Loops without work wait until `look` finds something in the queue, or another loop has done something.
    """

    def __init__(
        self, may_work: Callable[[], bool], metrics: IngestionMetrics, *, rng: random.Random | None = None
    ) -> None:
        self._may_work = may_work
        self._metrics = metrics
        self._rng = rng or random.Random()  # noqa: S311 - jitter, guards nothing
        self._waiting: set[asyncio.Event] = set()

    async def look(self, queue: IngestionQueue, news: asyncio.Event, every_s: float) -> None:
        """Look at the queue when there is news, and every so often; until cancelled."""
        may = False
        while True:
            news.clear()
            started = time.monotonic()
            before, may = may, self._may_work()
            if may:
                with contextlib.suppress(CatalogUnavailable):  # the loops find out by themselves, and tell
                    backlog = await queue.backlog()
                    if backlog.waiting or backlog.removals or not before:
                        self.wake()
            # What comes one by one is not looked for one by one; and counting takes a twentieth of the time at the most.
            await asyncio.sleep(max(PAUSE_S, 20 * (time.monotonic() - started)))
            await _within(news, every_s * self._rng.uniform(0.7, 1.0))

    def wake(self) -> None:
        """There may be work for loops that wait."""
        for event in self._waiting:
            event.set()

    async def repeat(self, name: str, work: Callable[[], Awaitable[int]], *, every_s: float | None = None) -> None:
        """Until cancelled. `work` gives how much it did: after something the next round follows at once.

        every_s: the pause after a round that did nothing; None: until there may be work.
        """
        failures = 0
        woken = asyncio.Event()
        if every_s is None:
            self._waiting.add(woken)
        while True:
            done = 0
            woken.clear()
            if self._may_work():
                try:
                    done = await work()
                    failures = 0
                except Unavailable as error:
                    failures += 1
                    self._metrics.paused(name, error)
                    log.warning("%s: %s", name, error)
            if failures:
                await asyncio.sleep(min(PAUSE_S * 2.0**failures, 10.0) * self._rng.uniform(0.7, 1.0))
            elif done:
                self.wake()  # what this loop did may be what another waited for
                await asyncio.sleep(0)
            else:
                pause = every_s if every_s is None or self._may_work() else min(every_s, LOOK_S)
                await _within(woken, None if pause is None else pause * self._rng.uniform(0.7, 1.0))


async def _within(event: asyncio.Event, seconds: float | None) -> None:
    # Not wait_for: in Python 3.11 it loses a cancellation that comes when the event is set already, as at our end.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
