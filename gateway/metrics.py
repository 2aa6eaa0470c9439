"""Every metric of the gateway, declared once; docs/metrics.md is made from it.

An instance of `Metrics` belongs to one application, with a registry of its own, so that nothing is global.
"""

from collections.abc import Iterator
from typing import Self

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from gateway.capped_metrics import CappedCounter, Gauge, Histogram
from gateway.config import Settings

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
GENAI_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
GENAI_TTFT = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
GENAI_TPOT = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5)
GENAI_TOKENS = tuple(4**power for power in range(14))
"""Bounds of buckets that OpenTelemetry's GenAI conventions name."""
GENAI = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")
DEFAULT_CLASS = "default"
"""Of tenants for which no class is named, and of what belongs to no tenant."""
SLOS = ("availability", "ttft", "inter_token_latency", "freshness")


class Metrics:
    """Counters, gauges and histograms by the way of a request."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.requests = CappedCounter(
            "ragfleet_requests",
            "Requests answered, each prompt by itself.",
            ["route", "model", "tenant", "status"],
            registry=r,
        )
        self.authentication_failures = CappedCounter(
            "ragfleet_authentication_failures", "Requests without a key, or with one that nobody has.", registry=r
        )
        self.tokens = CappedCounter("ragfleet_tokens", "Tokens.", ["tenant", "kind"], registry=r)
        self.ttft = Histogram(
            "ragfleet_time_to_first_token_seconds",
            "Request in to first token out.",
            ["rag"],
            buckets=SECONDS,
            registry=r,
        )
        self.duration = Histogram(
            "ragfleet_request_duration_seconds", "Request in to last byte out.", ["rag"], buckets=SECONDS, registry=r
        )
        self.context_duration = Histogram(
            "ragfleet_context_seconds", "Prompt building and retrieval.", ["rag"], buckets=SECONDS, registry=r
        )
        self.admission_wait = Histogram(
            "ragfleet_admission_wait_seconds", "Waiting for a place.", buckets=SECONDS, registry=r
        )
        self.refused = CappedCounter(
            "ragfleet_admission_refused", "Requests refused by admission.", ["tenant"], registry=r
        )
        self.quota_refused = CappedCounter(
            "ragfleet_quota_refused", "Requests over a limit of their tenant or key.", ["tenant", "limit"], registry=r
        )
        self.quota_failures = CappedCounter(
            "ragfleet_quota_failures", "Times that the limits' database did not answer.", registry=r
        )
        self.ledger_failures = CappedCounter(
            "ragfleet_ledger_failures", "Times that the ledger's database did not answer.", registry=r
        )
        self.ledger_waiting = Gauge("ragfleet_ledger_rows_waiting", "Rows that are still to be written.", registry=r)
        self.ledger_lost = CappedCounter(
            "ragfleet_ledger_rows_lost", "Rows given up, for their database was away too long.", registry=r
        )
        self.migrations = CappedCounter(
            "ragfleet_migrations", "Streams moved to another instance.", ["cause"], registry=r
        )
        self.migration_gap = Histogram(
            "ragfleet_migration_gap_seconds", "Last token before to first token after.", buckets=SECONDS, registry=r
        )
        self.retries = CappedCounter(
            "ragfleet_retries", "Attempts repeated before a first token.", ["step", "cause"], registry=r
        )
        self.hedges = CappedCounter("ragfleet_context_hedges", "Second context calls started.", ["won"], registry=r)
        self.rewrites = CappedCounter(
            "ragfleet_rewrites", "Follow-up questions by what was searched for them.", ["how"], registry=r
        )
        self.placements = CappedCounter(
            "ragfleet_placements", "Requests given to an instance.", ["instance"], registry=r
        )
        self.ejections = CappedCounter(
            "ragfleet_ejections", "Instances ejected for their behaviour.", ["instance"], registry=r
        )
        self.demand_instances = Gauge(
            "ragfleet_demand_instances",
            "Instances that this gateway's traffic will need when one started now would serve; add up the gateways'.",
            registry=r,
        )
        self.resting = Gauge(
            "ragfleet_resting",
            "1 while no instance serves and none need to: one is started for requests that wait, none longer than it may take.",
            registry=r,
        )
        self.rollout = Gauge(
            "ragfleet_rollout",
            "1 for the newest roll-out and its state, while its candidate is in the fleet.",
            ["candidate", "state"],
            registry=r,
        )
        self.rollout_share = Gauge(
            "ragfleet_rollout_share", "Share of the requests that go to the candidate.", ["candidate"], registry=r
        )
        self.rollout_worse = Gauge(
            "ragfleet_rollout_evidence_worse",
            "Evidence that the candidate is worse in something, as a share of what rolls it back.",
            ["measure"],
            registry=r,
        )
        self.rollout_good = Gauge(
            "ragfleet_rollout_evidence_good",
            "Evidence that it is not worse by the stated step, as a share of what promotes it.",
            ["measure"],
            registry=r,
        )
        self.rollout_mirrored = CappedCounter(
            "ragfleet_rollout_mirrored",
            "Mirrored requests by what came of them: compared, failed, refused, no place.",
            ["result"],
            registry=r,
        )
        self.instances = Gauge("ragfleet_instances", "Members of the fleet.", ["state"], registry=r)
        self.consul_alive = Gauge(
            "ragfleet_consul_alive", "1 while Consul answers; at 0 the last view is served.", registry=r
        )
        self.in_flight = Gauge("ragfleet_in_flight", "Requests that hold a permit.", registry=r)
        self.waiting = Gauge("ragfleet_admission_waiting", "Requests that wait for a place.", registry=r)
        self.retrieval_in_flight = Gauge(
            "ragfleet_retrieval_in_flight", "Calls of searches and embeddings that hold a place.", registry=r
        )
        self.retrieval_waiting = Gauge(
            "ragfleet_retrieval_waiting", "Calls of searches and embeddings that wait for a place.", registry=r
        )
        self.ingestion_up = Gauge(
            "ragfleet_ingestion_up", "1 while this gateway's ingestion process reports.", registry=r
        )
        self.ingestion_waiting = Gauge(
            "ragfleet_ingestion_files_waiting",
            "Files on their way into stores, in progress included.",
            ["tenant"],
            registry=r,
        )
        self.ingestion_oldest = Gauge(
            "ragfleet_ingestion_oldest_file_seconds", "How long the first of them has waited.", registry=r
        )
        self.removals_waiting = Gauge(
            "ragfleet_ingestion_removals_waiting",
            "Deleted files and stores that are still to be cleared away.",
            registry=r,
        )
        self.removals_oldest = Gauge(
            "ragfleet_ingestion_oldest_removal_seconds", "How long the same one has been the first of them.", registry=r
        )

        self.genai_duration = Histogram(
            "gen_ai_server_request_duration_seconds",
            "Request in to last byte out, by OpenTelemetry's name; error_type is the HTTP status of a failure.",
            [*GENAI, "error_type"],
            buckets=GENAI_SECONDS,
            registry=r,
        )
        self.genai_ttft = Histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "Request in to first token out, by OpenTelemetry's name.",
            GENAI,
            buckets=GENAI_TTFT,
            registry=r,
        )
        self.genai_tpot = Histogram(
            "gen_ai_server_time_per_output_token_seconds",
            "From the first token to the end, for each token but the first, of requests for one answer.",
            GENAI,
            buckets=GENAI_TPOT,
            registry=r,
        )
        self.genai_tokens = Histogram(
            "gen_ai_client_token_usage",
            "Tokens of a request, by OpenTelemetry's name: input or output.",
            [*GENAI, "gen_ai_token_type"],
            buckets=GENAI_TOKENS,
            registry=r,
        )
        self.slo_events = CappedCounter(
            "ragfleet_slo_events",
            "Events that an objective promises something of.",
            ["slo", "tenant_class"],
            registry=r,
        )
        self.slo_breaches = CappedCounter(
            "ragfleet_slo_breaches", "Those in which it was not kept.", ["slo", "tenant_class"], registry=r
        )
        self.slo_objective = Gauge(
            "ragfleet_slo_objective",
            "Share of the events in which it shall be kept (RAGFLEET_SLO_…).",
            ["slo"],
            registry=r,
        )

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """With the service level objectives that alerts go by."""
        metrics = cls()
        objectives = (
            settings.slo_availability,
            settings.slo_ttft,
            settings.slo_inter_token,
            settings.slo_freshness,
        )
        for slo, objective in zip(SLOS, objectives, strict=True):
            metrics.slo_objective.labels(slo).set(objective)
        return metrics

    def slo_event(self, slo: str, tenant_class: str, kept: bool) -> None:
        """Something happened that the objective is about. Both series begin with the first one, or a rate would miss it."""
        self.slo_events.labels(slo, tenant_class).inc()
        breaches = self.slo_breaches.labels(slo, tenant_class)
        if not kept:
            breaches.inc()

    def render(self, accept: str = "", more: bytes = b"") -> tuple[bytes, str]:
        """The exposition and its content type: OpenMetrics, with exemplars, for who asks for it, else Prometheus's text.

        more: another process's exposition as text, to be given out with it.
        """
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):  # a version that is none
            encode, content_type = choose_encoder("")
        if content_type.startswith("application/openmetrics"):
            return encode(_Joined(self.registry, more.decode())), content_type
        return encode(self.registry) + more, content_type


class _Joined:
    """A registry's metrics and those of an exposition."""

    def __init__(self, registry: CollectorRegistry, text: str) -> None:
        self._registry = registry
        self._text = text

    def collect(self) -> Iterator[Metric]:
        yield from self._registry.collect()
        yield from text_string_to_metric_families(self._text)
