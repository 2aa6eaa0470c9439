"""What an ingestion process counts, and how its gateway comes to know it.

The process sends its exposition text every second through a socket that it got from the gateway (process.py); the gateway
gives it out with its own at /metrics. So nothing more has to be reached, registered or guarded than the gateway.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from gateway.errors import CatalogUnavailable, KnowledgeUnavailable, ObjectsUnavailable, StorageFull, Unavailable
from gateway.ingestion.chunk_embedder import ChunkEmbedder
from gateway.knowledge.embedder import Vectors

REPORT_S = 1.0
SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
CAUSES = ("catalog", "objects", "disk", "embedding", "index", "other")
"""What can be away."""
NO_EMBEDDING = "embedding_unavailable"


class IngestionMetrics:
    """Each metric of the ingestion process, declared once. Names begin with `ragfleet_ingestion_`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.working = Gauge(
            "ragfleet_ingestion_working", "1 while it works: it holds the lock, or Consul is away.", registry=r
        )
        self.lock_held = Gauge("ragfleet_ingestion_lock_held", "1 while it holds the lock in Consul.", registry=r)
        self.jobs = Gauge("ragfleet_ingestion_files_in_progress", "Files that it has claimed.", registry=r)
        self.files = Counter(
            "ragfleet_ingestion_files",
            "Files that it brought to an end: completed, failed (by code), or released: to be done later.",
            ["outcome", "code"],
            registry=r,
        )
        self.chunks = Counter("ragfleet_ingestion_chunks", "Chunks of completed files.", registry=r)
        self.embedded = Counter(
            "ragfleet_ingestion_embedded_texts", "Chunks, or pieces of long ones, that became vectors.", registry=r
        )
        self.removals = Counter("ragfleet_ingestion_removals", "Deleted files and stores cleared away.", registry=r)
        self.pauses = Counter(
            "ragfleet_ingestion_pauses", "Rounds that ended because something was away.", ["loop", "cause"], registry=r
        )
        self.steps = Histogram(
            "ragfleet_ingestion_step_seconds",
            "prepare: one file, read, converted and cut. write: a group of files, embedded and written.",
            ["step"],
            buckets=SECONDS,
            registry=r,
        )
        for step in ("prepare", "write"):
            self.steps.labels(step)
        # A counter that begins with its first event hides that one from every rate.
        self.files.labels("completed", "")
        for code in ("invalid_file", "unsupported_file", "server_error"):
            self.files.labels("failed", code)
        for cause in CAUSES:
            self.pauses.labels("jobs", cause)

    def paused(self, loop: str, error: Unavailable) -> None:
        """A round of this loop ended with this error."""
        self.pauses.labels(loop, cause_of(error)).inc()

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step that ends well."""
        started = time.monotonic()
        yield
        self.steps.labels(name).observe(time.monotonic() - started)

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self.registry)


def cause_of(error: Unavailable) -> str:
    """What is away: one of CAUSES."""
    if isinstance(error, CatalogUnavailable):
        return "catalog"
    if isinstance(error, ObjectsUnavailable):
        return "objects"
    if isinstance(error, StorageFull):
        return "disk"
    if error.code == NO_EMBEDDING:
        return "embedding"
    return "index" if isinstance(error, KnowledgeUnavailable) else "other"


class MeasuredEmbedder:
    """Counts what another embedder embeds, and tells its failures from the index's."""

    def __init__(self, embedder: ChunkEmbedder, metrics: IngestionMetrics) -> None:
        self._embedder = embedder
        self._metrics = metrics

    def models(self) -> list[str]:
        """See ChunkEmbedder."""
        return self._embedder.models()

    async def embed(self, model: str, texts: Sequence[str], *, tenant: str = "") -> Vectors:
        """See ChunkEmbedder. Raises KnowledgeUnavailable with the code NO_EMBEDDING."""
        try:
            vectors = await self._embedder.embed(model, texts, tenant=tenant)
        except KnowledgeUnavailable as error:
            raise KnowledgeUnavailable(error.message, code=NO_EMBEDDING, retry_after_s=error.retry_after_s) from error
        self._metrics.embedded.inc(len(texts))
        return vectors


async def report(metrics: IngestionMetrics, to: socket.socket) -> None:
    """Send the exposition text every REPORT_S, until cancelled. A gateway that does not listen misses it."""
    to.setblocking(False)
    while True:
        with contextlib.suppress(OSError):  # nobody listens, or not now
            to.send(metrics.render())
        await asyncio.sleep(REPORT_S)
