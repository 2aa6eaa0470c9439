"""Jobs from their claim to their end: convert, cut, embed, write, complete; or fail, or give back."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from gateway.errors import CatalogUnavailable, KnowledgeUnavailable, NotFound, Unavailable
from gateway.ingestion.collections import Collections
from gateway.ingestion.conversion import Converters
from gateway.ingestion.metrics import IngestionMetrics
from gateway.ingestion.writer import Entry, Writer, owner_of
from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.queue import LeaseLost
from gateway.knowledge.catalog.types import ChunkRecord, Collection, CollectionState, FileError, FileState, Job
from gateway.knowledge.conversion import check_size
from gateway.knowledge.documents import DocumentError
from gateway.knowledge.index import ChunkIndex
from gateway.knowledge.objects import ObjectStore, content_key, document_key

log = logging.getLogger("ragfleet.ingestion")


class Jobs:
    """Works on claimed jobs, some at a time.

    group: jobs that are claimed, embedded and written together: a flush costs the same for one as for many.
    lease_s: after so long another takes over from a process that died.
    poison: claims after which a job that fails in ways nobody foresaw is given up.
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
        group: int = 16,
        lease_s: float = 15.0,
        poison: int = 5,
        weights: Mapping[str, float] | None = None,
        metrics: IngestionMetrics | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._catalog = catalog
        self._objects = objects
        self._index = index
        self._collections = collections
        self._converters = converters
        self._writer = writer
        self._owner = owner
        self._group = group
        self._lease_s = lease_s
        self._poison = poison
        self._weights = weights or {}
        self._metrics = metrics or IngestionMetrics()
        self._clock = clock

    async def round(self) -> int:
        """Claim some jobs and bring each to an end; how many there were. Raises Unavailable when something needed is away:
        the jobs are then free again."""
        active = await self._collections.active()  # nothing is claimed while Milvus is away
        jobs = await self._catalog.queue.claim(
            self._owner, limit=self._group, lease_s=self._lease_s, weights=self._weights
        )
        if not jobs:
            return 0
        async with self._leases(jobs):
            self._metrics.jobs.inc(len(jobs))
            try:
                await self._work(active, jobs)
            except CatalogUnavailable:
                raise  # the leases run out by themselves
            except Unavailable:
                self._collections.forget()
                await self._release(jobs, self._clock() + 1.0)
                raise
            except asyncio.CancelledError:
                await self._release(jobs, self._clock())
                raise
            finally:
                self._metrics.jobs.dec(len(jobs))
        return len(jobs)

    async def _work(self, active: Collection, jobs: Sequence[Job]) -> None:
        prepared = await asyncio.gather(*map(self._prepare, jobs))
        ready = [(job, chunks) for job, chunks in zip(jobs, prepared, strict=True) if chunks is not None]
        entries = [Entry(job.member, chunks, job.attempts > 1 or job.member.generation > 1) for job, chunks in ready]
        whole = await self._write(active, entries)
        for (job, _), entry in zip(ready, entries, strict=True):
            if id(entry) not in whole:
                await self._repair(active, job)
                continue
            try:
                await self._catalog.queue.complete(job, active.name)
            except LeaseLost:
                await self._withdraw(active, job)
            else:
                self._metrics.files.labels("completed", "").inc()
                self._metrics.chunks.inc(len(entry.chunks))

    async def _write(self, active: Collection, entries: Sequence[Entry]) -> set[int]:
        """Which of the entries, by `id`, are in the index with all their rows."""
        if not entries:
            return set()
        with self._metrics.step("write"):
            return {id(entry) for entry in await self._writer.write(active, entries)}

    async def _prepare(self, job: Job) -> list[ChunkRecord] | None:
        """The job's chunks, as they are in the catalog now; None where it came to another end."""
        member = job.member
        try:
            if member.state is FileState.COMPLETED:  # other attributes, or rows to be made anew: the text is as it was
                return list(await self._catalog.inventory.chunks(member))
            size = await self._objects.size(content_key(member.file_id))
            check_size(member.filename, size)
            content = self._objects.get(content_key(member.file_id))
            with self._metrics.step("prepare"):
                converted = await self._converters.convert(member.filename, content, member.chunking)
            await self._objects.put(document_key(member.file_id), converted.document)
            stored = sum(len(chunk.text.encode()) for chunk in converted.chunks)
            await self._catalog.queue.put_chunks(job, converted.chunks, usage_bytes=stored, receipt=converted.receipt)
        except LeaseLost:
            return None
        except DocumentError as error:
            await self._fail(job, error.code, str(error)[:1000])
        except NotFound:
            await self._fail(job, "server_error", "The file's content is not there.")
        except Unavailable:
            raise
        except Exception:
            log.exception("%s/%s could not be prepared", member.store_id, member.file_id)
            await self._unforeseen(job)
        else:
            return converted.chunks
        return None

    async def _unforeseen(self, job: Job) -> None:
        if job.attempts >= self._poison:
            message = f"It failed {job.attempts} times for a reason that is in the ingestion's log."
            await self._fail(job, "server_error", message)
        else:
            self._metrics.files.labels("released", "").inc()
            await self._catalog.queue.release(job, not_before=self._clock() + 2.0**job.attempts)

    async def _fail(self, job: Job, code: str, message: str) -> None:
        await self._catalog.queue.fail(job, FileError(code=code, message=message))
        self._metrics.files.labels("failed", code).inc()

    async def _repair(self, active: Collection, job: Job) -> None:
        """Rows are missing, or too many: all of them go, and the job starts anew. Where the job was lost meanwhile (cancelled,
        detached), others have removed them, and nothing is wrong."""
        if not await self._catalog.queue.renew([job], lease_s=self._lease_s):
            await self._withdraw(active, job)
            return
        log.warning("%s/%s: the index does not hold what was written", job.member.store_id, job.member.file_id)
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

    async def _release(self, jobs: Sequence[Job], not_before: float) -> None:
        with contextlib.suppress(CatalogUnavailable):
            for job in jobs:  # those that have ended are not ours any more: nothing happens to them
                await self._catalog.queue.release(job, not_before=not_before)

    @contextlib.asynccontextmanager
    async def _leases(self, jobs: Sequence[Job]) -> AsyncIterator[None]:
        """Keep the leases up while the block runs."""

        async def keep() -> None:
            while True:
                await asyncio.sleep(self._lease_s / 3)
                with contextlib.suppress(CatalogUnavailable):
                    await self._catalog.queue.renew(jobs, lease_s=self._lease_s)

        task = asyncio.create_task(keep(), name="leases")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


