"""The wiring: every part of the gateway, made once. `lifespan.py` starts and ends them."""

import logging
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from assistants.profile import AssistantKind
from gateway.admission import Admission, StartWait
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
from gateway.config import Settings
from gateway.dispatch.dispatcher import Dispatcher
from gateway.dispatch.migrating_generation import Generator
from gateway.dispatch.mirroring import Mirroring
from gateway.dispatch.streams import StreamRegistry
from gateway.dispatch.tenant_shares import TenantShares
from gateway.fleet.discovery import ConsulDiscovery
from gateway.fleet.fleet_state import FleetState
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
from gateway.knowledge.catalog.rollouts import Rollouts
from gateway.knowledge.catalog.sql_ledger import SqlLedger
from gateway.knowledge.catalog.sql_quota_store import SqlQuotaStore
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
from gateway.rollouts.sync import RolloutSync
from gateway.routing import Placer, policies
from gateway.serving.background import BackgroundAnswers
from gateway.serving.citation_check import CitationCheck
from gateway.serving.stored_answers import StoredAnswers
from gateway.setting_values import WithoutQuotas
from gateway.siblings import Siblings
from gateway.telemetry import Tracing
from gateway.tenants.directory import Directory
from gateway.tenants.directory_sync import DirectorySync
from gateway.tenants.ledger import Ledger
from gateway.tenants.oidc import TokenVerifier
from gateway.tenants.quota_client import QuotaClient
from gateway.tenants.quotas import Quotas
from gateway.tenants.tenant import Tenant
from gateway.tenants.usage import PriceList, UsageReport
from gateway.tls import client_context
from gateway.triton.connection import Pool, get
from gateway.triton.llm import TokenStreams
from tokens.vocabulary import TokenTable

log = logging.getLogger("ragfleet.gateway")

IDLE_SCRAPE_S = 1.0
"""Between two readings of an idle instance's metrics, while this gateway has nothing in flight: its own account covers what it
sends in between."""


