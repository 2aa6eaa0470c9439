"""Every metric of the gateway, declared once.

An instance of `Metrics` belongs to one application, with a registry of its own, so that nothing is global.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Counters, gauges and histograms by the way of a request."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.requests = Counter(
            "ragfleet_requests",
            "Requests answered, each prompt by itself.",
            ["route", "model", "tenant", "status"],
            registry=r,
        )
        self.authentication_failures = Counter(
            "ragfleet_authentication_failures", "Requests without a key, or with one that nobody has.", registry=r
        )
        self.tokens = Counter("ragfleet_tokens", "Tokens.", ["tenant", "kind"], registry=r)
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
        self.refused = Counter("ragfleet_admission_refused", "Requests refused by admission.", ["tenant"], registry=r)
        self.quota_refused = Counter(
            "ragfleet_quota_refused", "Requests over a limit of their tenant or key.", ["tenant", "limit"], registry=r
        )
        self.quota_failures = Counter(
            "ragfleet_quota_failures", "Times that the limits' database did not answer.", registry=r
        )
        self.ledger_failures = Counter(
            "ragfleet_ledger_failures", "Times that the ledger's database did not answer.", registry=r
        )
        self.ledger_waiting = Gauge("ragfleet_ledger_rows_waiting", "Rows that are still to be written.", registry=r)
        self.ledger_lost = Counter(
            "ragfleet_ledger_rows_lost", "Rows given up, for their database was away too long.", registry=r
        )
        self.migrations = Counter("ragfleet_migrations", "Streams moved to another instance.", ["cause"], registry=r)
        self.migration_gap = Histogram(
            "ragfleet_migration_gap_seconds", "Last token before to first token after.", buckets=SECONDS, registry=r
        )
        self.retries = Counter(
            "ragfleet_retries", "Attempts repeated before a first token.", ["step", "cause"], registry=r
        )
        self.hedges = Counter("ragfleet_context_hedges", "Second context calls started.", ["won"], registry=r)
        self.rewrites = Counter(
            "ragfleet_rewrites", "Follow-up questions by what was searched for them.", ["how"], registry=r
        )
        self.placements = Counter("ragfleet_placements", "Requests given to an instance.", ["instance"], registry=r)
        self.ejections = Counter(
            "ragfleet_ejections", "Instances ejected for their behaviour.", ["instance"], registry=r
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

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self.registry)
