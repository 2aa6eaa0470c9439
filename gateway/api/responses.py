"""`POST /v1/responses`: an answer as a list of items, whole or as events, which is stored at its end."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway import errors
from gateway.api.generation_serializers import ragfleet_field
from gateway.api.journaled_streams import JournaledStreams, send_events
from gateway.api.json_body import json_object
from gateway.api.log_prob_serializers import content_log_probs
from gateway.api.rag_serializers import file_citation, file_path, file_search_result, rag_citations, rag_head
from gateway.api.response_items import as_items
from gateway.api.response_output import (
    OutputItems,
    ResponseEvents,
    call_item,
    message_item,
    new_call_id,
    reasoning_item,
)
from gateway.api.response_schemas import ResponsesRequest, parse_responses
from gateway.api.response_serializers import new_response
from gateway.api.response_streams import cancelled_event
from gateway.api.streaming import NOTHING_SAID, EventWriter, ResponseWriter, StreamHeaders, StreamingRequest
from gateway.knowledge.catalog.answer_types import AnswerKind, BackgroundJob, ResponseRecord
from gateway.knowledge.catalog.types import SOURCES
from gateway.retrieval.context import Grounding
from gateway.serving.background import BackgroundAnswers
from gateway.serving.citations import AnswerCitations
from gateway.serving.event_feed import AnswerEvents
from gateway.serving.generated_answer import GeneratedAnswer
from gateway.serving.generation_service import GenerationService
from gateway.serving.stored_answers import AnswerHistory, StoredAnswers
from gateway.serving.tool_call_reader import ToolCallReader
from gateway.serving.tools import ArgumentsPiece, CallBegun, ThoughtPiece, ToolCall
from gateway.tenants.caller import dump_caller
from gateway.tenants.tenant import Tenant

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ResponseServices:
    """What responses are made with."""

    generation: GenerationService
    stored: StoredAnswers
    background: BackgroundAnswers
    journals: JournaledStreams


class ResponsesCall(StreamingRequest):
    """One request."""

    ROUTE = "responses"
    """As metrics name it."""

    def __init__(
        self,
        services: ResponseServices,
        body: bytes,
        tenant: Tenant,
        request_id: str,
        headers: StreamHeaders = NOTHING_SAID,
    ) -> None:
        self._service = services.generation
        self._stored = stored = services.stored
        self._background = services.background
        self._journals = services.journals
        self._tenant = tenant
        self._request_id = request_id
        self._raw = json_object(body)
        self._wire = parse_responses(self._raw)
        self._history = AnswerHistory()
        self._store = stored.by_default if self._wire.store is None else self._wire.store
        self._store |= self._wire.kept_in is not None
        self._input = as_items(self._raw.get("input") or []) if self._store or self._wire.continues else []
        if headers.journal and not self._store:
            raise errors.BadRequest("A stream with a journal is stored: leave out store=false.", param="store")
        store = bool(self._wire.store)
        self._journal_required = headers.journal or store
        self._journaled = (
            self._wire.stream
            and self._store
            and self._journals.wanted(self._wire.model, header=headers.journal, store=store)
        )
        self._response = new_response(self._wire, store=self._store)
        self._events = ResponseEvents(self._response["id"])
        if not self._wire.continues:
            self._request = self._wire.generation_request(request_id, route=self.ROUTE)

    async def serve(self, out: ResponseWriter) -> None:
        """See StreamingRequest."""
        events: AnswerEvents | None = None
        try:
            await self._continue()
            if self._wire.background or self._journaled:
                events = await self._begin()
        except errors.RagfleetError as error:
            self._service.refused(self.ROUTE, self._tenant, error)
            raise
        if events is not None:
            await send_events(out, events)
            catalog = self._stored.catalog(self._tenant)
            await out.end(await cancelled_event(events, catalog, self._response["id"]))
            return
        if self._wire.background:
            await out.json(self._response)
            return
        async with self._service.open(self._request, self._tenant) as answer:
            await (self._stream(out, answer) if self._wire.stream else self._whole(out, answer))

    async def count_tokens(self) -> int:
        """Tokens that its prompt would have. Raises RagfleetError."""
        await self._continue()
        return await self._service.count_tokens(self._request, self._tenant)

    async def _begin(self) -> AnswerEvents | None:
        """Leave it to a task of the gateway; its events, where it is a stream.

        Raises RagfleetError for what could not be answered anyway.
        """
        self._service.check(self._request, self._tenant)
        record = ResponseRecord(
            body=self._response,
            input=self._input,
            chain=self._history.chain,
            conversation_id=self._history.conversation_id,
        )
        background = self._wire.background
        job = BackgroundJob(
            answer_id=self._response["id"],
            kind=AnswerKind.BACKGROUND if background else AnswerKind.RESPONSE,
            caller=dump_caller(self._tenant),
            request_id=self._request_id,
            request=self._raw,
            response=self._response,
            created_at=time.time(),
            unread_s=self._journals.unread_s(self._tenant, background=background),
        )
        if not self._wire.stream:
            await self._background.begin(self._tenant, job, record)
            return None
        return await self._journals.begin(self._tenant, job, record, required=background or self._journal_required)

    async def _continue(self) -> None:
        """Put what is stored before the input, and in place of references. Raises NotFound, Conflict, BadRequest."""
        given = self._wire
        if not given.continues:
            return
        self._history = await self._stored.history(self._tenant, given.previous_response_id, given.conversation_id)
        self._input = await self._stored.referred(self._tenant, self._input)
        raw = {name: value for name, value in self._raw.items() if name not in ("previous_response_id", "conversation")}
        self._raw = {**raw, "input": [*self._history.items, *self._input]}
        try:
            self._wire = parse_responses(self._raw)
            self._request = self._wire.generation_request(self._request_id, route=self.ROUTE)
        except errors.BadRequest as error:
            self._as_sent(error, given)
            raise

    def _as_sent(self, error: errors.BadRequest, given: ResponsesRequest) -> None:
        """Items of the input are counted from the first one that the client has sent, not from the first one that is stored."""
        item = re.match(r"input\.(\d+)", error.param or "")
        if item is None:
            return
        at = int(item[1]) - len(self._history.items)
        own = f"input.{at}" if at >= 0 else "conversation" if given.kept_in is not None else "previous_response_id"
        param = f"{own}{(error.param or '')[item.end() :]}" if at >= 0 else own
        error.message = error.message.replace(f"'{error.param}'", f"'{param}'", 1)
        error.param = param

    async def _kept(self, response: Json) -> Json:
        """The response after it was stored, where it is to be. Raises CatalogUnavailable where its client has asked for that."""
        if not self._store:
            return response
        history = self._history
        record = ResponseRecord(
            body=response, input=self._input, chain=history.chain, conversation_id=history.conversation_id
        )
        wanted = self._wire.store is True or history.conversation_id is not None
        return {**response, "store": await self._stored.keep(self._tenant, record, wanted=wanted)}

    async def _whole(self, out: ResponseWriter, answer: GeneratedAnswer) -> None:
        reader = ToolCallReader(answer, self._response["id"])
        text, grounding = await reader.whole(), answer.grounding
        output = [] if grounding is None else [self._search(grounding, self._events.new_item("fs"))]
        found, status = await answer.citations(text), _ended(answer)
        thoughts = "" if answer.reasoning is None else answer.reasoning.text
        if thoughts:
            cut = "completed" if text or reader.calls else status
            output.append(reasoning_item(self._events.new_item("rs"), cut, thoughts))
        if text or not (reader.calls or (thoughts and status == "incomplete")):
            output.append(
                message_item(self._events.new_item("msg"), status, text, _annotations(found), _log_probs(answer))
            )
        for index, call in enumerate(reader.calls, 1):
            cut = _call_ended(call, status) if index == len(reader.calls) else "completed"
            kind = self._wire.tool_kinds.get(call.name, "function")
            item = call_item(call, cut, new_call_id(self._events, kind), kind)
            output += [] if item is None else [item]
        await out.json(await self._kept(self._finished(answer, output, found)))

    async def _stream(self, out: EventWriter, answer: GeneratedAnswer) -> None:
        event = self._events.event
        begin = [event("response.created", response=self._response)]
        begin.append(event("response.in_progress", response=self._response))
        search = [] if answer.grounding is None else [self._search(answer.grounding, self._events.new_item("fs"))]
        for item in search:
            begin += self._searched(item)
        output = OutputItems(self._events, search, log_probs=answer.log_probs)
        if answer.tool_parser is None and answer.reasoning is not None:
            await out.events(b"".join(begin))
            await out.pieces(answer, output.text, thought=output.thought)
            found = await answer.citations()
            end = self._end_message(answer, output, found)
        elif answer.tool_parser is None:
            await out.events(b"".join([*begin, output.begin_message()]))
            await out.pieces(answer, output.delta)
            found = await answer.citations()
            end = output.end_message(_ended(answer), answer.text, _annotations(found))
        else:
            await out.events(b"".join(begin))
            found, end = await self._stream_calls(out, answer, output)
        response = await self._kept(self._finished(answer, output.items, found))
        await out.end(end + event(f"response.{response['status']}", response=response))

    def _end_message(self, answer: GeneratedAnswer, output: OutputItems, found: AnswerCitations) -> bytes:
        """The end of the one message behind the thoughts; there is none where the answer ended among them."""
        status, told = _ended(answer), b""
        if output.writing != "message":
            if status == "incomplete" and output.writing == "reasoning":
                return output.end_reasoning(status)
            told = output.end_reasoning("completed") + output.begin_message()
        return told + output.end_message(status, answer.text, _annotations(found))

    async def _stream_calls(
        self, out: EventWriter, answer: GeneratedAnswer, output: OutputItems
    ) -> tuple[AnswerCitations, bytes]:
        """Messages and calls as they come, but for the end of the last one, which is given back with what the answer cites."""
        reader = ToolCallReader(answer, self._response["id"])
        found, text = AnswerCitations(), ""

        async def end(status: str) -> bytes:
            """Of the item that is being written."""
            nonlocal found, text
            if output.writing == "call":
                return output.end_call(status)
            if output.writing == "reasoning":
                return output.end_reasoning(status)
            if output.writing is None:
                return b""
            found = await answer.citations(text)
            told, text = output.end_message(status, text, _annotations(found)), ""
            return told

        async for piece in reader.pieces():
            if isinstance(piece, CallBegun):
                kind = self._wire.tool_kinds.get(piece.name, "function")
                told = await end("completed") + output.begin_call(reader.calls[-1], kind)
            elif isinstance(piece, ThoughtPiece):
                told = b"" if output.writing in (None, "reasoning") else await end("completed")
                told += output.thought(piece.text)
            elif isinstance(piece, ArgumentsPiece):
                told = output.delta(piece.text)
            else:
                told = b"" if output.writing == "message" else await end("completed") + output.begin_message()
                told += output.delta(piece.text)
                text += piece.text
            if told:
                await out.events(told)
        begun = output.writing is not None
        status = _ended(answer)
        last = _call_ended(reader.calls[-1], status) if output.writing == "call" else status
        return found, (b"" if begun else output.begin_message()) + await end(last)

    def _searched(self, item: Json) -> list[bytes]:
        """The events of a search: it is over when the stream begins, so that its errors have a status of their own."""
        event, at = self._events.event, {"output_index": 0, "item_id": item["id"]}
        begun = {**item, "status": "in_progress", "queries": [], "results": None}
        return [
            event("response.output_item.added", output_index=0, item=begun),
            event("response.file_search_call.in_progress", **at),
            event("response.file_search_call.searching", **at),
            event("response.file_search_call.completed", **at),
            event("response.output_item.done", output_index=0, item=item),
        ]

    def _search(self, grounding: Grounding, item_id: str) -> Json:
        results = [file_search_result(each) for each in grounding.passages] if self._wire.results else None
        return {
            "id": item_id,
            "type": "file_search_call",
            "status": "completed",
            "queries": [grounding.query],
            "results": results,
            SOURCES: sorted({each.file_id for each in grounding.passages}),
        }

    def _finished(self, answer: GeneratedAnswer, output: Sequence[Json], found: AnswerCitations) -> Json:
        used = answer.usage
        usage = {
            "input_tokens": used.prompt,
            "input_tokens_details": {"cached_tokens": used.cached, "cache_write_tokens": 0},
            "output_tokens": used.completion,
            "output_tokens_details": {"reasoning_tokens": used.reasoning},
            "total_tokens": used.prompt + used.completion,
        }
        status = _ended(answer)
        details = {"reason": "max_output_tokens"} if status == "incomplete" else None
        ended_at = int(time.time()) if status == "completed" else None
        ending = {
            "status": status,
            "completed_at": ended_at,
            "incomplete_details": details,
            "output": list(output),
            "usage": usage,
        }
        rag: Json = {}
        if answer.grounding is not None:  # without the passages: the search's item has them, where they are asked for
            rag = {"rag": {**rag_head(answer.grounding), **rag_citations(found)}}
        return {**self._response, **ending, **rag, **ragfleet_field(answer.attempts)}

    def failure(self, error: errors.RagfleetError) -> bytes:
        """See StreamingRequest."""
        found = {"code": "server_error", "message": error.message}
        return self._events.event("response.failed", response={**self._response, "status": "failed", "error": found})


def _log_probs(answer: GeneratedAnswer) -> list[Json]:
    """Of all of the answer's tokens, where they are asked for."""
    return [] if answer.log_probs is None else content_log_probs(answer.log_probs.take())


def _annotations(found: AnswerCitations) -> list[Json]:
    return [*map(file_citation, found.citations), *map(file_path, found.made)]


def _ended(answer: GeneratedAnswer) -> str:
    return "incomplete" if answer.finish_reason == "length" else "completed"


def _call_ended(call: ToolCall, status: str) -> str:
    """Of the call with which an answer ends."""
    return status if call.is_whole else "incomplete"
