"""The wiring: every part of the gateway, made once, started and stopped in order."""

import asyncio
import gc
import logging
import random
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import cache, partial
from math import ceil
from typing import Any

from assistants.profile import Kind
from gateway.admission import Admission, Room, StartWait
from gateway.admission.demand import Demand
from gateway.admission.tenant_permits import TenantPermits
from gateway.assistants.code import CodeAssistant
from gateway.assistants.content import ContentAssistant
from gateway.assistants.data import DataAssistant
from gateway.assistants.directory import AssistantDirectory
from gateway.assistants.files import AssistantFiles
from gateway.assistants.service import AssistantService
from gateway.assistants.support import open_support
from gateway.batches.worker import BatchWorker
from gateway.config import Settings, WithoutQuotas
from gateway.dispatch.dispatcher import Dispatcher
from gateway.dispatch.migrating_generation import Generator
from gateway.dispatch.mirroring import Mirroring
from gateway.dispatch.streams import StreamRegistry
from gateway.errors import CatalogUnavailable
from gateway.fleet.describe import describe_members, states
from gateway.fleet.discovery import ConsulDiscovery
from gateway.fleet.fleet_state import FleetState
from gateway.fleet.model_memory import ModelMemory
from gateway.fleet.models import ServedModels
from gateway.fleet.outlier_detection import OutlierDetector, OutlierSettings, OutlierState, Transition
from gateway.fleet.scraper import MetricsScraper
from gateway.fleet.view import FleetView
from gateway.ingestion.monitor import IngestionMonitor
from gateway.ingestion.process import IngestionProcess
from gateway.knowledge.active_collection import ActiveCollection
from gateway.knowledge.catalog.administration import Administration, audit_file
from gateway.knowledge.catalog.catalog import Catalog, catalog_url
from gateway.knowledge.catalog.database import Database
from gateway.knowledge.catalog.known_models import CatalogModels
from gateway.knowledge.catalog.rollouts import Rollouts
from gateway.knowledge.catalog.sql_ledger import SqlLedger
from gateway.knowledge.catalog.sql_quota_store import SqlQuotaStore
from gateway.knowledge.chunking import embedding_folder
from gateway.knowledge.objects import object_store
from gateway.knowledge.storage_reserve import StorageReserve
from gateway.metrics import Metrics
from gateway.retrieval.access import DocumentAccess
from gateway.retrieval.context import ContextBuilder
from gateway.retrieval.embedding import EmbeddingService
from gateway.retrieval.embedding_tokenizer import EmbeddingTokenizer
from gateway.retrieval.lines import LineIndex
from gateway.retrieval.search import SearchService
from gateway.retrieval.store_resolver import StoreResolver
from gateway.retrieval.symbols import SymbolLookup
from gateway.rollouts.rollout import describe as describe_rollout
from gateway.rollouts.sync import RolloutSync
from gateway.routing import Placer, policies
from gateway.serving.background import BackgroundAnswers
from gateway.serving.citation_check import CitationCheck
from gateway.serving.stored_answers import StoredAnswers
from gateway.supervision import supervised
from gateway.telemetry import Tracing
from gateway.tenants.directory import Directory
from gateway.tenants.directory_sync import DirectorySync
from gateway.tenants.jwks import Jwks
from gateway.tenants.ledger import Ledger
from gateway.tenants.oidc import TokenRules, TokenVerifier
from gateway.tenants.quota_client import QuotaClient
from gateway.tenants.quotas import Quotas
from gateway.tenants.tenant import Tenant
from gateway.tenants.usage import PriceList, UsageReport
from gateway.tls import client_context
from gateway.triton.connection import Pool, get
from gateway.triton.llm import TokenStreams
from tokens.vocabulary import TokenTable

log = logging.getLogger("ragfleet.gateway")

GC_THRESHOLD = 20_000
"""New objects until the collector looks for cycles; Python's 700 are a few requests, each of which leaves next to none."""
IDLE_SCRAPE_S = 1.0
"""Between two readings of an idle instance's metrics, while this gateway has nothing in flight: its own account covers what it
sends in between."""

GATEWAY_SHOWN_S = 300.0
"""A gateway is told of for so long after its last sign of life."""


