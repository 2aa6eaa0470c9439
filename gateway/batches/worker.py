"""Batches are worked off beside everything else, at the lowest priority, by one gateway at a time each."""

import asyncio
import hashlib
import logging
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import orjson

from gateway import errors
from gateway.batches.ending import BatchEnding, now_s
from gateway.batches.input_file import MAX_BYTES, InputCheck, Json, RequestLine, check_input, read_requests
from gateway.config import Settings
from gateway.knowledge.catalog.answer_types import BatchJob, BatchLine
from gateway.knowledge.catalog.batches import BatchQueue
from gateway.knowledge.catalog.queue import LeaseLost
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.knowledge.objects import ObjectStore, content_key
from gateway.tenants.caller import load_caller
from gateway.tenants.ledger import REPEATED, RepeatedRequest
from gateway.tenants.tenant import Tenant

log = logging.getLogger("ragfleet.gateway")

Answer = Callable[[str, bytes, Tenant, str], Awaitable[Json]]
"""Endpoint, body, tenant, request id → the body of the answer. Raises RagfleetError."""

PRIORITY = -20
"""Of all requests of batches: whatever a client waits for goes before (gateway/admission/fair_queue.py)."""
AGAIN_S = 1.0
"""After which a line is tried again that nobody said a time for."""


