"""Streams with a journal: who gets one, and how its events get into it and out of it."""

from contextlib import aclosing

from gateway import errors
from gateway.api.sse import DONE, error_event
from gateway.api.streaming import EventWriter, ResponseWriter
from gateway.config import Settings
from gateway.knowledge.catalog.answer_types import AnswerKind, BackgroundJob, ResponseRecord
from gateway.serving.answer_journal import SHARED, AnswerJournal
from gateway.serving.background import BackgroundAnswers
from gateway.serving.event_feed import AnswerEvents
from gateway.serving.generation_service import GenerationService
from gateway.tenants.tenant import Tenant


class JournalWriter(EventWriter):
    """Writes what would go to a client into the journal, from where it goes to whoever reads it."""

    def __init__(self, journal: AnswerJournal) -> None:
        self._journal = journal
        self._held: list[tuple[str, bytes]] = []
        self._part = SHARED

    @property
    def started(self) -> bool:
        """See EventWriter."""
        return self._journal.next_event > 0

    def choice(self, index: int) -> "JournalWriter":
        """See EventWriter."""
        own = JournalWriter(self._journal)
        own._held, own._part = self._held, str(index)
        return own

    def hold(self, data: bytes) -> None:
        """See EventWriter."""
        self._held.append((self._part, data))

    async def events(self, data: bytes = b"") -> None:
        """See EventWriter."""
        self.write(data)

    async def end(self, data: bytes) -> None:
        """See EventWriter."""
        self.write(data)

    def quick(self) -> "JournalWriter":
        """See EventWriter."""
        return self

    def ready(self) -> bool:
        """See QuickWriter: whoever reads slowly does not hold up the journal."""
        return True

    def write(self, data: bytes) -> None:
        """See QuickWriter."""
        if self._held:
            for part, held in self._held:
                self._journal.write(held, part)
            self._held.clear()
        if data:
            self._journal.write(data, self._part)


class JournaledStreams:
    """Begins them, and reads them to clients. One for the life of the application."""

    def __init__(self, generation: GenerationService, background: BackgroundAnswers, settings: Settings) -> None:
        self._generation = generation
        self._background = background
        self._by_default = settings.journal_streams
        self._unread_s = settings.stream_unread_s
        self._background_unread_s = settings.background_unread_s

    def wanted(self, model: str, *, header: bool | None, store: bool) -> bool:
        """Whether a stream is to have a journal: as its head says (None: it does not), or because it is stored, or by setting.

        Raises BadRequest where the head asks for what the model cannot have.
        """
        if not self._generation.keeps_journals(model):
            if header:
                raise errors.BadRequest(
                    "Answers of assistants have no journal.", param="X-Ragfleet-Journal", code="unsupported_parameter"
                )
            return False
        return store or self._by_default if header is None else header

    def unread_s(self, tenant: Tenant, *, background: bool = False) -> float:
        """Past which an answer of this tenant is cancelled that nobody reads; 0: never."""
        if background:
            return self._background_unread_s
        own = tenant.smallest(lambda limits: limits.unread_stream_seconds)
        return self._unread_s if own is None else own

    async def begin(
        self, tenant: Tenant, job: BackgroundJob, record: ResponseRecord | None = None, *, required: bool
    ) -> AnswerEvents | None:
        """The events of a stream that begins now; None: its journal cannot be kept now, and is not required. Raises Overloaded,
        CatalogUnavailable."""
        try:
            return await self._background.begin_stream(tenant, job, record)
        except errors.CatalogUnavailable:
            if required:
                raise
            return None

    async def resume(self, tenant: Tenant, kind: AnswerKind, answer_id: str, after: int) -> AnswerEvents:
        """The events behind the one with this number. Raises NotFound, Conflict, BadRequest, CatalogUnavailable."""
        await self._background.check_readable(tenant, kind, answer_id, after)
        return self._background.follow(tenant, kind, answer_id, after)


async def send_events(out: ResponseWriter, events: AnswerEvents) -> None:
    """To the end of a stream, which the caller tells."""
    quick = False
    async with aclosing(events):
        async for each in events:
            await out.events(each)
            if not quick:
                quick = True
                events.relay(out.quick())


async def send_chat(out: ResponseWriter, events: AnswerEvents) -> None:
    """To the end of a chat. One that was cancelled ends with an error."""
    await send_events(out, events)
    cancelled = errors.GenerationFailed("The answer was cancelled: nobody read it.", code="stream_cancelled")
    await out.end(b"" if not events.last or events.last.endswith(DONE) else error_event(cancelled))
