"""Batches are worked off beside everything else, at the lowest priority, by one gateway at a time each."""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import orjson

from gateway import errors
from gateway.batches.input_file import MAX_BYTES, InputCheck, Json, RequestLine, check_input, read_requests
from gateway.batches.output_file import OutputFile
from gateway.config import Settings
from gateway.knowledge.catalog.answer_types import BatchJob, BatchLine
from gateway.knowledge.catalog.batches import BatchQueue
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.knowledge.objects import ObjectStore, content_key
from gateway.tenants.caller import load_caller
from gateway.tenants.tenant import Tenant

log = logging.getLogger("ragfleet.gateway")

Answer = Callable[[str, bytes, Tenant, str], Awaitable[Json]]
"""Endpoint, body, tenant, request id → the body of the answer. Raises RagfleetError."""

PRIORITY = -20
"""Of all requests of batches: whatever a client waits for goes before (gateway/admission/fair_queue.py)."""


@dataclass(slots=True)
class _RunningBatch:
    """A batch in work."""

    task: asyncio.Task[None]
    stopping: asyncio.Event
    """Set where no further line is to be begun."""


class BatchWorker:
    """One for the life of the application."""

    LEASE_S = 5.0
    """Without a word of its gateway for so long, a batch is taken over."""
    RENEW_S = 1.0
    """Between two renewals, and two looks for what nobody works on."""
    RUNNING = 4
    """Batches that one gateway works on at a time."""

    def __init__(
        self,
        queue: BatchQueue,
        catalogs: Callable[[Tenant], TenantCatalog],
        objects: ObjectStore,
        settings: Settings,
        *,
        keep_s: int,
    ) -> None:
        """keep_s: how long a batch can be read after its end."""
        self._queue = queue
        self._catalogs = catalogs
        self._objects = objects
        self._settings = settings
        self._keep_s = keep_s
        self._owner = secrets.token_hex(8)
        self._running: dict[str, _RunningBatch] = {}
        self._answer: Answer | None = None
        self._told = asyncio.Event()

    def serve(self, answer: Answer) -> None:
        """How a line is answered."""
        self._answer = answer

    def tell(self) -> None:
        """There is a new batch, or one is cancelled: look at once."""
        self._told.set()

    @property
    def running(self) -> int:
        """Batches in work here."""
        return len(self._running)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                if mine := set(self._running):
                    held = await self._queue.renew(self._owner, lease_s=self.LEASE_S)
                    for batch_id in mine & self._running.keys():
                        if batch_id not in held:
                            self._running[batch_id].task.cancel()
                        elif held[batch_id] == "cancelling":
                            self._running[batch_id].stopping.set()
                room = self.RUNNING - len(self._running)
                for job in await self._queue.claim(self._owner, lease_s=self.LEASE_S, limit=room) if room > 0 else ():
                    self._start(job)
                await self._queue.forget(ended_s=self._keep_s)
            except errors.CatalogUnavailable as error:
                log.warning("batches: %s", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(self.RENEW_S):
                    await self._told.wait()
            self._told.clear()

    async def close(self) -> None:
        """End the tasks; another gateway, or this one when it is started again, goes on at once."""
        tasks = [running.task for running in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if tasks:
            try:
                await self._queue.release(self._owner)
            except errors.CatalogUnavailable as error:
                log.warning("batches are gone on with when their leases end: %s", error)

    def _start(self, job: BatchJob) -> None:
        stopping = asyncio.Event()
        if job.body["status"] == "cancelling":
            stopping.set()
        task = asyncio.create_task(self._work(job, stopping), name=f"batch {job.body['id']}")
        self._running[job.body["id"]] = _RunningBatch(task, stopping)

    async def _work(self, job: BatchJob, stopping: asyncio.Event) -> None:
        batch, tenant = job.body, load_caller(job.caller)
        try:
            try:
                await self._worked(batch, tenant, stopping)
            except errors.CatalogUnavailable:
                raise
            except errors.RagfleetError as error:  # its input is gone
                await self._fail(batch, tenant, [_error(errors.face(error).code or "failed", error.message)])
        except errors.CatalogUnavailable as error:
            log.warning("batch %s is gone on with when its lease ends: %s", batch["id"], error)
        except Exception as error:
            log.exception("batch %s failed", batch["id"])
            with suppress(errors.RagfleetError):
                await self._fail(
                    batch, tenant, [_error("internal_error", f"An internal error: {type(error).__name__}.")]
                )
        finally:
            self._running.pop(batch["id"], None)
            self._told.set()

    async def _worked(self, batch: Json, tenant: Tenant, stopping: asyncio.Event) -> None:
        if batch["status"] == "validating":
            check = await self._checked(batch, tenant)
            if check.errors:
                await self._fail(batch, tenant, check.errors)
                return
            batch["status"], batch["in_progress_at"] = "in_progress", _now()
            batch["request_counts"]["total"] = check.total
            await self._queue.update(self._owner, batch)
        expired = False
        if batch["status"] == "in_progress":
            try:
                async with asyncio.timeout(max(0.0, batch["expires_at"] - time.time())):
                    await self._answer_all(batch, tenant, stopping)
            except TimeoutError:
                expired = True
            if not (stopping.is_set() or expired):
                batch["status"], batch["finalizing_at"] = "finalizing", _now()
                await self._queue.update(self._owner, batch)
        await self._finish(batch, tenant, "cancelled" if stopping.is_set() else "expired" if expired else "completed")

    async def _checked(self, batch: Json, tenant: Tenant) -> InputCheck:
        file = await self._catalogs(tenant).files.get(batch["input_file_id"])
        if file.size > MAX_BYTES:
            check = InputCheck()
            check.wrong("file_too_large", f"The input file is over the limit of {MAX_BYTES} bytes.")
            return check
        blocks = self._objects.get(content_key(file.id))
        return await check_input(blocks, batch["endpoint"], max_line_bytes=self._settings.max_body_bytes)

    async def _answer_all(self, batch: Json, tenant: Tenant, stopping: asyncio.Event) -> None:
        """Answer the lines that were not, some at a time, until there are no more or no further one is to be begun."""
        done = await self._queue.done(batch["id"])
        blocks = self._objects.get(content_key(batch["input_file_id"]))
        places = asyncio.Semaphore(self._settings.batch_concurrency)
        low = replace(tenant, priority=PRIORITY)
        async with asyncio.TaskGroup() as group:
            async for request in read_requests(blocks, max_line_bytes=self._settings.max_body_bytes):
                if request.number in done:
                    continue
                await places.acquire()
                if stopping.is_set():
                    return
                task = group.create_task(self._answer_line(batch, low, request, stopping))
                task.add_done_callback(lambda _: places.release())

    async def _answer_line(self, batch: Json, tenant: Tenant, line: RequestLine, stopping: asyncio.Event) -> None:
        """Answer one line, and record it. A line that is refused for want of room waits."""
        assert self._answer is not None
        request_id = f"batch_req_{secrets.token_hex(12)}"
        while True:
            try:
                body = await self._answer(batch["endpoint"], orjson.dumps(line.body), tenant, request_id)
                status = 200
            except (errors.Overloaded, errors.Unavailable) as error:
                if stopping.is_set():
                    return
                await asyncio.sleep(min(error.retry_after_s or 1.0, 5.0))
                continue
            except errors.RagfleetError as error:
                body, status = errors.body(error), errors.face(error).status
            except Exception as error:
                log.exception("a line of batch %s failed", batch["id"])
                unforeseen = errors.RagfleetError(f"An internal error: {type(error).__name__}.")
                body, status = errors.body(unforeseen), 500
            break
        response = {"status_code": status, "request_id": request_id, "body": body}
        told = {"id": request_id, "custom_id": line.custom_id, "response": response, "error": None}
        record = BatchLine(line.number, status == 200, orjson.dumps(told).decode())
        await self._queue.record(self._owner, batch["id"], record)

    async def _finish(self, batch: Json, tenant: Tenant, status: str) -> None:
        """Make the files, and tell the end."""
        if status == "expired":
            await self._expire_lines(batch)
        catalog = self._catalogs(tenant)
        output = await self._write(batch, ok=True)
        wrong = await self._write(batch, ok=False)
        ended = {**batch, "status": status, f"{status}_at": _now()}
        if status == "cancelled":
            ended["cancelling_at"] = batch["cancelling_at"] or _now()
        counts = {"completed": output.lines, "failed": wrong.lines}
        ended["request_counts"] = {**batch["request_counts"], **counts}
        async with catalog.transaction() as inner:
            for name, file in (("output_file_id", output), ("error_file_id", wrong)):
                if file.lines:
                    await inner.files.add(
                        file_id=file.id,
                        filename=f"{batch['id']}_{name.removesuffix('_file_id')}.jsonl",
                        purpose="batch_output",
                        size=file.size,
                        sha256=file.hash.hexdigest(),
                        expires_at=_expiry(batch),
                    )
                    ended[name] = file.id
            await inner.batches.finish(ended)

    async def _expire_lines(self, batch: Json) -> None:
        """What was not answered in time is told so, each by itself."""
        done = await self._queue.done(batch["id"])
        error = _error("batch_expired", "This request could not be executed before the completion window expired.")
        blocks = self._objects.get(content_key(batch["input_file_id"]))
        async for line in read_requests(blocks, max_line_bytes=self._settings.max_body_bytes):
            if line.number not in done:
                told = {
                    "id": f"batch_req_{secrets.token_hex(12)}",
                    "custom_id": line.custom_id,
                    "response": None,
                    "error": {"code": error["code"], "message": error["message"]},
                }
                record = BatchLine(line.number, ok=False, body=orjson.dumps(told).decode())
                await self._queue.record(self._owner, batch["id"], record)

    async def _write(self, batch: Json, *, ok: bool) -> OutputFile:
        """The lines of one kind in the object store, where there are any."""
        file = OutputFile(f"file-{secrets.token_hex(12)}")
        first = await self._queue.lines(batch["id"], ok=ok, after=0, limit=1)
        if first:
            await self._objects.put(content_key(file.id), file.written(self._pages(batch["id"], ok=ok)))
        return file

    async def _pages(self, batch_id: str, *, ok: bool) -> AsyncIterator[BatchLine]:
        after = 0
        while lines := await self._queue.lines(batch_id, ok=ok, after=after, limit=100):
            for line in lines:
                yield line
            after = lines[-1].number

    async def _fail(self, batch: Json, tenant: Tenant, wrong: list[Json]) -> None:
        found = {"object": "list", "data": wrong}
        await self._catalogs(tenant).batches.finish({**batch, "status": "failed", "failed_at": _now(), "errors": found})


def _now() -> int:
    return int(time.time())


def _expiry(batch: Json) -> int | None:
    """When the batch's own files go, where the client has said so."""
    after = batch.get("output_expires_after")
    return None if after is None else _now() + int(after["seconds"])


def _error(code: str, message: str) -> Json:
    return {"code": code, "message": message, "line": None, "param": None}
