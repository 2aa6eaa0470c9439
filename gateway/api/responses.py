"""`POST /v1/responses`: an answer as a list of items, whole or as events, which is stored at its end."""

import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from gateway import errors
from gateway.api.generation_serializers import ragfleet_field
from gateway.api.json_body import json_object
from gateway.api.log_prob_serializers import content_log_probs
from gateway.api.rag_serializers import file_citation, file_search_result, rag_citations, rag_head
from gateway.api.response_items import as_items
from gateway.api.response_schemas import ResponsesRequest, parse_responses
from gateway.api.sse import TextEvent, sse
from gateway.api.streaming import ResponseWriter, StreamingRequest
from gateway.knowledge.catalog.types import ResponseRecord
from gateway.retrieval.context import Grounding
from gateway.serving.citations import AnswerCitations
from gateway.serving.generated_answer import GeneratedAnswer
from gateway.serving.generation_service import GenerationService
from gateway.serving.stored_answers import AnswerHistory, StoredAnswers
from gateway.tenants.tenant import Tenant

Json = dict[str, Any]


class ResponsesCall(StreamingRequest):
    """One request."""

    ROUTE = "responses"
    """As metrics name it."""

    def __init__(
        self, service: GenerationService, stored: StoredAnswers, body: bytes, tenant: Tenant, request_id: str
    ) -> None:
        self._service = service
        self._stored = stored
        self._tenant = tenant
        self._request_id = request_id
        self._raw = json_object(body)
        self._wire = parse_responses(self._raw)
        self._history = AnswerHistory()
        self._store = stored.by_default if self._wire.store is None else self._wire.store
        self._store |= self._wire.kept_in is not None
        self._input = as_items(self._raw["input"]) if self._store or self._wire.continues else []
        self._response = _response(self._wire, store=self._store)
        self._events = _Events()
        if not self._wire.continues:
            self._request = self._wire.generation_request(request_id, route=self.ROUTE)

    async def serve(self, out: ResponseWriter) -> None:
        """See StreamingRequest."""
        try:
            await self._continue()
        except errors.RagfleetError as error:
            self._service.refused(self.ROUTE, self._tenant, error)
            raise
        async with self._service.open(self._request, self._tenant) as answer:
            await (self._stream(out, answer) if self._wire.stream else self._whole(out, answer))

    async def count_tokens(self) -> int:
        """Tokens that its prompt would have. Raises RagfleetError."""
        await self._continue()
        return await self._service.count_tokens(self._request, self._tenant)

    async def _continue(self) -> None:
        """Put what is stored before the input, and in place of references. Raises NotFound, Conflict, BadRequest."""
        given = self._wire
        if not given.continues:
            return
        self._history = await self._stored.history(self._tenant, given.previous_response_id, given.conversation_id)
        self._input = await self._stored.referred(self._tenant, self._input)
        raw = {name: value for name, value in self._raw.items() if name not in ("previous_response_id", "conversation")}
        self._wire = parse_responses({**raw, "input": [*self._history.items, *self._input]})
        self._request = self._wire.generation_request(self._request_id, route=self.ROUTE)

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
        text, grounding = await answer.whole(), answer.grounding
        search = [] if grounding is None else [self._search(grounding, _id("fs"))]
        found = await answer.citations()
        message = _message(_id("msg"), _ended(answer), text, _annotations(found), _log_probs(answer))
        await out.json(await self._kept(self._finished(answer, [*search, message], found)))

    async def _stream(self, out: ResponseWriter, answer: GeneratedAnswer) -> None:
        event = self._events.event
        begin = [event("response.created", response=self._response)]
        begin.append(event("response.in_progress", response=self._response))
        output: list[Json] = []
        if answer.grounding is not None:
            output.append(self._search(answer.grounding, _id("fs")))
            begin += self._searched(output[0])
        item_id = _id("msg")
        at: Json = {"output_index": len(output)}
        begin.append(event("response.output_item.added", **at, item=_message(item_id, "in_progress")))
        at |= {"content_index": 0, "item_id": item_id}
        begin.append(event("response.content_part.added", **at, part=_text("", [])))
        await out.events(b"".join(begin))
        told: list[Json] = []
        await out.pieces(answer, self._deltas(answer, at, told))
        told += _log_probs(answer)
        text = answer.text
        found = await answer.citations()
        citations = _annotations(found)
        end = [
            event("response.output_text.annotation.added", **at, annotation_index=index, annotation=citation)
            for index, citation in enumerate(citations)
        ]
        end.append(event("response.output_text.done", **at, text=text, logprobs=told))
        end.append(event("response.content_part.done", **at, part=_text(text, citations, told)))
        output.append(_message(item_id, _ended(answer), text, citations, told))
        end.append(event("response.output_item.done", output_index=len(output) - 1, item=output[-1]))
        response = await self._kept(self._finished(answer, output, found))
        end.append(event(f"response.{response['status']}", response=response))
        await out.end(b"".join(end))

    def _deltas(self, answer: GeneratedAnswer, at: Json, told: list[Json]) -> Callable[[str], bytes]:
        """The events of pieces of text. told: takes their log probabilities, where they are asked for."""
        kind = "response.output_text.delta"
        if answer.log_probs is None:
            return self._events.deltas(kind, **at, logprobs=[])

        def delta(piece: str) -> bytes:
            new = _log_probs(answer)
            told.extend(new)
            return self._events.event(kind, **at, delta=piece, logprobs=new)

        return delta

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
        }

    def _finished(self, answer: GeneratedAnswer, output: Sequence[Json], found: AnswerCitations) -> Json:
        used = answer.usage
        usage = {
            "input_tokens": used.prompt,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": used.completion,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": used.prompt + used.completion,
        }
        status = _ended(answer)
        details = {"reason": "max_output_tokens"} if status == "incomplete" else None
        ending = {"status": status, "incomplete_details": details, "output": list(output), "usage": usage}
        rag: Json = {}
        if answer.grounding is not None:  # without the passages: the search's item has them, where they are asked for
            rag = {"rag": {**rag_head(answer.grounding), **rag_citations(found)}}
        return {**self._response, **ending, **rag, **ragfleet_field(answer.attempts)}

    def failure(self, error: errors.RagfleetError) -> bytes:
        """See StreamingRequest."""
        found = {"code": "server_error", "message": error.message}
        return self._events.event("response.failed", response={**self._response, "status": "failed", "error": found})


