"""Responses with `background`, made by a task of the gateway: the events go into their journal, and from there to who reads."""

import asyncio
import contextlib

import orjson

from gateway import errors
from gateway.api.journaled_streams import JournalWriter
from gateway.api.response_output import ResponseEvents
from gateway.api.responses import Json, ResponsesCall, ResponseServices
from gateway.knowledge.catalog.answer_types import BackgroundJob
from gateway.serving.answer_journal import AnswerJournal
from gateway.tenants.caller import load_caller


class BackgroundResponses:
    """See AnswerMaker."""

    def __init__(self, services: ResponseServices) -> None:
        self._services = services

    async def make(self, job: BackgroundJob, journal: AnswerJournal) -> None:
        """See AnswerMaker."""
        # In a thread: the request may be large.
        call = await asyncio.to_thread(_BackgroundCall, self._services, job)
        await call.write(JournalWriter(journal), journal)

    async def fail(self, job: BackgroundJob, journal: AnswerJournal, error: errors.RagfleetError) -> None:
        """See AnswerMaker."""
        failed = {"code": errors.face(error).code or "server_error", "message": error.message}
        body = {**job.response, "status": "failed", "error": failed}
        with contextlib.suppress(errors.Conflict, errors.NotFound):  # it was cancelled, or deleted
            await self._services.stored.finish(load_caller(job.caller), body)
            events = ResponseEvents(job.answer_id, journal.next_event)
            journal.end(events.event("response.failed", response=body))


class _BackgroundCall(ResponsesCall):
    """The request of a job, whose answer goes on behind its journal."""

    def __init__(self, services: ResponseServices, job: BackgroundJob) -> None:
        super().__init__(services, orjson.dumps(job.request), load_caller(job.caller), job.request_id)
        self._response = {**job.response, "status": "in_progress"}
        self._events = ResponseEvents(job.answer_id)

    async def write(self, out: JournalWriter, journal: AnswerJournal) -> None:
        """Make the answer, behind what its journal has."""
        async with self._service.open(self._request, self._tenant, journal) as answer:
            await self._stream(out, answer)

    async def _kept(self, response: Json) -> Json:
        await self._stored.finish(self._tenant, response)
        return response
