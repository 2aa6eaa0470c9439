"""The wiring: every part of the gateway, made once, started and stopped in order."""

import asyncio
import gc
import logging
import random
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from gateway.admission import Admission
from gateway.config import Settings
from gateway.fleet.discovery import ConsulDiscovery
from gateway.fleet.outlier_detection import OutlierDetector, OutlierSettings, OutlierState, Transition
from gateway.fleet.scraper import MetricsScraper
from gateway.fleet.store import FleetStore
from gateway.ingestion.process import IngestionProcess
from gateway.ingestion.watch import IngestionWatch
from gateway.knowledge.active import ActiveCollection
from gateway.knowledge.catalog.sql import SqlCatalog, catalog_url
from gateway.knowledge.chunking import embedding_folder
from gateway.knowledge.objects import object_store
from gateway.metrics import Metrics
from gateway.retrieval.admission import RetrievalAdmission
from gateway.retrieval.context import ContextBuilder
from gateway.retrieval.embedding import EmbeddingService
from gateway.retrieval.embedding_tokenizer import EmbeddingTokenizer
from gateway.retrieval.search import SearchService
from gateway.retrieval.store_resolver import StoreResolver
from gateway.routing import Placer, policies
from gateway.serving.chats import ChatService
from gateway.serving.citation_check import CitationCheck
from gateway.serving.completion import CompletionService
from gateway.serving.engines import Engines
from gateway.tenants.directory import Directory
from gateway.triton.connection import Pool, fetch
from gateway.triton.errors import Cause, InstanceError
from gateway.triton.llm import TokenStreams
from tokens.table import TokenTable

log = logging.getLogger("ragfleet.gateway")