class _Events:
    """Numbers the events of one stream."""

    def __init__(self) -> None:
        self._next = 0

    def event(self, kind: str, **fields: Any) -> bytes:
        """One event."""
        return sse({"type": kind, "sequence_number": self._number(), **fields}, name=kind)

    def deltas(self, kind: str, **fields: Any) -> Callable[[str], bytes]:
        """Events that add a piece of text each."""
        event = TextEvent(lambda text: {"type": kind, **fields, "delta": text}, name=kind)

        def numbered(piece: str) -> bytes:
            return b'%b%b,"sequence_number":%d}\n\n' % (event.before, orjson.dumps(piece), self._number())

        return numbered

    def _number(self) -> int:
        number, self._next = self._next, self._next + 1
        return number


def _response(request: ResponsesRequest, *, store: bool) -> Json:
    """The response object before there is anything in it."""
    choice = request.tool_choice
    return {
        "id": _id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "metadata": request.metadata or {},
        "model": request.model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": request.previous_response_id,
        "reasoning": {"effort": None, "summary": None},
        "store": store,
        "temperature": request.temperature,
        "text": {"format": {"type": "text"}},
        "tool_choice": choice if isinstance(choice, str) else choice.model_dump(),
        "tools": [tool.model_dump(exclude_none=True) for tool in request.tools or ()],
        "top_logprobs": request.top_logprobs,
        "top_p": request.top_p,
        "truncation": request.truncation,
        "usage": None,
        **({} if request.conversation_id is None else {"conversation": {"id": request.conversation_id}}),
    }


def _message(
    item_id: str, status: str, text: str | None = None, citations: Sequence[Json] = (), log_probs: Sequence[Json] = ()
) -> Json:
    content = [] if text is None else [_text(text, citations, log_probs)]
    return {"id": item_id, "type": "message", "role": "assistant", "status": status, "content": content}


def _text(text: str, citations: Sequence[Json], log_probs: Sequence[Json] = ()) -> Json:
    return {"type": "output_text", "text": text, "annotations": list(citations), "logprobs": list(log_probs)}


def _log_probs(answer: GeneratedAnswer) -> list[Json]:
    """Of the tokens since the last call."""
    return [] if answer.log_probs is None else content_log_probs(answer.log_probs.take())


def _annotations(found: AnswerCitations) -> list[Json]:
    return [file_citation(each) for each in found.citations]


def _ended(answer: GeneratedAnswer) -> str:
    return "incomplete" if answer.finish_reason == "length" else "completed"


def _id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex}"
