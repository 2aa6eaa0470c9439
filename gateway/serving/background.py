"""Answers that outlive their clients and their gateway: each is made by a task, and taken over where the gateway has died."""

import asyncio
import logging
import secrets
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from gateway import errors
from gateway.config import Settings
from gateway.knowledge.catalog.answer_types import AnswerKind, BackgroundJob, EventRow, JournalEntry, ResponseRecord
from gateway.knowledge.catalog.background import BackgroundQueue
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.serving.answer_journal import AnswerJournal
from gateway.serving.event_feed import AnswerEvents, EventFeed, behind
from gateway.serving.gateway_lock import GatewayLock
from gateway.tenants.tenant import Tenant

log = logging.getLogger("ragfleet.gateway")


class AnswerMaker(Protocol):
    """Makes answers of one kind."""

    async def make(self, job: BackgroundJob, journal: AnswerJournal) -> None:
        """From its request and journal to its end. Raises RagfleetError."""

    async def fail(self, job: BackgroundJob, journal: AnswerJournal, error: errors.RagfleetError) -> None:
        """End one that cannot be made."""


class JournalReader(Protocol):
    """Reads the events of an answer from the catalog."""

    async def events(self, answer_id: str, after: int) -> tuple[Sequence[EventRow], bool]:
        """Those behind the one with this number, with some before it perhaps; and whether there will be no more."""