class Container:
    """All parts of one gateway process. `running()` is its life."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.draining = False
        self.tenants = Directory.from_settings(settings.api_key, settings.tenants_file)
        self.table = TokenTable.load(settings.tokenizer_dir)
        self.pool = Pool(connect_deadline_s=settings.connect_deadline_s)
        self.store = FleetStore(time.monotonic)
        self.trust = OutlierDetector(OutlierSettings(), time.monotonic, on_transition=self._trust_changed)
        rng = random.Random()  # noqa: S311 - breaks ties, guards nothing
        self.placer = Placer(policies.build(settings.policy, rng), time.monotonic, rng)
        self.engines = Engines(
            store=self.store,
            placer=self.placer,
            trust=self.trust,
            pool=self.pool,
            drain_patience_s=settings.drain_patience_s,
        )
        self.admission = Admission(
            lambda: round(self.engines.capacity() * settings.admission_headroom),
            time.monotonic,
            limit=settings.admission_queue,
        )
        self.streams = TokenStreams(
            self.pool,
            first_token_deadline_s=settings.first_token_deadline_s,
            token_deadline_s=settings.token_deadline_s,
            gather_s=settings.gather_s,
        )
        self.store.subscribe(lambda _: self.admission.refresh())
        self.catalog = SqlCatalog(catalog_url(settings.catalog_url, settings.home))
        self.objects = object_store(settings)
        self.active = ActiveCollection(self.catalog, time.monotonic)
        self.knowledge = StoreResolver(settings, self.catalog, self.active)
        self.chat = ChatService(
            settings=settings,
            admission=self.admission,
            engines=self.engines,
            context=ContextBuilder(self.engines, self.pool, settings, self.metrics),
            streams=self.streams,
            table=self.table,
            knowledge=self.knowledge,
            passages=CitationCheck(self.objects),
            metrics=self.metrics,
        )
        self.completions = CompletionService(
            settings=settings,
            chat=self.chat,
            engines=self.engines,
            streams=self.streams,
            table=self.table,
            metrics=self.metrics,
        )
        self.retrieval_places = RetrievalAdmission(settings, self.store, self.metrics)
        self.embeddings = EmbeddingService(
            settings=settings,
            store=self.store,
            engines=self.engines,
            pool=self.pool,
            places=self.retrieval_places,
            text=_embedding_text(settings),
            metrics=self.metrics,
        )
        self.search = SearchService(
            settings=settings,
            active=self.active,
            engines=self.engines,
            pool=self.pool,
            places=self.retrieval_places,
            metrics=self.metrics,
        )
        log_file = settings.home / "log" / "ingestion.log"
        self.ingestion = IngestionProcess(log_file) if settings.ingestion else None
        self.ingestion_watch = IngestionWatch(self.catalog, self.metrics, self.ingestion)
        self.discovery = ConsulDiscovery(settings.consul_url, store=self.store, token=settings.consul_token)
        self.scraper = MetricsScraper(
            self.store,
            self._scrape,
            period_s=settings.scrape_period_s,
            deadline_s=settings.scrape_deadline_s,
            heard=self.engines.heard,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start the background tasks; on leaving end them."""
        if not self.settings.catalog_url:
            self.settings.home.mkdir(parents=True, exist_ok=True)  # the catalog lies there
        # What is loaded by now stays: the collector need not look at it again and again between tokens.
        gc.collect()
        gc.freeze()
        work: list[tuple[str, Any]] = [
            ("discovery", self.discovery.run),
            ("scraper", self.scraper.run),
            ("streams", self.streams.run),
            ("rescue", self.engines.run),
        ]
        work.append(("ingestion's queue", self.ingestion_watch.run))
        if self.ingestion is not None:
            work.append(("ingestion", self.ingestion.run))
        tasks = [asyncio.create_task(_supervised(name, run), name=name) for name, run in work]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.pool.close()
            await self.catalog.close()

    async def drain(self) -> None:
        """Refuse what is new with a 503 that says so, and wait for the running answers, up to the deadline."""
        self.draining = True
        admissions = self.admission, self.retrieval_places.admission
        for admission in admissions:
            admission.drain()
        end = time.monotonic() + self.settings.drain_deadline_s
        while any(admission.held for admission in admissions) and time.monotonic() < end:  # noqa: ASYNC110 - some looks at a shutdown need no event
            await asyncio.sleep(0.05)

    def _trust_changed(self, change: Transition) -> None:
        log.info("%s: %s → %s: %s", change.name, change.before, change.after, change.reason)
        if change.after is OutlierState.EJECTED:
            self.metrics.ejections.labels(change.name).inc()
        self.admission.refresh()

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Whether requests can be served, and the words for it."""
        view = self.store.view
        serving = [m.instance.name for m in view.serving]
        state: dict[str, Any] = {
            "ready": bool(serving) and not self.draining,
            "serving": serving,
            "out": {m.instance.name: m.reason for m in view.members.values() if m.instance.name not in serving},
            "consul": "answers" if view.source_alive else "does not answer; the last view is served",
        }
        if self.draining:
            state["reason"] = "shutting down"
        elif not serving:
            state["reason"] = "no instance is healthy" if view.members else "no instance is registered"
        return state["ready"], state

    def describe(self) -> dict[str, Any]:
        """The fleet for people and for `ragfleet status`."""
        view = self.store.view
        return {
            "version": view.version,
            "consul_alive": view.source_alive,
            "policy": self.settings.policy,
            "admission": asdict(self.admission.stats()),
            "retrieval_admission": asdict(self.retrieval_places.admission.stats()),
            "instances": self.engines.describe(),
        }

    def refresh_gauges(self) -> None:
        """Set the gauges that mirror state, at the moment of a scrape."""
        self.metrics.instances.clear()
        for instance in self.engines.describe():
            self.metrics.instances.labels(instance["state"]).inc()
        self.ingestion_watch.refresh()
        self.metrics.consul_alive.set(self.store.view.source_alive)
        self.metrics.in_flight.set(self.admission.held)
        self.metrics.waiting.set(self.admission.waiting)
        self.metrics.retrieval_in_flight.set(self.retrieval_places.admission.held)
        self.metrics.retrieval_waiting.set(self.retrieval_places.admission.waiting)

    async def _scrape(self, address: str, port: int, path: str, deadline_s: float) -> bytes:
        status, body = await fetch(self.pool, "GET", address, port, path, deadline_s=deadline_s)
        if status != 200:
            raise InstanceError(Cause.ENGINE, f"HTTP status {status}")
        return body


def _embedding_text(settings: Settings) -> EmbeddingTokenizer | None:
    try:
        return EmbeddingTokenizer(embedding_folder(settings.embedding_dir))
    except FileNotFoundError as error:
        log.warning("/v1/embeddings is off: %s", error)
        return None


async def _supervised(name: str, run: Any) -> None:
    """Run a loop for ever: what it did not foresee is logged, and it starts again."""
    while True:
        try:
            work: Coroutine[Any, Any, None] = run()
            await work
        except Exception:
            log.exception("background task %s failed; it starts again in 1 s", name)
        await asyncio.sleep(1)
