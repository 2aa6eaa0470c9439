"""Files that are ready to be written gather into groups: a flush of the index costs the same for one as for many."""

import asyncio
import contextlib
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from opentelemetry.trace import SpanContext

from gateway.ingestion.metrics import IngestionMetrics
from gateway.ingestion.writer import IndexEntry, Writer, Written
from gateway.knowledge.catalog.types import Collection
from gateway.telemetry import OFF, Tracing, current, under

GATHER_S = 0.3
"""How long a file that is ready waits for others of its tenant that are being prepared. Raising it flushes less often."""


@dataclass(slots=True, eq=False)
class _Waiting:
    collection: Collection
    entry: IndexEntry
    alone: bool
    span: SpanContext = field(default_factory=current)
    """Of the file."""
    written: asyncio.Future[Written] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class WriteGroups:
    """Writes a tenant's entries together as they become ready; none waits long for what is not, and no tenant for another.

    size: entries of a group. at_once: groups of one tenant: while one is embedded, the other is written.
    """

    def __init__(
        self, writer: Writer, metrics: IngestionMetrics, *, size: int = 16, at_once: int = 2, tracing: Tracing = OFF
    ) -> None:
        self._writer = writer
        self._tracing = tracing
        self._metrics = metrics
        self._size = size
        self._at_once = at_once
        self._waiting: defaultdict[str, deque[_Waiting]] = defaultdict(deque)
        self._running: Counter[str] = Counter()
        self._coming: Counter[str] = Counter()
        self._arrived: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.contextmanager
    def coming(self, tenant: str) -> Iterator[None]:
        """While the block runs, an entry of the tenant may be written soon."""
        self._coming[tenant] += 1
        try:
            yield
        finally:
            self._coming[tenant] -= 1
            self._arrived[tenant].set()

    async def write(self, collection: Collection, entry: IndexEntry, *, alone: bool) -> Written:
        """What became of the entry's group. Raises KnowledgeUnavailable, and whatever else the writing raised.

        alone: in a group of its own, for a file that has failed in company.
        """
        waiting = _Waiting(collection, entry, alone)
        tenant = entry.member.tenant
        self._waiting[tenant].append(waiting)
        self._arrived[tenant].set()
        if self._running[tenant] < self._at_once:
            self._running[tenant] += 1
            task = asyncio.create_task(self._work(tenant), name=f"writing for {tenant}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await waiting.written

    async def close(self) -> None:
        """Stop writing. Who waits is to be cancelled, too."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self, tenant: str) -> None:
        """Group after group, until none of the tenant's waits."""
        try:
            while self._waiting[tenant]:
                await self._gather(tenant)
                if not (group := self._next(self._waiting[tenant])):
                    break
                try:
                    written = await self._write(group)
                except Exception as error:  # noqa: BLE001 - it is raised where each of them is waited for
                    for each in group:
                        if not each.written.done():
                            each.written.set_exception(error)
                else:
                    for each in group:
                        if not each.written.done():
                            each.written.set_result(written)
        finally:
            self._running[tenant] -= 1
            if not self._running[tenant]:
                del self._running[tenant]
                if not self._waiting[tenant]:
                    del self._waiting[tenant]
                if not self._coming[tenant]:
                    del self._coming[tenant], self._arrived[tenant]

    async def _write(self, group: Sequence[_Waiting]) -> Written:
        """In a span under the first file's, with links to those of the others."""
        parent, links = under([each.span for each in group])
        attributes = (
            {"ragfleet.file_ids": [each.entry.member.file_id for each in group]} if self._tracing.is_on else None
        )
        with (
            self._metrics.step("write"),
            self._tracing.span("write files", parent=parent, links=links, attributes=attributes),
        ):
            return await self._writer.write(group[0].collection, [each.entry for each in group])

    async def _gather(self, tenant: str) -> None:
        """Until the group is full, nothing more is coming, or GATHER_S have passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GATHER_S):
                while self._coming[tenant] and len(self._waiting[tenant]) < self._size:
                    self._arrived[tenant].clear()
                    await self._arrived[tenant].wait()

    def _next(self, waiting: deque[_Waiting]) -> list[_Waiting]:
        group: list[_Waiting] = []
        while waiting and len(group) < self._size:
            first = waiting[0]
            if first.written.done():  # whoever waited for it was told to end
                waiting.popleft()
                continue
            if group and (first.alone or first.collection != group[0].collection):
                break
            group.append(waiting.popleft())
            if first.alone:
                break
        return group