class Container:
    """All parts of one gateway process, in the order in which they stand on each other."""

    siblings: Siblings | None = None
    """The other processes behind the same port, where there are several."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics, self.tracing = Metrics.of(settings), Tracing.from_settings(settings, "ragfleet-gateway")
        self.draining, self.started_at = False, int(time.time())
        """The second in Unix seconds."""
        self.tenants = Directory.from_settings(
            settings.api_key, settings.tenants_file, settings.admin_key, oidc=bool(settings.oidc_issuer)
        )
        tls = client_context(settings)
        rng = random.Random()  # noqa: S311 - breaks ties, guards nothing

        # The fleet: who is there, who is trusted, who gets the next request.
        self.store = FleetState(time.monotonic)
        self.models = ServedModels(self.store, remembers=settings.start_wait_s > 0)
        self.detector = OutlierDetector(OutlierSettings(), time.monotonic, on_transition=self._outlier_changed)
        self.placer = Placer(policies.build(settings.policy, rng), time.monotonic, rng)
        self.dispatcher = Dispatcher(self.store, self.placer, self.detector)
        self.pool = Pool(connect_deadline_s=settings.connect_deadline_s, tls=tls if settings.triton_tls else None)
        self.discovery = ConsulDiscovery(settings.consul_url, store=self.store, token=settings.consul_token, tls=tls)
        self.scraper = MetricsScraper(
            self.store,
            partial(get, self.pool),
            period_s=settings.scrape_period_s,
            deadline_s=settings.scrape_deadline_s,
            on_scrape=self._scraped,
            idle=lambda: not self.admission.held and not self.retrieval_admission.held,
            idle_period_s=IDLE_SCRAPE_S,
        )

        # Places: of answers, and of searches and embeddings. Of the latter a place is for each call of a model, not for each
        # request: one with a thousand texts takes turns with the others', and what waits at the instances is bounded, where the
        # questions of chats want to be embedded, too.
        self.shares = TenantShares(settings, self.tenants, self.store, self.models, self.placer)
        self.admission = Admission(
            lambda: round(self.models.slots * settings.admission_headroom),
            time.monotonic,
            tenant_limit=self.shares.answers,
            reserve=self.shares.reserve,
            limit=settings.admission_queue,
            start=StartWait.from_settings(settings),
        )
        self.retrieval_admission = Admission(
            lambda: settings.retrieval_places * len(self.store.view.serving),
            time.monotonic,
            tenant_limit=self.shares.searches,
            limit=settings.retrieval_queue,
            start=StartWait.from_settings(settings),
        )
        self.retrieval_places = TenantPermits(
            self.retrieval_admission, settings.admission_deadline_s, self.metrics, self.shares.presence
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

        # Generations: streams of token ids, moved from instance to instance.
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
            prefills=Admission(lambda: sys.maxsize, tenant_limit=self.shares.prefills, limit=sys.maxsize),
            slots=Admission(self.shares.free_slots, reserve=self.shares.reserve, limit=sys.maxsize),
            shared=lambda: self.tenants.several,
            settings=settings,
            metrics=self.metrics,
            tracing=self.tracing,
            mirroring=Mirroring(self.dispatcher, self.streams, self.registry, self.metrics, rng),
        )

        # The catalog: rows, contents, and the process that makes an index of them.
        self.catalog = Catalog(catalog_url(settings.catalog_url, settings.home))
        self.objects = object_store(settings)
        self.reserve = StorageReserve.from_settings(settings)
        self.administration = Administration(self.catalog.database, audit_file(settings.audit_file, settings.home))
        self.ingestion = (
            IngestionProcess(settings.home / "log" / "ingestion.log", answering=self.placer.answering)
            if settings.ingestion
            else None
        )
        if self.ingestion is not None:
            self.catalog.database.on_commit = self.ingestion.tell
        self.ingestion_monitor = IngestionMonitor(
            self.catalog, self.metrics, self.ingestion, fresh_s=settings.slo_freshness_s
        )

        # Tenants: their keys, their limits, what they have used.
        self.tenants_sync = DirectorySync(self.tenants, self.catalog.tenants)
        self.tokens = TokenVerifier.from_settings(settings, self.tenants, tls)
        # Connections of their own: an answer must not wait for the catalog's, nor wake the ingestion.
        self.accounts = Database(catalog_url(settings.catalog_url, settings.home))
        self.quotas = Quotas(
            QuotaClient(SqlQuotaStore(self.accounts), on_failure=self.metrics.quota_failures.inc),
            open_without_store=settings.quota_unavailable is WithoutQuotas.ALLOW,
            on_refusal=lambda tenant, limit: self.metrics.quota_refused.labels(tenant, limit).inc(),
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
        self.rollouts_sync = RolloutSync(
            self.dispatcher.rollouts, Rollouts(self.catalog.database, self.administration.trail), self.quotas.gateway
        )

        # Retrieval: which stores, what was found, whose documents.
        self.active = ActiveCollection(self.catalog.collections, time.monotonic)
        access, symbols = DocumentAccess(self.catalog.of), SymbolLookup(self.catalog.of)
        self.knowledge = StoreResolver(settings, self.catalog.of, self.active, access)
        # Two, so that tokenizing takes no more than its share of a machine, and none of the threads that files are written by.
        self.tokenizing = ThreadPoolExecutor(2, thread_name_prefix="tokenizing")
        self.embeddings = EmbeddingService(
            settings=settings,
            models=self.models,
            dispatcher=self.dispatcher,
            pool=self.pool,
            quotas=self.quotas,
            ledger=self.ledger,
            places=self.retrieval_places,
            threads=self.tokenizing,
            text=EmbeddingTokenizer.from_settings(settings),
            metrics=self.metrics,
            tracing=self.tracing,
        )
        self.search = SearchService(
            settings=settings,
            active=self.active,
            access=access,
            symbols=symbols,
            dispatcher=self.dispatcher,
            pool=self.pool,
            places=self.retrieval_places,
            metrics=self.metrics,
            tracing=self.tracing,
        )

        # Answers, and what is kept of them.
        self.generation = AssistantService(
            directory=AssistantDirectory.read(settings.assistants_dir),
            kinds={
                AssistantKind.DATA: DataAssistant(settings.home).open,
                AssistantKind.SUPPORT: open_support,
                AssistantKind.CONTENT: ContentAssistant(
                    AssistantFiles(self.catalog.of, self.objects, self.reserve)
                ).open,
                AssistantKind.CODE: CodeAssistant(
                    stores=self.knowledge, search=self.search, symbols=symbols, lines=LineIndex(self.objects)
                ).open,
            },
            settings=settings,
            quotas=self.quotas,
            ledger=self.ledger,
            admission=TenantPermits(self.admission, settings.admission_deadline_s, self.metrics, self.shares.presence),
            models=self.models,
            context=ContextBuilder(
                self.dispatcher,
                self.pool,
                settings,
                self.metrics,
                access=access,
                # Whoever waits for it has a place already, so their number is bounded.
                places=TenantPermits(
                    Admission(lambda: sys.maxsize, tenant_limit=self.shares.searches, limit=sys.maxsize),
                    settings.request_deadline_s,
                    self.metrics,
                    self.shares.presence,
                ),
                tracing=self.tracing,
            ),
            generator=self.generator,
            table=TokenTable.load(settings.tokenizer_dir),
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
            self.catalog.batches,
            self.catalog.of,
            self.objects,
            settings,
            keep_s=self.stored.keep_s,
            present=self.tenants.present,
        )

    def _follow_the_fleet(self) -> None:
        """Tell whoever stands on the fleet of each change of it."""
        for follow in (self.detector.follow, self.placer.update, self._close_idle):
            self.store.subscribe(follow)
        for admission in self.admission, self.retrieval_admission:
            self.store.subscribe(partial(_refresh, admission))

    def _scraped(self, name: str, answered: bool) -> None:
        """One instance's metrics were read, or not: its load is new, and silence makes it an outlier."""
        self.placer.update(self.store.view, (name,))
        self.detector.scraped(name, answered)

    def _close_idle(self, view: FleetView) -> None:
        """An open idle connection would hold up a leaving Triton until its exit timeout."""
        for member in view.members.values():
            if not member.healthy:  # whoever drains is not, either
                self.pool.close((member.instance.address, member.instance.http_port))

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


def _refresh(admission: Admission, _: FleetView) -> None:
    """The fleet changed."""
    admission.refresh()
