"""What a gateway knows of the ingestion, for its metrics: the queue from the catalog, the rest from its own ingestion process.

Every gateway tells of the same queue, also one whose ingestion does not run: a queue that stands is seen wherever the fault lies.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from gateway.errors import CatalogUnavailable
from gateway.ingestion.process import IngestionProcess
from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.ingestion_types import Backlog, Pause
from gateway.metrics import DEFAULT_CLASS, Metrics

log = logging.getLogger("ragfleet.ingestion")


class IngestionMonitor:
    """Looks at the queue every `period_s` while `run` runs, less often where that takes long; `refresh` sets the gauges.

    process: this gateway's ingestion; None where it has none.
    fresh_s: a file that waits longer breaks the objective of freshness.
    clock: Unix seconds, as the catalog's.
    """

    def __init__(
        self,
        catalog: Catalog,
        metrics: Metrics,
        process: IngestionProcess | None,
        *,
        period_s: float = 10.0,
        fresh_s: float = 300.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._catalog = catalog
        self._metrics = metrics
        self._process = process
        self._period_s = period_s
        self._fresh_s = fresh_s
        self._clock = clock
        self._backlog: Backlog | None = None
        self._pauses: Sequence[Pause] = ()
        self._removal: tuple[int, float] | None = None
        """The removal that is first in its queue, and since when."""

    async def run(self) -> None:
        """Until cancelled. While the catalog is away the last look counts: what waits grows older."""
        took = 0.0
        while True:
            # First the pause: a gateway that starts has better to do. Counting takes a twentieth of the time at the most.
            await asyncio.sleep(max(self._period_s, 20 * took))
            started = time.monotonic()
            look = asyncio.create_task(self.look(), name="look at the ingestion's queue")
            try:
                await asyncio.shield(look)
            except CatalogUnavailable as error:
                log.warning("the ingestion's queue cannot be seen: %s", error)
            except asyncio.CancelledError:
                await asyncio.gather(look, return_exceptions=True)  # SQLite's thread must not be left in a call
                raise
            took = time.monotonic() - started

    async def look(self) -> None:
        """See what waits now. Raises CatalogUnavailable."""
        backlog, self._pauses = await self._catalog.queue.backlog(), await self._catalog.pauses.all()
        first = backlog.first_removal
        if first is None:
            self._removal = None
        elif self._removal is None or self._removal[0] != first:
            self._removal = first, self._clock()
        self._backlog = backlog
        oldest = min(backlog.oldest.values(), default=self._clock())
        self._metrics.slo_event("freshness", DEFAULT_CLASS, self._clock() - oldest <= self._fresh_s)

    @property
    def waits(self) -> bool:
        """Whether files wait, by the last look."""
        return self._backlog is not None and bool(self._backlog.waiting)

    def describe(self) -> dict[str, Any]:
        """The ingestion for people and for `ragfleet status`: files that wait, and what for."""
        return {
            "files_waiting": 0 if self._backlog is None else sum(self._backlog.waiting.values()),
            "waits_for": [asdict(pause) for pause in self._pauses],
        }

    def refresh(self) -> None:
        """Set the gauges, at the moment of a scrape."""
        metrics, now = self._metrics, self._clock()
        metrics.ingestion_up.set(bool(self._process and self._process.report))
        if self._backlog is None:
            return
        oldest = min(self._backlog.oldest.values(), default=now)
        metrics.ingestion_waiting.clear()
        for tenant, files in self._backlog.waiting.items():
            metrics.ingestion_waiting.labels(tenant).set(files)
        metrics.ingestion_oldest.set(max(0.0, now - oldest))
        metrics.removals_waiting.set(self._backlog.removals)
        metrics.removals_oldest.set(0.0 if self._removal is None else max(0.0, now - self._removal[1]))

    def exposition(self) -> bytes:
        """The ingestion process's own metrics as text; empty where none runs."""
        return self._process.report if self._process else b""