class Removals:
    """What was deleted leaves the index and the object store."""

    def __init__(
        self, catalog: Catalog, objects: ObjectStore, index: ChunkIndex, metrics: IngestionMetrics | None = None
    ) -> None:
        self._catalog = catalog
        self._objects = objects
        self._index = index
        self._metrics = metrics or IngestionMetrics()

    async def round(self, limit: int = 64) -> int:
        """Do some removals; how many. Doing one again is harmless. Raises Unavailable."""
        from gateway.knowledge.index import Owner

        wanted = await self._catalog.removals.first(limit=limit)
        if not wanted:
            return 0
        collections = await self._catalog.collections.all()
        for each in wanted:
            if each.store_id is None:
                assert each.file_id is not None
                await self._objects.delete_prefix(f"files/{each.file_id}/")
                continue
            owner = Owner(tenant=each.tenant, store=each.store_id, file_id=each.file_id)
            before = None if each.generation is None else each.generation + 1
            for collection in collections:
                await self._index.delete(collection.name, owner, before=before)
        await self._catalog.removals.done(wanted)
        self._metrics.removals.inc(len(wanted))
        return len(wanted)


class Refill:
    """Collections beside the active one are filled from the chunks in SQL, as far as instances serve their model."""

    def __init__(self, catalog: Catalog, collections: Collections, writer: Writer) -> None:
        self._catalog = catalog
        self._collections = collections
        self._writer = writer

    async def round(self, models: Sequence[str], limit: int = 16) -> int:
        """Bring some members into a collection that lacks them; how many. Raises KnowledgeUnavailable."""
        try:
            return await self._fill(models, limit)
        except KnowledgeUnavailable:
            self._collections.forget()  # Milvus lost something, or a collection was dropped and begun anew
            raise

    async def _fill(self, models: Sequence[str], limit: int) -> int:
        for collection in await self._collections.all():
            if collection.state is CollectionState.ACTIVE or collection.embedding_model not in models:
                continue  # of the active one no member is behind: it was completed there, or the switch has seen to it
            members = await self._catalog.collections.behind(collection.name, limit=limit)
            if not members:
                continue
            await self._collections.ready(collection)
            entries = [Entry(member, await self._catalog.inventory.chunks(member), True) for member in members]
            done = await self._writer.write(collection, entries)
            await self._catalog.collections.indexed(collection.name, [entry.member for entry in done])
            if not done:
                raise KnowledgeUnavailable(f"Nothing of what was written to {collection.name} is there.")
            return len(done)
        return 0
