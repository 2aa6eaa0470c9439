"""Chats with a journal: made by a task of the gateway, and gone on with by a client that comes back (`Last-Event-ID`)."""

import asyncio

import orjson

from gateway import errors
from gateway.api.chat import ChatCall
from gateway.api.journaled_streams import JournaledStreams, JournalWriter, send_chat
from gateway.api.sse import error_event
from gateway.api.streaming import ResponseWriter, StreamHeaders, StreamingRequest
from gateway.knowledge.catalog.answer_types import AnswerKind, BackgroundJob
from gateway.serving.answer_journal import AnswerJournal
from gateway.serving.generation_service import GenerationService
from gateway.serving.stored_answers import StoredAnswers
from gateway.tenants.caller import load_caller
from gateway.tenants.tenant import Tenant


class ChatMaker:
    """See AnswerMaker."""

    def __init__(self, service: GenerationService, stored: StoredAnswers) -> None:
        self._service = service
        self._stored = stored

    async def make(self, job: BackgroundJob, journal: AnswerJournal) -> None:
        """See AnswerMaker."""
        if isinstance(job.call, ChatCall):
            call = job.call
        else:  # in a thread: the request may be large
            call = await asyncio.to_thread(_TakenOverChat, self._service, self._stored, job)
        await call.write_journaled(JournalWriter(journal), journal)

    async def fail(self, job: BackgroundJob, journal: AnswerJournal, error: errors.RagfleetError) -> None:
        """See AnswerMaker."""
        journal.end(error_event(error))


class _TakenOverChat(ChatCall):
    """The request of a job that another gateway has begun."""

    def __init__(self, service: GenerationService, stored: StoredAnswers, job: BackgroundJob) -> None:
        super().__init__(service, stored, orjson.dumps(job.request), load_caller(job.caller), job.request_id)
        self._id = job.answer_id
        self._base |= {"id": job.answer_id, "created": int(job.created_at)}


class ResumedChat(StreamingRequest):
    """The rest of a stream that broke. What else the request says does not matter: it was said before."""

    def __init__(self, journals: JournaledStreams, last_event_id: str, tenant: Tenant) -> None:
        self._journals = journals
        self._tenant = tenant
        self._id, colon, number = last_event_id.rpartition(":")
        if not (colon and number.isascii() and number.isdecimal() and len(number) < 10):
            raise errors.BadRequest("Last-Event-ID is the id of an event of a chat's stream.", param="Last-Event-ID")
        self._after = int(number)

    async def serve(self, out: ResponseWriter) -> None:
        """See StreamingRequest."""
        await send_chat(out, await self._journals.resume(self._tenant, AnswerKind.CHAT, self._id, self._after))


class ChatOpener:
    """See Opener: a chat, or the rest of one."""

    def __init__(self, service: GenerationService, stored: StoredAnswers, journals: JournaledStreams) -> None:
        self._service = service
        self._stored = stored
        self._journals = journals

    def __call__(self, body: bytes, tenant: Tenant, request_id: str, headers: StreamHeaders) -> StreamingRequest:
        """Raises RagfleetError."""
        if headers.last_event_id is not None:
            return ResumedChat(self._journals, headers.last_event_id, tenant)
        given = self._service, self._stored, body, tenant, request_id
        return ChatCall(*given, journals=self._journals, journaled=headers.journal)