@dataclass(frozen=True, slots=True)
class _RunningAnswer:
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
    """Between two commits, at the least. Raising it costs the database less; events come later by it."""
    COMMIT_STREAMS = 16
    """With more answers than that, the time between two commits of all their journals is longer in proportion: what a commit
    costs is a little for each answer, so that many of them would cost more than their tokens. First events and ends do not wait
    for it: they are committed without the other answers'."""
    COMMIT_MOST_S = 0.2
    """The longest that it gets so."""
    POLL_S = 0.25
    """Between two looks of a reader whose answer another gateway makes."""
    RUNNING = 256
    """Answers that this gateway takes over at the most, those that it has already included."""
    ATTEMPTS = 4
    """Gateways, one after the other, that make an answer; then it is taken to be what ends them."""
    EVENTS_S = 300.0
    """Events can be read again for so long after the end; OpenAI's."""
    QUIET_S = 5.0
    """Without a call of its own for so long, the reader of an answer that is made here looks whether it has missed something."""

    def __init__(
        self, queue: BackgroundQueue, catalogs: Callable[[Tenant], TenantCatalog], settings: Settings, *, keep_s: int
    ) -> None:
        """keep_s: how long an answer is stored."""
        self._queue = queue
        self._catalogs = catalogs
        self._settings = settings
        self._keep_s = keep_s
        self._owner = secrets.token_hex(8)
        self._running: dict[str, _RunningAnswer] = {}
        self._fallen: set[str] = set()
        """Answers that this gateway still holds, and makes no more."""
        self._lock = GatewayLock(settings.home / "run" / "gateways", self._owner)
        self._makers: Mapping[AnswerKind, AnswerMaker] = {}
        self._changed = asyncio.Event()
        self._hurry = asyncio.Event()
        self._urgent: set[str] = set()
        self._all_due = 0.0
        self._flushed: list[asyncio.Future[None]] = []
        self._uncommitted: list[JournalEntry] = []
        self._readers: defaultdict[str, set[EventFeed]] = defaultdict(set)

    @property
    def running(self) -> int:
        """Answers that this gateway makes now."""
        return len(self._running)

    def serve(self, makers: Mapping[AnswerKind, AnswerMaker]) -> None:
        """How answers are made, by their kind."""
        self._makers = makers

    async def begin(self, tenant: Tenant, job: BackgroundJob, record: ResponseRecord | None = None) -> None:
        """Begin an answer, which its caller has checked. record: a response, as it is stored. Raises Overloaded,
        CatalogUnavailable."""
        if record is None:
            await self._queue.begin(tenant.name, job, owner=self._owner, lease_s=self.LEASE_S)
        else:
            await self._catalogs(tenant).responses.begin(
                record,
                job,
                owner=self._owner,
                lease_s=self.LEASE_S,
                keep_s=self._keep_s,
                limit=self._settings.background_answers,
            )
        self._start(job)

    async def begin_stream(
        self, tenant: Tenant, job: BackgroundJob, record: ResponseRecord | None = None
    ) -> AnswerEvents:
        """The same for one whose client reads it: its events, which must be read. They raise what it is refused for before there
        is any."""
        feed = EventFeed(-1)
        self._enter(job.answer_id, feed)
        try:
            await self.begin(tenant, job, record)
        except BaseException:
            self._leave(job.answer_id, feed)
            raise
        return self._events(tenant, job.kind, job.answer_id, feed, begins=True)

    def stop(self, answer_id: str) -> None:
        """It was cancelled, or deleted: it need not be made, where this gateway does that."""
        if (running := self._running.get(answer_id)) is not None:
            running.task.cancel()
        self._wake(answer_id)

    async def check_readable(self, tenant: Tenant, kind: AnswerKind, answer_id: str, after: int) -> None:
        """What is wrong with it is said before its events begin. Raises NotFound, Conflict, BadRequest, CatalogUnavailable."""
        await self._reader(tenant, kind).events(answer_id, after)

    def follow(self, tenant: Tenant, kind: AnswerKind, answer_id: str, after: int) -> AnswerEvents:
        """The events behind the one with this number, and those that come, to the end, or until they are gone. Raises
        CatalogUnavailable."""
        return self._events(tenant, kind, answer_id, EventFeed(after), begins=False)

    def _reader(self, tenant: Tenant, kind: AnswerKind) -> JournalReader:
        catalog = self._catalogs(tenant)
        return catalog.journals if kind is AnswerKind.CHAT else catalog.responses

    def _events(
        self, tenant: Tenant, kind: AnswerKind, answer_id: str, feed: EventFeed, *, begins: bool
    ) -> AnswerEvents:
        events = self._follow(self._reader(tenant, kind), answer_id, feed, begins=begins)
        return AnswerEvents(events, feed, partial(self._leave, answer_id, feed))

    def _enter(self, answer_id: str, feed: EventFeed) -> None:
        self._readers[answer_id].add(feed)

    def _leave(self, answer_id: str, feed: EventFeed) -> None:
        self._readers[answer_id].discard(feed)
        if not self._readers[answer_id]:
            del self._readers[answer_id]

    async def _follow(
        self, reader: JournalReader, answer_id: str, feed: EventFeed, *, begins: bool
    ) -> AsyncGenerator[bytes, None]:
        """begins: the feed was there before the answer was begun."""
        rows: Sequence[EventRow] | None
        self._enter(answer_id, feed)
        try:
            while True:
                rows, ended = feed.take(), feed.is_over
                if feed.refusal is not None:
                    raise feed.refusal
                if rows is None or not (rows or begins or ended or feed.relayed()):
                    try:
                        rows, ended = await reader.events(answer_id, feed.after)
                    except (
                        errors.Conflict,
                        errors.NotFound,
                    ):  # its events are gone, or it is deleted or hidden, since the stream began
                        return
                begins = False
                for row in rows:
                    if new := behind(row, feed.after):
                        yield new
                    feed.read(row)
                if ended:
                    return
                try:
                    async with asyncio.timeout(self.QUIET_S if answer_id in self._running else self.POLL_S):
                        await feed.wait()
                except TimeoutError:
                    pass
        finally:
            self._leave(answer_id, feed)

    async def run(self) -> None:
        """Keep the leases of what is made here, and take over what nobody makes; until cancelled."""
        while True:
            try:
                if mine := set(self._running):
                    read = mine & self._readers.keys()
                    held = await self._queue.renew(self._owner, lease_s=self.LEASE_S, read=read, all_read=read == mine)
                    for answer_id in mine - held:
                        self.stop(answer_id)
                await self._let_fall()
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

    async def _let_fall(self) -> None:
        """What could not be ended is taken up by whoever comes first: beside others its lease would be renewed for ever."""
        if fallen := self._fallen - self._running.keys():
            await self._queue.release(self._owner, fallen)
            self._fallen -= fallen

    async def _take_over(self) -> None:
        room = self.RUNNING - len(self._running)
        for job in await self._queue.claim(self._owner, lease_s=self.LEASE_S, limit=room) if room > 0 else ():
            if job.answer_id in self._running:  # its lease had ended, but not its task
                continue
            log.info("answer %s is taken over, after %d events", job.answer_id, job.last_event + 1)
            self._start(job)

    async def commit(self) -> None:
        """Commit what comes to the journals, all that is due together, again and again; until cancelled."""
        self._changed.set()  # by a fault there may be something left
        while True:
            await self._changed.wait()
            self._uncommitted += self._take(everything=await self._everything_is_due())
            waiting = len(self._flushed)
            try:
                if self._uncommitted:
                    await self._append(self._uncommitted)
                self._uncommitted = []
            except errors.CatalogUnavailable as error:
                log.warning("journals of background answers: %s", error)
                self._changed.set()
                self._hurry.set()
            else:
                flushed, self._flushed = self._flushed[:waiting], self._flushed[waiting:]
                for each in flushed:
                    if not each.done():
                        each.set_result(None)
            await asyncio.sleep(self.COMMIT_S)

    async def _everything_is_due(self) -> bool:
        """Wait until it is, or until something cannot wait for that."""
        now = asyncio.get_running_loop().time
        if (left := self._all_due - now()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._hurry.wait()
        return now() >= self._all_due

    def _take(self, *, everything: bool) -> list[JournalEntry]:
        """What is to be committed now: of all answers, or of those that cannot wait."""
        urgent, self._urgent = self._urgent, set()
        self._hurry.clear()
        running = self._running
        if everything:
            self._changed.clear()
            between = min(self.COMMIT_S * len(running) / self.COMMIT_STREAMS, self.COMMIT_MOST_S)
            self._all_due = asyncio.get_running_loop().time() + max(self.COMMIT_S, between)
        chosen = running.values() if everything else [running[each] for each in urgent & running.keys()]
        return [entry for each in chosen if (entry := each.journal.take()) is not None]

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
        numbered = job.kind is AnswerKind.CHAT
        journal = AnswerJournal(job, self._changed.set, hurry=partial(self._hasten, job.answer_id), numbered=numbered)
        task = asyncio.create_task(self._answer(job, journal), name=f"background answer {job.answer_id}")
        self._running[job.answer_id] = _RunningAnswer(task, journal)

    async def _answer(self, job: BackgroundJob, journal: AnswerJournal) -> None:
        maker, refusal = self._makers[job.kind], None
        try:
            try:
                if job.attempts > self.ATTEMPTS:
                    raise errors.GenerationFailed(
                        "Several gateways ended while they made this answer.", code="poison_request"
                    )
                await self._made(job, journal, maker)
            except errors.RagfleetError as error:
                if self._is_refused(job, journal):
                    refusal = error
                else:
                    await maker.fail(job, journal, error)
            except Exception as error:
                log.exception("background answer %s failed", job.answer_id)
                await maker.fail(job, journal, errors.RagfleetError(f"An internal error: {type(error).__name__}."))
            if refusal is None:
                journal.close()
                await self._flush(job.answer_id)
            for feed in self._readers.get(job.answer_id, ()):
                feed.end(refusal)
            if refusal is not None:
                await self._queue.discard(self._owner, job.answer_id)
        except errors.CatalogUnavailable as error:
            log.warning("background answer %s is taken up again: %s", job.answer_id, error)
            self._fallen.add(job.answer_id)
        finally:
            self._running.pop(job.answer_id, None)
            self._wake(job.answer_id)

    def _is_refused(self, job: BackgroundJob, journal: AnswerJournal) -> bool:
        """Whether a stream's client, which waits for its first event, is told that there will be none."""
        return job.kind is not AnswerKind.BACKGROUND and job.attempts <= 1 and not journal.next_event

    async def _made(self, job: BackgroundJob, journal: AnswerJournal, maker: AnswerMaker) -> None:
        """Until it is made: nobody waits before it, so it waits where others are refused."""
        while True:
            try:
                return await maker.make(job, journal)
            except (errors.Overloaded, errors.Unavailable) as error:
                late = time.time() - job.created_at > self._settings.background_deadline_s
                if late or self._is_refused(job, journal):
                    raise
                await asyncio.sleep(min(error.retry_after_s or 1.0, 5.0))
                journal.restart()

    async def _flush(self, answer_id: str) -> None:
        """Wait until everything that is in its journal now is committed."""
        flushed = asyncio.get_running_loop().create_future()
        self._flushed.append(flushed)
        self._hasten(answer_id)
        await flushed

    def _hasten(self, answer_id: str) -> None:
        """What is in its journal now does not wait for the others'."""
        self._urgent.add(answer_id)
        self._changed.set()
        self._hurry.set()

    async def _append(self, entries: Sequence[JournalEntry]) -> None:
        held = await self._queue.append(self._owner, entries)
        for entry in entries:
            if entry.answer_id not in held:
                self.stop(entry.answer_id)
            elif entry.events:
                for feed in self._readers.get(entry.answer_id, ()):
                    feed.push(EventRow(entry.last_event, entry.events))

    def _wake(self, answer_id: str) -> None:
        for feed in self._readers.get(answer_id, ()):
            feed.wake()
