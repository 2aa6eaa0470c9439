"""Jobs from their claim to their end: convert, cut, embed, write, complete; or fail, or give back. Each file by itself."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from opentelemetry.context import Context

from gateway.errors import CatalogUnavailable, NotFound, Unavailable
from gateway.ingestion.converter_pool import Converters, SlowConversion
from gateway.ingestion.index_collections import Collections
from gateway.ingestion.metrics import IngestionMetrics, cause_of
from gateway.ingestion.poison_detection import PoisonDetector
from gateway.ingestion.write_groups import WriteGroups
from gateway.ingestion.writer import IndexEntry, Writer, key_of, owner_of
from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.ingestion_types import Job, Pause
from gateway.knowledge.catalog.queue import LeaseLost
from gateway.knowledge.catalog.types import ChunkRecord, Collection, FileError, FileState, Member
from gateway.knowledge.conversion import check_size
from gateway.knowledge.documents import DocumentError
from gateway.knowledge.index import ChunkIndex
from gateway.knowledge.objects import ObjectStore, content_key, document_key
from gateway.knowledge.storage_reserve import StorageReserve
from gateway.telemetry import OFF, Attributes, Tracing, note_failure

log = logging.getLogger("ragfleet.ingestion")

SLOW_S = 60.0
"""How long a file waits that was stopped twice because others waited for the converter."""


class Jobs:
    """Works on claimed jobs, each in a task of its own.

    room: jobs under way. share: of one tenant; a tenant that has so many gets no more until some have ended, so that what
    holds up its files holds up nobody else's.
    lease_s: after so long another takes over from a process that died.
    poison: tries after which a job is given up that fails in ways nobody foresaw.
    ended: called when a job has ended: there may be room for another.
    weights: of tenants, by name; 1 for others (IngestionQueue.claim).
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        objects: ObjectStore,
        index: ChunkIndex,
        collections: Collections,
        converters: Converters,
        writer: Writer,
        owner: str,
        room: int = 96,
        share: int = 32,
        group: int = 16,
        lease_s: float = 15.0,
        poison: int = 5,
        weights: Mapping[str, float] | None = None,
        metrics: IngestionMetrics | None = None,
        reserve: StorageReserve | None = None,
        clock: Callable[[], float] = time.time,
        ended: Callable[[], None] = lambda: None,
        tracing: Tracing = OFF,
    ) -> None:
        self._catalog = catalog
        self._objects = objects
        self._index = index
        self._collections = collections
        self._converters = converters
        self._owner = owner
        self._room = room
        self._share = share
        self._group = group
        self._lease_s = lease_s
        self._poison = poison
        self._weights = {} if weights is None else weights
        self._metrics = metrics or IngestionMetrics()
        self._tracing = tracing
        self._groups = WriteGroups(writer, self._metrics, size=group, tracing=tracing)
        self._reserve = reserve or StorageReserve({}, 0)
        self._clock = clock
        self._ended = ended
        self._poison_detector = PoisonDetector()
        self._away: Unavailable | None = None
        self._told = {"": "whatever a process before this one has told"}
        self._tasks: dict[asyncio.Task[None], Job] = {}

    async def begin(self) -> int:
        """Claim jobs as far as there is room, and start on each; how many. Raises Unavailable when something needed is away, also
        where a job noticed it since the last call: that job is then free again."""
        if self._away is not None:
            away, self._away = self._away, None
            raise away
        try:
            await self._reserve.check()
            active = await self._collections.active()  # nothing is claimed while Milvus is away
        except CatalogUnavailable:
            raise
        except Unavailable as error:
            await self._tell(error)
            raise
        room = min(self._group, self._room - len(self._tasks))
        if room <= 0:
            return 0
        held = Counter(job.member.tenant for job in self._tasks.values())
        enough = {tenant for tenant, number in held.items() if number >= self._share}
        jobs = await self._catalog.queue.claim(
            self._owner, limit=room, lease_s=self._lease_s, weights=self._weights, without=enough
        )
        for job in jobs:
            self._start(active, job)
        if self._told and not self._tasks and not (await self._catalog.queue.backlog()).waiting:
            await self._all_is_well()
        return len(jobs)

    async def idle(self) -> None:
        """Wait until every job that was begun has ended."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    async def keep_leases(self) -> None:
        """Renew the leases of what is under way, until cancelled."""
        while True:
            await asyncio.sleep(self._lease_s / 3)
            with contextlib.suppress(CatalogUnavailable):
                await self._catalog.queue.renew(list(self._tasks.values()), lease_s=self._lease_s)

    async def close(self) -> None:
        """Give back what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._groups.close()

    def _start(self, active: Collection, job: Job) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            del self._tasks[task]
            self._metrics.jobs.dec()
            self._ended()

        task = asyncio.create_task(self._run(active, job), name=f"{job.member.store_id}/{job.member.file_id}")
        self._tasks[task] = job
        self._metrics.jobs.inc()
        task.add_done_callback(ended)

    async def _run(self, active: Collection, job: Job) -> None:
        """Bring the job to an end, whatever happens."""
        with self._span(job):
            await self._run_traced(active, job)

    def _span(self, job: Job) -> AbstractContextManager[object]:
        """Of one try on a file, a trace of its own; it names the file by its id alone."""
        if not self._tracing.is_on:
            return contextlib.nullcontext()
        member = job.member
        attributes: Attributes = {
            "ragfleet.file_id": member.file_id,
            "ragfleet.store_id": member.store_id,
            "ragfleet.tenant": member.tenant,
            "ragfleet.try": job.tries,
        }
        return self._tracing.span("ingest file", parent=Context(), attributes=attributes)

    async def _run_traced(self, active: Collection, job: Job) -> None:
        try:
            try:
                await self._work(active, job)
            except CatalogUnavailable:
                raise
            except Unavailable as error:
                await self._interrupted(job, error)
            except asyncio.CancelledError:
                with contextlib.suppress(CatalogUnavailable):
                    await self._catalog.queue.release(job, not_before=self._clock())
                raise
            except Exception:
                log.exception("%s failed", key_of(job.member))
                await self._unforeseen(job)
        except CatalogUnavailable as error:  # the lease runs out by itself
            self._away = error

    async def _work(self, active: Collection, job: Job) -> None:
        if job.tries > self._poison:  # whoever was at it died of it, again and again
            await self._give_up(job)
            return
        with self._groups.coming(job.member.tenant):
            chunks = await self._prepare(job)
        if chunks is None:
            return
        tried = job.attempts > 1
        entry = IndexEntry(job.member, chunks, tried or job.member.generation > 1)
        written = await self._groups.write(active, entry, alone=tried)
        if (reason := written.refused.get(key_of(job.member))) is not None:
            await self._fail(job, "invalid_file", f"{job.member.filename} cannot be indexed: {reason}."[:1000])
            return
        self._poison_detector.answered("embedding", "index")
        if not any(each is entry for each in written.whole):
            await self._repair(active, job)
            return
        try:
            await self._catalog.queue.complete(job, active.name)
        except LeaseLost:
            await self._withdraw(active, job)
        else:
            self._poison_detector.forget(key_of(job.member))
            await self._all_is_well()
            self._metrics.files.labels("completed", "").inc()
            self._metrics.chunks.inc(len(chunks))

    async def _prepare(self, job: Job) -> list[ChunkRecord] | None:
        """The job's chunks, as they are in the catalog now; None where it came to another end."""
        member = job.member
        try:
            if member.state is FileState.COMPLETED:  # other attributes, or rows to be made anew: the text is as it was
                return list(await self._catalog.inventory.chunks(member))
            size = await self._objects.size(content_key(member.file_id))
            check_size(member.filename, size)
            with self._metrics.step("prepare"), self._tracing.span("convert", attributes={"ragfleet.bytes": size}):
                converted = await self._converters.convert(
                    member.tenant,
                    _place(member),
                    lambda: self._objects.get(content_key(member.file_id)),
                    member.chunking,
                    patient=job.tries > 1,
                )
            await self._objects.put(document_key(member.file_id), converted.document)
            self._poison_detector.answered("objects")
            stored = sum(len(chunk.text.encode()) for chunk in converted.chunks)
            await self._catalog.queue.put_chunks(
                job, converted.chunks, usage_bytes=stored, receipt=converted.receipt, names=converted.names
            )
        except LeaseLost:
            return None
        except SlowConversion:
            log.info("%s is slow to read: it waits %g s for others", key_of(member), SLOW_S)
            await self._later(job, SLOW_S)
        except DocumentError as error:
            await self._fail(job, error.code, str(error)[:1000])
        except NotFound:
            await self._fail(job, "server_error", "The file's content is not there.")
        else:
            return converted.chunks
        return None

    async def _interrupted(self, job: Job, error: Unavailable) -> None:
        """Something was away, which is no fault of the file; unless it is there for others, and fails on this file every time."""
        part = cause_of(error)
        note_failure(part)
        strikes = self._poison_detector.failed(part, key_of(job.member))
        if strikes >= self._poison:
            await self._fail(job, "server_error", f"It cannot be brought in, while other files can: {error}"[:1000])
            return
        self._collections.forget()
        if strikes == 0:
            self._away = error
            await self._tell(error)
        await self._catalog.queue.release(job, not_before=self._clock() + min(2.0**strikes, SLOW_S))

    async def _tell(self, error: Unavailable) -> None:
        """Whoever asks for a file that waits is told why (Pauses)."""
        cause, message = cause_of(error), str(error)[:1000]
        if self._told.get(cause) != message:
            await self._catalog.pauses.add(Pause(cause=cause, message=message, since=self._clock()))
            self._told[cause] = message

    async def _all_is_well(self) -> None:
        if self._told:
            await self._catalog.pauses.clear()
            self._told.clear()

    async def _unforeseen(self, job: Job) -> None:
        if job.tries >= self._poison:
            await self._give_up(job)
        else:
            await self._later(job, min(2.0**job.tries, SLOW_S))

    async def _give_up(self, job: Job) -> None:
        message = f"It failed {self._poison} times for a reason that is in the ingestion's log."
        await self._fail(job, "server_error", message)

    async def _later(self, job: Job, pause_s: float) -> None:
        """The attempt counts against the file."""
        self._metrics.files.labels("released", "").inc()
        await self._catalog.queue.release(job, not_before=self._clock() + pause_s, excused=False)

    async def _fail(self, job: Job, code: str, message: str) -> None:
        self._poison_detector.forget(key_of(job.member))
        note_failure(code)
        await self._catalog.queue.fail(job, FileError(code=code, message=message))
        self._metrics.files.labels("failed", code).inc()

    async def _repair(self, active: Collection, job: Job) -> None:
        """Rows are missing, or too many: all of them go, and the job starts anew. Where the job was lost meanwhile (cancelled,
        detached), others have removed them, and nothing is wrong."""
        if not await self._catalog.queue.renew([job], lease_s=self._lease_s):
            await self._withdraw(active, job)
            return
        log.warning("%s: the index does not hold what was written", key_of(job.member))
        await self._index.delete(active.name, owner_of(job.member))
        await self._unforeseen(job)

    async def _withdraw(self, active: Collection, job: Job) -> None:
        """The job was lost while its rows were written: what nobody wants goes, and a newer generation is written anew."""
        member = job.member
        now = await self._catalog.inventory.latest(member)
        if now is not None and now.generation == member.generation and now.state is not FileState.CANCELLED:
            return  # another took it over, and writes the same rows
        await self._index.delete(active.name, owner_of(member), before=member.generation + 1)
        if now is not None and now.state is FileState.COMPLETED:
            await self._catalog.inventory.rewrite([now])


def _place(member: Member) -> str:
    """The file's name, with its folders where the attribute `path` has them: source code is known by its path."""
    path = member.attributes.get("path")
    if isinstance(path, str) and path.rpartition("/")[2] == member.filename:
        return path
    return member.filename