@dataclass(slots=True)
class _RunningBatch:
    """A batch in work."""

    tenant: str
    stopping: bool
    """It is cancelled: no further line is begun."""
    pausing: bool = False
    """The same, and then somebody goes on with it later."""
    task: asyncio.Task[None] | None = None

    @property
    def is_halted(self) -> bool:
        """Whether no further line is to be begun."""
        return self.stopping or self.pausing


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
        present: Callable[[Tenant], Tenant],
    ) -> None:
        """keep_s: how long a batch can be read after its end. present: a tenant with its key as they are now; raises what
        Directory.present raises."""
        self._queue = queue
        self._catalogs = catalogs
        self._objects = objects
        self._settings = settings
        self._keep_s = keep_s
        self._present = present
        self._owner = secrets.token_hex(8)
        self._ending = BatchEnding(queue, objects, self._owner)
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
                    held = await self._queue.renew(self._owner, mine, lease_s=self.LEASE_S)
                    for batch_id in mine & self._running.keys():
                        if batch_id not in held:
                            self._cancel(self._running[batch_id])
                        elif held[batch_id] == "cancelling":
                            self._running[batch_id].stopping = True
                await self._fill()
                await self._queue.forget(ended_s=self._keep_s)
            except errors.CatalogUnavailable as error:
                log.warning("batches: %s", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(self.RENEW_S):
                    await self._told.wait()
            self._told.clear()

    async def _fill(self) -> None:
        """Begin what there is room for; and a tenant with several in work makes room for one with none."""
        for _ in range(self.RUNNING - len(self._running)):
            jobs = await self._queue.claim(self._owner, lease_s=self.LEASE_S, limit=1)
            for job in jobs:
                if job.body["id"] not in self._running:  # else its lease had ended, but not its task
                    self._start(job)
            if not jobs:
                return
        places = Counter(each.tenant for each in self._running.values())
        tenant, most = places.most_common(1)[0] if places else ("", 0)
        halted = any(each.is_halted for each in self._running.values())
        if most > 1 and not halted and await self._queue.waiting() - places.keys():
            *_, newest = (each for each in self._running.values() if each.tenant == tenant)
            newest.pausing = True

    @staticmethod
    def _cancel(running: _RunningBatch) -> None:
        if running.task is not None:
            running.task.cancel()

    async def close(self) -> None:
        """End the tasks; another gateway, or this one when it is started again, goes on at once."""
        tasks = [running.task for running in self._running.values() if running.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if tasks:
            try:
                await self._queue.release(self._owner)
            except errors.CatalogUnavailable as error:
                log.warning("batches are gone on with when their leases end: %s", error)

    def _start(self, job: BatchJob) -> None:
        tenant = load_caller(job.caller)
        running = _RunningBatch(tenant.name, stopping=job.body["status"] == "cancelling")
        self._running[job.body["id"]] = running
        running.task = asyncio.create_task(self._work(job, tenant, running), name=f"batch {job.body['id']}")

    async def _work(self, job: BatchJob, tenant: Tenant, running: _RunningBatch) -> None:
        batch = job.body
        try:
            try:
                await self._worked(batch, tenant, running)
            except (LeaseLost, errors.CatalogUnavailable, errors.ObjectsUnavailable):
                raise
            except errors.RagfleetError as error:  # its input is gone
                await self._fail(batch, tenant, [_error(errors.face(error).code or "failed", error.message)])
            except Exception as error:
                log.exception("batch %s failed", batch["id"])
                await self._fail(
                    batch, tenant, [_error("internal_error", f"An internal error: {type(error).__name__}.")]
                )
        except LeaseLost:
            log.info("batch %s is another gateway's", batch["id"])
        except errors.RagfleetError as error:
            log.warning("batch %s is gone on with when its lease ends: %s", batch["id"], error)
        finally:
            self._running.pop(batch["id"], None)
            self._told.set()

    async def _worked(self, batch: Json, tenant: Tenant, running: _RunningBatch) -> None:
        if batch["status"] == "validating":
            check = await self._checked(batch, tenant)
            if check.errors:
                await self._fail(batch, tenant, check.errors)
                return
            batch["status"], batch["in_progress_at"] = "in_progress", now_s()
            batch["request_counts"]["total"] = check.total
            await self._update(batch, running)
        expired = False
        if batch["status"] == "in_progress":
            try:
                async with asyncio.timeout(max(0.0, batch["expires_at"] - time.time())):
                    await self._answer_all(batch, tenant, running)
            except TimeoutError:
                expired = True
            if running.pausing and not (running.stopping or expired):
                await self._queue.release(self._owner, [batch["id"]])
                return
            if not (running.stopping or expired):
                batch["status"], batch["finalizing_at"] = "finalizing", now_s()
                await self._update(batch, running)
        await self._finish(batch, tenant, "cancelled" if running.stopping else "expired" if expired else "completed")

    async def _update(self, batch: Json, running: _RunningBatch) -> None:
        """Show it as it is; whether it was cancelled meanwhile is known then."""
        batch |= await self._queue.update(self._owner, batch)
        if batch["status"] == "cancelling":
            running.stopping = True

    async def _checked(self, batch: Json, tenant: Tenant) -> InputCheck:
        file = await self._catalogs(tenant).files.get(batch["input_file_id"])
        if file.size > MAX_BYTES:
            check = InputCheck()
            check.wrong("file_too_large", f"The input file is over the limit of {MAX_BYTES} bytes.")
            return check
        blocks = self._objects.get(content_key(file.id))
        return await check_input(blocks, batch["endpoint"], max_line_bytes=self._settings.max_body_bytes)

    async def _answer_all(self, batch: Json, tenant: Tenant, running: _RunningBatch) -> None:
        """Answer the lines that were not, some at a time, until there are no more or no further one is to be begun."""
        done = await self._queue.done(batch["id"])
        blocks = self._objects.get(content_key(batch["input_file_id"]))
        places = asyncio.Semaphore(self._settings.batch_concurrency)
        try:
            async with asyncio.TaskGroup() as group:
                async for request in read_requests(blocks, max_line_bytes=self._settings.max_body_bytes):
                    if request.number in done:
                        continue
                    await places.acquire()
                    if running.is_halted:
                        return
                    task = group.create_task(self._answer_line(batch, tenant, request, running))
                    task.add_done_callback(lambda _: places.release())
        except ExceptionGroup as group_of_errors:
            raise group_of_errors.exceptions[0] from None

    async def _answer_line(self, batch: Json, tenant: Tenant, line: RequestLine, running: _RunningBatch) -> None:
        """Answer one line, and record it. One that is refused for want of room waits, as does one of a suspended tenant."""
        assert self._answer is not None
        request_id = _request_id(batch, line)
        while True:
            REPEATED.set(RepeatedRequest())
            try:
                low = replace(self._present(tenant), priority=PRIORITY)
                body = await self._answer(batch["endpoint"], orjson.dumps(line.body), low, request_id)
                status = 200
            except errors.RagfleetError as error:
                if _may_pass(error):
                    running.pausing |= isinstance(error, errors.PermissionDenied)
                    if running.is_halted:
                        return
                    await asyncio.sleep(min(error.retry_after_s or AGAIN_S, 5.0))
                    continue
                body, status = errors.body(error), errors.face(error).status
            except Exception as error:
                log.exception("a line of batch %s failed", batch["id"])
                unforeseen = errors.RagfleetError(f"An internal error: {type(error).__name__}.")
                body, status = errors.body(unforeseen), 500
            break
        response = {"status_code": status, "request_id": request_id, "body": body}
        told = {"id": request_id, "custom_id": line.custom_id, "response": response, "error": None}
        await self._record(batch, BatchLine(line.number, status == 200, orjson.dumps(told).decode()))

    async def _record(self, batch: Json, line: BatchLine) -> None:
        """Keep what was made of a line, for it was paid; while the catalog is away it waits. Raises LeaseLost."""
        while True:
            try:
                if not await self._queue.record(self._owner, batch["id"], line):
                    raise LeaseLost
            except errors.CatalogUnavailable:
                await asyncio.sleep(AGAIN_S)
            else:
                return

    async def _finish(self, batch: Json, tenant: Tenant, status: str, wrong: Sequence[Json] = ()) -> None:
        """Make the files, and tell the end. wrong: why it has failed. Raises LeaseLost."""
        if status == "expired":
            await self._expire_lines(batch)
        await self._ending.finish(self._catalogs(tenant), batch, status, wrong)

    async def _expire_lines(self, batch: Json) -> None:
        """What was not answered in time is told so, each by itself."""
        done = await self._queue.done(batch["id"])
        error = _error("batch_expired", "This request could not be executed before the completion window expired.")
        blocks = self._objects.get(content_key(batch["input_file_id"]))
        async for line in read_requests(blocks, max_line_bytes=self._settings.max_body_bytes):
            if line.number not in done:
                told = {
                    "id": _request_id(batch, line),
                    "custom_id": line.custom_id,
                    "response": None,
                    "error": {"code": error["code"], "message": error["message"]},
                }
                await self._record(batch, BatchLine(line.number, ok=False, body=orjson.dumps(told).decode()))

    async def _fail(self, batch: Json, tenant: Tenant, wrong: Sequence[Json]) -> None:
        """It cannot be gone on with; what was answered is in its files."""
        await self._finish(batch, tenant, "failed", wrong)


def _request_id(batch: Json, line: RequestLine) -> str:
    """The same at every gateway that works on the batch."""
    name = f"{batch['id']} {line.number}"
    return f"batch_req_{hashlib.sha256(name.encode()).hexdigest()[:24]}"


def _may_pass(error: errors.RagfleetError) -> bool:
    """Whether a line that was refused so is asked again later."""
    if isinstance(error, errors.RateLimited):
        return error.retry_after_s is not None  # else it is more than the limit by itself
    if isinstance(error, errors.PermissionDenied):
        return errors.face(error).code == "tenant_suspended"
    return isinstance(error, errors.Overloaded | errors.Unavailable)


def _error(code: str, message: str) -> Json:
    return {"code": code, "message": message, "line": None, "param": None}
