"""Answers that are made without a client, by a task of this gateway each; those of a gateway that has died are taken over."""

import asyncio
import logging
import secrets
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from gateway import errors
from gateway.config import Settings
from gateway.knowledge.catalog.answer_types import BackgroundJob, JournalEntry, ResponseRecord
from gateway.knowledge.catalog.background import BackgroundQueue
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.serving.answer_journal import AnswerJournal
from gateway.serving.gateway_lock import GatewayLock
from gateway.tenants.tenant import Tenant

log = logging.getLogger("ragfleet.gateway")

Make = Callable[[BackgroundJob, AnswerJournal], Awaitable[None]]
"""Makes an answer from its request and journal, to its end. Raises RagfleetError."""
Fail = Callable[[BackgroundJob, AnswerJournal, errors.RagfleetError], Awaitable[None]]
"""Ends an answer that cannot be made."""


@dataclass(frozen=True, slots=True)
class _Running:
    """An answer in the making."""

    task: asyncio.Task[None]
    journal: AnswerJournal


class BackgroundAnswers:
    """One for the life of the application."""

    LEASE_S = 3.0
    """Without a word of its gateway for so long, an answer is taken over."""
    RENEW_S = 1.0
    """Between two renewals, and two looks for what nobody makes."""
    LOOK_S = 0.2
    """Between two looks at whether the other gateways of this machine live."""
    COMMIT_S = 0.05
    """Between two commits of all journals together. Raising it costs the database less; events come later by it."""
    POLL_S = 0.25
    """Between two looks of a reader whose answer another gateway makes."""
    RUNNING = 256
    """Answers that this gateway takes over at the most, those that it has already included."""
    ATTEMPTS = 4
    """Gateways, one after the other, that make an answer; then it is taken to be what ends them."""
    EVENTS_S = 300.0
    """Events can be read again for so long after the end; OpenAI's."""

    def __init__(
        self, queue: BackgroundQueue, catalogs: Callable[[Tenant], TenantCatalog], settings: Settings, *, keep_s: int
    ) -> None:
        """keep_s: how long an answer is stored."""
        self._queue = queue
        self._catalogs = catalogs
        self._settings = settings
        self._keep_s = keep_s
        self._owner = secrets.token_hex(8)
        self._running: dict[str, _Running] = {}
        self._lock = GatewayLock(settings.home / "run" / "gateways", self._owner)
        self._make: Make | None = None
        self._fail: Fail | None = None
        self._changed = asyncio.Event()
        self._flushed: list[asyncio.Future[None]] = []
        self._uncommitted: list[JournalEntry] = []
        self._readers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    @property
    def running(self) -> int:
        """Answers that this gateway makes now."""
        return len(self._running)

    def serve(self, make: Make, fail: Fail) -> None:
        """How answers are made, and ended where they cannot be."""
        self._make, self._fail = make, fail

    async def begin(self, tenant: Tenant, record: ResponseRecord, job: BackgroundJob) -> None:
        """Begin an answer, which its caller has checked. Raises Overloaded, CatalogUnavailable."""
        await self._catalogs(tenant).responses.begin(
            record,
            job,
            owner=self._owner,
            lease_s=self.LEASE_S,
            keep_s=self._keep_s,
            limit=self._settings.background_answers,
        )
        self._start(job)

    def stop(self, response_id: str) -> None:
        """It was cancelled, or deleted: it need not be made, where this gateway does that."""
        if (running := self._running.get(response_id)) is not None:
            running.task.cancel()
        self._wake(response_id)

    async def follow(self, tenant: Tenant, response_id: str, after: int) -> AsyncIterator[bytes]:
        """The events behind the one with this number, and those that come, to the end, or until they are gone. Raises
        CatalogUnavailable."""
        responses = self._catalogs(tenant).responses
        news = asyncio.Event()
        self._readers[response_id].add(news)
        try:
            while True:
                news.clear()
                try:
                    rows, ended = await responses.events(response_id, after)
                except (
                    errors.Conflict,
                    errors.NotFound,
                ):  # its events are gone, or it is deleted or hidden, since the stream began
                    return
                for row in rows:
                    events = row.events.encode().split(b"\n\n")[:-1]
                    if new := events[max(0, len(events) - (row.last - after)) :]:
                        yield b"".join(each + b"\n\n" for each in new)
                    after = row.last
                if ended:
                    return
                try:
                    async with asyncio.timeout(self.POLL_S):
                        await news.wait()
                except TimeoutError:
                    pass
        finally:
            self._readers[response_id].discard(news)
            if not self._readers[response_id]:
                del self._readers[response_id]

    async def run(self) -> None:
        """Keep the leases of what is made here, and take over what nobody makes; until cancelled."""
        while True:
            try:
                if mine := set(self._running):
                    held = await self._queue.renew(
                        self._owner, lease_s=self.LEASE_S, unread_s=self._settings.background_unread_s
                    )
                    for response_id in mine - held:
                        self.stop(response_id)
                await self._take_over()
                await self._queue.forget(ended_s=self.EVENTS_S)
            except errors.CatalogUnavailable as error:
                log.warning("background answers: %s", error)
            await asyncio.sleep(self.RENEW_S)

    async def watch(self) -> None:
        """Take over what gateways of this machine leave as soon as they are dead, before their leases end; until cancelled."""
        try:
            self._lock.take()
        except OSError as error:
            log.warning("this gateway's answers are taken over only when their leases end: %s", error)
        while True:
            for name in self._lock.dead():
                try:
                    await self._queue.release(name)
                    await self._take_over()
                except errors.CatalogUnavailable as error:
                    log.warning("answers of the dead gateway %s: %s", name, error)
                else:
                    self._lock.forget(name)
            await asyncio.sleep(self.LOOK_S)

    async def _take_over(self) -> None:
        room = self.RUNNING - len(self._running)
        for job in await self._queue.claim(self._owner, lease_s=self.LEASE_S, limit=room) if room > 0 else ():
            if job.response_id in self._running:  # its lease had ended, but not its task
                continue
            log.info("answer %s is taken over, after %d tokens", job.response_id, sum(map(len, job.tokens)))
            self._start(job)

    async def commit(self) -> None:
        """Commit what comes to the journals, all of it together, again and again; until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            taken = [entry for each in self._running.values() if (entry := each.journal.take()) is not None]
            waiting, self._flushed = self._flushed, []
            self._uncommitted += taken
            try:
                if self._uncommitted:
                    await self._append(self._uncommitted)
                self._uncommitted = []
            except errors.CatalogUnavailable as error:
                log.warning("journals of background answers: %s", error)
                self._flushed += waiting
                self._changed.set()
            else:
                for each in waiting:
                    if not each.done():
                        each.set_result(None)
            await asyncio.sleep(self.COMMIT_S)

    async def close(self) -> None:
        """End the tasks; another gateway, or this one when it is started again, takes over at once."""
        tasks = [running.task for running in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if tasks:
            try:
                await self._queue.release(self._owner)
            except errors.CatalogUnavailable as error:
                log.warning("background answers are taken over when their leases end: %s", error)
        self._lock.release()

    def _start(self, job: BackgroundJob) -> None:
        journal = AnswerJournal(job, self._changed.set)
        task = asyncio.create_task(self._answer(job, journal), name=f"background answer {job.response_id}")
        self._running[job.response_id] = _Running(task, journal)

    async def _answer(self, job: BackgroundJob, journal: AnswerJournal) -> None:
        assert self._make is not None
        assert self._fail is not None
        try:
            try:
                if job.attempts > self.ATTEMPTS:
                    raise errors.GenerationFailed(
                        "Several gateways ended while they made this answer.", code="poison_request"
                    )
                await self._made(job, journal, self._make)
            except errors.RagfleetError as error:
                await self._fail(job, journal, error)
            except Exception as error:
                log.exception("background answer %s failed", job.response_id)
                await self._fail(job, journal, errors.RagfleetError(f"An internal error: {type(error).__name__}."))
            await self._flush()
            await self._queue.end(self._owner, job.response_id)
        except errors.CatalogUnavailable as error:
            log.warning("background answer %s is taken up when its lease ends: %s", job.response_id, error)
        finally:
            self._running.pop(job.response_id, None)
            self._wake(job.response_id)

    async def _made(self, job: BackgroundJob, journal: AnswerJournal, make: Make) -> None:
        """Until it is made: nobody waits before it, so it waits where others are refused."""
        while True:
            try:
                return await make(job, journal)
            except (errors.Overloaded, errors.Unavailable) as error:
                if time.time() - job.created_at > self._settings.background_deadline_s:
                    raise
                await asyncio.sleep(min(error.retry_after_s or 1.0, 5.0))
                journal.restart()

    async def _flush(self) -> None:
        """Wait until everything that is in the journals now is committed."""
        flushed = asyncio.get_running_loop().create_future()
        self._flushed.append(flushed)
        self._changed.set()
        await flushed

    async def _append(self, entries: Sequence[JournalEntry]) -> None:
        held = await self._queue.append(self._owner, entries)
        for response_id in {entry.response_id for entry in entries}:
            if response_id in held:
                self._wake(response_id)
            else:
                self.stop(response_id)

    def _wake(self, response_id: str) -> None:
        for reader in self._readers.get(response_id, ()):
            reader.set()
