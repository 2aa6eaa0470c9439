"""`POST /v1/responses`: an answer as a list of items, whole or as events. Nothing of it is kept: `store` is false."""

import time
import uuid
from collections.abc import Sequence
from typing import Any

import orjson

from gateway import errors
from gateway.api.rag_serializers import file_citation, file_search_result, rag_citations, rag_head
from gateway.api.response_schemas import ResponsesRequest, parse_responses
from gateway.api.streaming import ResponseWriter, StreamingRequest
from gateway.metrics import Metrics
from gateway.retrieval.context import Grounding
from gateway.retrieval.store_resolver import RAG, is_rag
from gateway.serving.chat import Chat
from gateway.serving.chats import ChatService
from gateway.serving.citations import AnswerCitations
from gateway.tenants.tenant import Tenant

Json = dict[str, Any]


class ResponsesExchange(StreamingRequest):
    """One request."""

    def __init__(self, service: ChatService, metrics: Metrics, body: bytes, tenant: Tenant, request_id: str) -> None:
        self._service = service
        self._metrics = metrics
        self._tenant = tenant
        self._request_id = request_id
        self._request = parse_responses(body)
        self._response = _response(self._request)
        self._events = _Events()
        self._known = False

    async def serve(self, out: ResponseWriter) -> None:
        """See StreamingRequest."""
        self._service.check(self._request)
        self._known = True  # only a model that exists may become a metric's label
        with await self._service.admit(self._tenant) as permit:
            async with self._service.open(self._request, self._tenant, self._request_id, permit) as chat:
                if self._request.stream:
                    await self._stream(out, chat)
                else:
                    text = "".join([piece async for piece in _pieces(chat)])
                    search = [] if chat.grounding is None else [self._search(chat.grounding, _id("fs"))]
                    cited = await chat.citations()
                    message = _message(_id("msg"), _ended(chat), text, _annotations(cited))
                    await out.json(self._finished(chat, [*search, message], cited))

    async def _stream(self, out: ResponseWriter, chat: Chat) -> None:
        event = self._events.event
        begin = [event("response.created", response=self._response)]
        begin.append(event("response.in_progress", response=self._response))
        output: list[Json] = []
        if chat.grounding is not None:
            output.append(self._search(chat.grounding, _id("fs")))
            begin += self._searched(output[0])
        item_id = _id("msg")
        at: Json = {"output_index": len(output)}
        begin.append(event("response.output_item.added", **at, item=_message(item_id, "in_progress")))
        at |= {"content_index": 0, "item_id": item_id}
        begin.append(event("response.content_part.added", **at, part=_text("", [])))
        await out.events(b"".join(begin))
        pieces: list[str] = []
        async for piece in _pieces(chat):
            if piece:
                pieces.append(piece)
                await out.events(event("response.output_text.delta", **at, delta=piece, logprobs=[]))
        text = "".join(pieces)
        cited = await chat.citations()
        citations = _annotations(cited)
        end = [
            event("response.output_text.annotation.added", **at, annotation_index=index, annotation=citation)
            for index, citation in enumerate(citations)
        ]
        end.append(event("response.output_text.done", **at, text=text, logprobs=[]))
        end.append(event("response.content_part.done", **at, part=_text(text, citations)))
        output.append(_message(item_id, _ended(chat), text, citations))
        end.append(event("response.output_item.done", output_index=len(output) - 1, item=output[-1]))
        response = self._finished(chat, output, cited)
        end.append(event(f"response.{response['status']}", response=response))
        await out.end(b"".join(end))

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
        results = [file_search_result(each) for each in grounding.passages] if self._request.results else None
        return {
            "id": item_id,
            "type": "file_search_call",
            "status": "completed",
            "queries": [grounding.query],
            "results": results,
        }

    def _finished(self, chat: Chat, output: Sequence[Json], cited: AnswerCitations) -> Json:
        used = chat.usage()
        usage = {
            "input_tokens": used["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": used["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": used["total_tokens"],
        }
        status = _ended(chat)
        details = {"reason": "max_output_tokens"} if status == "incomplete" else None
        ending = {"status": status, "incomplete_details": details, "output": list(output), "usage": usage}
        rag: Json = {}
        if chat.grounding is not None:  # without the passages: the search's item has them, where they are asked for
            rag = {"rag": {**rag_head(chat.grounding), **rag_citations(cited)}}
        return {**self._response, **ending, **rag, **chat.extra()}

    def failure(self, error: errors.RagfleetError) -> bytes:
        """See StreamingRequest."""
        found = {"code": "server_error", "message": error.message}
        return self._events.event("response.failed", response={**self._response, "status": "failed", "error": found})

    def observe(self, status: int, seconds: float) -> None:
        """See StreamingRequest."""
        rag = self._request.file_search is not None or is_rag(self._request.model)
        named = RAG if is_rag(self._request.model) else self._request.model
        model = named if self._known else "unknown"
        self._metrics.requests.labels("responses", model, self._tenant.name, str(status)).inc()
        self._metrics.duration.labels("1" if rag else "0").observe(seconds)


class _Events:
    """Numbers the events of one stream."""

    def __init__(self) -> None:
        self._next = 0

    def event(self, kind: str, **fields: Any) -> bytes:
        """One event."""
        body = orjson.dumps({"type": kind, "sequence_number": self._next, **fields})
        self._next += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), body)


def _response(request: ResponsesRequest) -> Json:
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
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": request.temperature,
        "text": {"format": {"type": "text"}},
        "tool_choice": choice if isinstance(choice, str) else choice.model_dump(),
        "tools": [tool.model_dump(exclude_none=True) for tool in request.tools or ()],
        "top_p": request.top_p,
        "truncation": "disabled",
        "usage": None,
    }


def _message(item_id: str, status: str, text: str | None = None, citations: Sequence[Json] = ()) -> Json:
    content = [] if text is None else [_text(text, citations)]
    return {"id": item_id, "type": "message", "role": "assistant", "status": status, "content": content}


def _text(text: str, citations: Sequence[Json]) -> Json:
    return {"type": "output_text", "text": text, "annotations": list(citations), "logprobs": []}


def _annotations(cited: AnswerCitations) -> list[Json]:
    return [file_citation(each) for each in cited.citations]


def _ended(chat: Chat) -> str:
    return "incomplete" if chat.finish_reason == "length" else "completed"


async def _pieces(chat: Chat) -> Any:
    while (piece := await chat.next()) is not None:
        yield piece


def _id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex}"