class Container:
    """All parts of one gateway process. `running()` is its life."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics, self.tracing = Metrics.of(settings), Tracing.from_settings(settings, "ragfleet-gateway")
        self.draining, self.started_at = False, int(time.time())
        """The second in Unix seconds."""
        self.tenants = Directory.from_settings(
            settings.api_key, settings.tenants_file, settings.admin_key, oidc=bool(settings.oidc_issuer)
        )
        self.table = TokenTable.load(settings.tokenizer_dir)
        tls = client_context(settings)
        self.pool = Pool(connect_deadline_s=settings.connect_deadline_s, tls=tls if settings.triton_tls else None)
        self.store = FleetState(time.monotonic)
        self.models = ServedModels(self.store, remembers=settings.start_wait_s > 0)
        self.detector = OutlierDetector(OutlierSettings(), time.monotonic, on_transition=self._outlier_changed)
        rng = random.Random()  # noqa: S311 - breaks ties, guards nothing
        self.placer = Placer(policies.build(settings.policy, rng), time.monotonic, rng)
        self.dispatcher = Dispatcher(self.store, self.placer, self.detector)
        self.admission = Admission(
            lambda: round(self.models.slots * settings.admission_headroom),
            time.monotonic,
            tenant_limit=self._tenant_limit,
            reserve=self._reserve_share,
            limit=settings.admission_queue,
            start=_start_wait(settings),
        )
        # A place for each call of a model, not for each request: one with a thousand texts takes turns with the others', and what
        # waits at the instances is bounded, where the questions of chats want to be embedded, too.
        self.retrieval_admission = Admission(
            lambda: settings.retrieval_places * len(self.store.view.serving),
            time.monotonic,
            limit=settings.retrieval_queue,
            start=_start_wait(settings),
        )
        self.streams = TokenStreams(
            self.pool,
            first_token_deadline_s=settings.first_token_deadline_s,
            token_deadline_s=settings.token_deadline_s,
            gather_s=settings.gather_s,
        )
        self.registry = StreamRegistry(
            self.store, self.detector, self.dispatcher, drain_patience_s=settings.drain_patience_s
        )
        self.generator = Generator(
            dispatcher=self.dispatcher,
            streams=self.streams,
            registry=self.registry,
            # Whoever waits for it has a place already, so their number is bounded.
            prefills=Admission(lambda: sys.maxsize, tenant_limit=self._prefill_limit, limit=sys.maxsize),
            slots=Admission(self._free_slots, reserve=self._reserve_share, limit=sys.maxsize),
            shared=lambda: self.tenants.several,
            settings=settings,
            metrics=self.metrics,
            tracing=self.tracing,
            mirroring=Mirroring(self.dispatcher, self.streams, self.registry, self.metrics, rng),
        )
        self.demand = Demand(
            self.admission,
            stay_s=lambda: self.placer.averages.stay,
            others=[self.retrieval_admission],
            serves=lambda: bool(self.store.view.serving),
            works=lambda: self.ingestion_monitor.waits,
            idle_s=settings.idle_s,
        )
        self._follow_the_fleet()
        self.catalog = Catalog(catalog_url(settings.catalog_url, settings.home))
        self.tenants_sync = DirectorySync(self.tenants, self.catalog.tenants)
        self.tokens = _token_verifier(settings, self.tenants, tls)
        self.administration = Administration(self.catalog.database, audit_file(settings.audit_file, settings.home))
        self.objects = object_store(settings)
        self.reserve = StorageReserve.from_settings(settings)
        self.active = ActiveCollection(self.catalog.collections, time.monotonic)
        access = DocumentAccess(self.catalog.of)
        self.knowledge = StoreResolver(settings, self.catalog.of, self.active, access)
        # Two, so that tokenizing takes no more than its share of a machine, and none of the threads that files are written by.
        self.tokenizing = ThreadPoolExecutor(2, thread_name_prefix="tokenizing")
        # Connections of their own: an answer must not wait for the catalog's, nor wake the ingestion.
        self.accounts = Database(catalog_url(settings.catalog_url, settings.home))
        self.quotas = Quotas(
            QuotaClient(SqlQuotaStore(self.accounts), on_failure=self.metrics.quota_failures.inc),
            open_without_store=settings.quota_unavailable is WithoutQuotas.ALLOW,
            on_refusal=lambda tenant, limit: self.metrics.quota_refused.labels(tenant, limit).inc(),
        )
        self.rollouts_sync = RolloutSync(
            self.dispatcher.rollouts, Rollouts(self.catalog.database, self.administration.trail), self.quotas.gateway
        )
        self.rows = SqlLedger(self.accounts)
        self.ledger = Ledger(
            self.rows,
            self.quotas.gateway,
            keep_s=settings.ledger_days * 86_400,
            on_failure=self.metrics.ledger_failures.inc,
            on_loss=self.metrics.ledger_lost.inc,
        )
        self.prices = None if settings.price_list is None else PriceList.read(settings.price_list)
        self.generation = AssistantService(
            directory=AssistantDirectory.read(settings.assistants_dir),
            kinds={
                Kind.DATA: DataAssistant(settings.home).open,
                Kind.SUPPORT: open_support,
                Kind.CONTENT: ContentAssistant(AssistantFiles(self.catalog.of, self.objects, self.reserve)).open,
                Kind.CODE: CodeAssistant(
                    stores=self.knowledge,
                    search=lambda: self.search,
                    symbols=SymbolLookup(self.catalog.of),
                    lines=LineIndex(self.objects),
                ).open,
            },
            settings=settings,
            quotas=self.quotas,
            ledger=self.ledger,
            admission=TenantPermits(self.admission, settings.admission_deadline_s, self.metrics),
            models=self.models,
            context=ContextBuilder(
                self.dispatcher, self.pool, settings, self.metrics, access=access, tracing=self.tracing
            ),
            generator=self.generator,
            table=self.table,
            threads=self.tokenizing,
            stores=self.knowledge,
            citation_check=CitationCheck(self.objects),
            metrics=self.metrics,
            tracing=self.tracing,
        )
        self.stored = StoredAnswers(self.catalog.of, settings)
        self.background = BackgroundAnswers(
            self.catalog.background, self.catalog.of, settings, keep_s=self.stored.keep_s
        )
        self.batches = BatchWorker(
            self.catalog.batches, self.catalog.of, self.objects, settings, keep_s=self.stored.keep_s
        )
        self.retrieval_places = TenantPermits(self.retrieval_admission, settings.admission_deadline_s, self.metrics)
        self.embeddings = EmbeddingService(
            settings=settings,
            models=self.models,
            dispatcher=self.dispatcher,
            pool=self.pool,
            quotas=self.quotas,
            ledger=self.ledger,
            places=self.retrieval_places,
            threads=self.tokenizing,
            text=_embedding_text(settings),
            metrics=self.metrics,
            tracing=self.tracing,
        )
        self.search = SearchService(
            settings=settings,
            active=self.active,
            access=access,
            symbols=SymbolLookup(self.catalog.of),
            dispatcher=self.dispatcher,
            pool=self.pool,
            places=self.retrieval_places,
            metrics=self.metrics,
            tracing=self.tracing,
        )
        self.ingestion = IngestionProcess(settings.home / "log" / "ingestion.log") if settings.ingestion else None
        if self.ingestion is not None:
            self.catalog.database.on_commit = self.ingestion.tell
        self.ingestion_monitor = IngestionMonitor(
            self.catalog, self.metrics, self.ingestion, fresh_s=settings.slo_freshness_s
        )
        self.discovery = ConsulDiscovery(settings.consul_url, store=self.store, token=settings.consul_token, tls=tls)
        self.scraper = MetricsScraper(
            self.store,
            partial(get, self.pool),
            period_s=settings.scrape_period_s,
            deadline_s=settings.scrape_deadline_s,
            on_scrape=self._scraped,
            idle=self._idle,
            idle_period_s=IDLE_SCRAPE_S,
        )

    def _follow_the_fleet(self) -> None:
        for follow in (self.detector.follow, self.placer.update, self._close_idle):
            self.store.subscribe(follow)
        for admission in self.admission, self.retrieval_admission:
            self.store.subscribe(partial(_refresh, admission))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start the background tasks; on leaving end them."""
        if not self.settings.catalog_url:
            self.settings.home.mkdir(parents=True, exist_ok=True)  # the catalog lies there
        # What is loaded by now stays: the collector need not look at it again and again between tokens.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD)
        loops: dict[str, Callable[[], Awaitable[None]]] = {
            "tenants": self.tenants_sync.run,
            "use of keys": self.tenants_sync.write_use,
            "discovery": self.discovery.run,
            "scraper": self.scraper.run,
            "streams": self.streams.run,
            "rescue": self.registry.run,
            "ingestion's queue": self.ingestion_monitor.run,
            "quotas": self.quotas.run,
            "background answers": self.background.run,
            "journals": self.background.commit,
            "other gateways": self.background.watch,
            "ledger": self.ledger.run,
            "batches": self.batches.run,
            "roll-out": self.rollouts_sync.run,
            "demand": self.demand.run,
        }
        if self.settings.start_wait_s:
            loops["known models"] = ModelMemory(self.models, CatalogModels(self.catalog.database)).run
        if self.tokens is not None:
            loops["identity provider's keys"] = self.tokens.jwks.run
        if self.ingestion is not None:
            loops["ingestion"] = self.ingestion.run
        try:
            async with supervised(loops):
                yield
        finally:
            await self.generator.close()
            await self.batches.close()
            await self.background.close()
            self.pool.close()
            self.tokenizing.shutdown(wait=False, cancel_futures=True)
            await self.quotas.close()
            await self.ledger.close()
            await self.accounts.close()
            await self.catalog.close()
            await self.tracing.close()

    def _idle(self) -> bool:
        return not self.admission.held and not self.retrieval_admission.held

    async def drain(self) -> None:
        """Refuse what is new with a 503 that says so, and wait for the running answers, up to the deadline."""
        self.draining = True
        admissions = self.admission, self.retrieval_admission
        for admission in admissions:
            admission.drain()
        end = time.monotonic() + self.settings.drain_deadline_s
        while any(admission.held for admission in admissions) and time.monotonic() < end:  # noqa: ASYNC110 - some looks at a shutdown need no event
            await asyncio.sleep(0.05)

    def _scraped(self, name: str, answered: bool) -> None:
        """One instance's metrics were read, or not: its load is new, and silence makes it an outlier."""
        self.placer.update(self.store.view, (name,))
        self.detector.scraped(name, answered)

    def _close_idle(self, view: FleetView) -> None:
        """An open idle connection would hold up a leaving Triton until its exit timeout."""
        for member in view.members.values():
            if not member.healthy:  # whoever drains is not, either
                self.pool.close((member.instance.address, member.instance.http_port))

    def _tenant_limit(self) -> int | None:
        """Answers that one tenant may have at a time: some engine slots stay free for whoever else comes."""
        if not self.tenants.several:
            return None
        return int(self.models.slots * (1 - self.settings.admission_reserve))

    def _reserve_share(self) -> float:
        """Of any places, what is left free for a tenant that has none yet."""
        return self.settings.admission_reserve if self.tenants.several else 0.0

    def _free_slots(self) -> int:
        """Engine slots for this gateway's answers; no limit where there is nobody to wait behind."""
        slots, averages = self.models.slots, self.placer.averages
        if not slots or not self.tenants.several:
            return sys.maxsize
        # What the samples show beyond ours is other gateways', or was ours and is being cancelled. Where that leaves nothing, we
        # take turns with the other gateways in the engines' queues.
        others = max(0, averages.sampled_total - averages.sampled_ours)
        return max(slots - others, ceil(slots * self.settings.admission_reserve), 1)

    def _prefill_limit(self) -> int | None:
        """Prompts of one tenant that are read at a time: a newcomer's would wait for all of them."""
        share = self.settings.admission_prefill
        if not share or not self.tenants.several:
            return None
        return max(len(self.store.view.serving), int(self.models.slots * share))

    def _outlier_changed(self, change: Transition) -> None:
        log.info("%s: %s → %s: %s", change.name, change.before, change.after, change.reason)
        if change.after is OutlierState.EJECTED:
            self.metrics.ejections.labels(change.name).inc()
        self.admission.refresh()

    def usage(self, tenant: Tenant | None) -> UsageReport:
        """What a tenant has used, or all of them."""
        return UsageReport(self.rows, None if tenant is None else tenant.name, self.prices)

    @property
    def resting(self) -> bool:
        """Whether nothing serves, and nothing need to: an instance is started when somebody asks."""
        return bool(self.settings.start_wait_s) and not self.store.view.serving and self.store.source_age() is not None

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Whether requests can be served, and the words for it."""
        view = self.store.view
        serving = [m.instance.name for m in view.serving]
        state: dict[str, Any] = {
            "ready": (bool(serving) or self.resting) and not self.draining,
            "serving": serving,
            "out": {m.instance.name: m.reason for m in view.members.values() if m.instance.name not in serving},
            "consul": "answers" if view.source_alive else "does not answer; the last view is served",
        }
        if self.draining:
            state["reason"] = "shutting down"
        elif not serving and self.resting:
            state["reason"] = (
                f"no instance runs; requests wait up to {self.settings.start_wait_s:g} s until one has started"
            )
        elif not serving:
            state["reason"] = "no instance is healthy" if view.members else "no instance is registered"
        return state["ready"], state

    def describe(self) -> dict[str, Any]:
        """The fleet for people and for `ragfleet status`."""
        view = self.store.view
        return {
            "version": view.version,
            "consul_alive": view.source_alive,
            "consul_age_s": self.store.source_age(),
            "policy": self.settings.policy,
            "admission": asdict(self.admission.stats()),
            "demand": {
                "requests": self.demand.requests,
                "instances": self.demand.instances(self.models.slots_each),
                "slots": self.models.slots_each,
                "start_wait_s": self.settings.start_wait_s,
            },
            "retrieval_admission": asdict(self.retrieval_admission.stats()),
            "ingestion": self.ingestion_monitor.describe(),
            "rollout": None if (rollout := self.dispatcher.rollouts.rollout) is None else describe_rollout(rollout),
            "instances": describe_members(view, self.detector, partial(self._placements, self.registry.counts())),
        }

    async def describe_all(self) -> dict[str, Any]:
        """The same for operators, with the answers that run and the gateways of the catalog; without it, this one alone."""
        now, this = time.time(), self.quotas.gateway
        try:
            seen = dict(await self.rows.gateways(now - GATEWAY_SHOWN_S))
        except CatalogUnavailable:
            seen = {}
        seen[this] = now
        return {
            **self.describe(),
            "answers_running": self.generation.recent.running,
            "gateway": {"id": this, "started_at": self.started_at, "draining": self.draining},
            "gateways": [{"id": name, "seen_at": at, "this": name == this} for name, at in sorted(seen.items())],
        }

    def refresh_gauges(self) -> None:
        """Set the gauges that mirror state, at the moment of a scrape."""
        self.metrics.instances.clear()
        for state in states(self.store.view, self.detector).values():
            self.metrics.instances.labels(state).inc()
        self.ingestion_monitor.refresh()
        self.metrics.consul_alive.set(self.store.view.source_alive)
        self.metrics.ledger_waiting.set(self.ledger.waiting)
        self.metrics.in_flight.set(self.admission.held)
        self.metrics.waiting.set(self.admission.waiting)
        self.metrics.retrieval_in_flight.set(self.retrieval_admission.held)
        self.metrics.retrieval_waiting.set(self.retrieval_admission.waiting)
        self.metrics.demand_instances.set(self.demand.instances(self.models.slots_each))
        self.metrics.resting.set(self.resting and self.demand.lacking_s <= self.settings.start_wait_s)
        self._show_rollout()

    def _show_rollout(self) -> None:
        """Of a roll-out whose candidate is in the fleet."""
        gauges = self.metrics
        for gauge in (gauges.rollout, gauges.rollout_share, gauges.rollout_worse, gauges.rollout_good):
            gauge.clear()
        rollouts, rollout = self.dispatcher.rollouts, self.dispatcher.rollouts.rollout
        if rollout is None or not self.dispatcher.candidate_is_there:
            return
        gauges.rollout.labels(rollout.candidate, rollout.state.value).set(1)
        gauges.rollout_share.labels(rollout.candidate).set(rollout.share if rollout.running else 0)
        for measure in rollouts.judgement.measures:
            gauges.rollout_worse.labels(measure.name).set(measure.worse)
            gauges.rollout_good.labels(measure.name).set(measure.good)

    def _placements(self, streams: Mapping[str, int], name: str) -> dict[str, Any]:
        """What this gateway gave an instance: held now, answer tokens since it joined, why it was chosen last."""
        load = self.placer.account(name)
        return {
            "streams": streams.get(name, 0),
            "step_ms": None if load is None or not load.produced else round(load.speed.step_s * 1000, 2),
            "in_flight": 0 if load is None else load.ours + load.context_calls,
            "tokens": 0 if load is None else load.produced,
            "last_placement": "" if load is None else load.last_placement,
        }


def _start_wait(settings: Settings) -> StartWait | None:
    if not settings.start_wait_s:
        return None
    return StartWait(settings.start_wait_s, Room(settings.start_wait_requests, settings.start_wait_bytes))


def _refresh(admission: Admission, _: FleetView) -> None:
    """The fleet changed."""
    admission.refresh()


def _token_verifier(settings: Settings, tenants: Directory, tls: ssl.SSLContext) -> TokenVerifier | None:
    if not settings.oidc_issuer:
        return None
    rules = TokenRules.from_settings(settings)
    return TokenVerifier(rules, Jwks(settings.oidc_issuer, settings.oidc_jwks_url, tls=tls), tenants)


_embedding_tokenizer = cache(EmbeddingTokenizer)
"""Of a folder; read once a process, where tests have many gateways."""


def _embedding_text(settings: Settings) -> EmbeddingTokenizer | None:
    try:
        return _embedding_tokenizer(embedding_folder(settings.embedding_dir))
    except FileNotFoundError as error:
        log.warning("/v1/embeddings is off: %s", error)
        return None
