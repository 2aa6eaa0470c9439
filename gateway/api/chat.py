"""`POST /v1/chat/completions`: one response object owns everything that a request holds.

Admission's permit, the placement and the engine's stream are all taken inside `ChatResponse.__call__` and given back in
its `finally`, so that no path (an error, a client that left, a shutdown) can leak one.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from gateway import errors
from gateway.api.citations import findings, url_citation
from gateway.api.direct import direct_chunks
from gateway.api.middleware import raw_send, read_body
from gateway.api.schemas import ChatRequest, parse_chat
from gateway.api.sse import DONE, ChunkWriter, error_event
from gateway.serving.chat import Chat
from gateway.serving.chats import ChatService
from gateway.tenants.directory import Directory
from gateway.tenants.tenant import Tenant

JSON = (b"content-type", b"application/json")
EVENTS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class ChatEndpoint:
    """The ASGI application of the path: key, body, schema, answer.

    It is a plain ASGI application because FastAPI's own way to an endpoint (dependencies, exit stacks, a request object)
    costs as much as a dozen tokens, and reads and refuses bodies in shapes that are not OpenAI's.
    """

    def __init__(self, service: ChatService, tenants: Directory, max_body_bytes: int) -> None:
        self._service = service
        self._tenants = tenants
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises RagfleetError for what is refused before anything is taken."""
        authorization = next((value for name, value in scope["headers"] if name == b"authorization"), None)
        tenant = self._tenants.authenticate(authorization.decode("latin-1") if authorization is not None else None)
        body = await read_body(scope, receive, self._max_body_bytes)
        if body is not None:
            answer = ChatResponse(self._service, parse_chat(body), tenant, scope["state"]["request_id"])
            await answer(scope, receive, send)


class ChatResponse:
    """Answers one chat completion request, streamed or whole."""

    def __init__(self, service: ChatService, request: ChatRequest, tenant: Tenant, request_id: str) -> None:
        self._service = service
        self._request = request
        self._tenant = tenant
        self._request_id = request_id
        self._started = time.monotonic()
        self._headers_sent = False
        self._complete = False
        self._client_left = False
        self._status = 200

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve until the answer is out or the client has left."""
        # A task of its own: a token then resumes five frames, not these and the whole stack of middleware above them.
        work = asyncio.ensure_future(self._serve(scope, send))
        watcher = asyncio.ensure_future(self._watch(receive, work))
        try:
            await work
        except asyncio.CancelledError:
            if not self._client_left:
                raise
            self._status = 499  # the client closed the request (nginx's number; only for our metrics)
        except Exception:
            self._status = 500
            raise
        finally:
            watcher.cancel()
            seconds = time.monotonic() - self._started
            self._service.observe(self._request, self._tenant, status=self._status, seconds=seconds)

    async def _watch(self, receive: Receive, serving: "asyncio.Task[None]") -> None:
        """End the serving when the client leaves. The server says "disconnect" after a whole answer, too."""
        while (await receive())["type"] != "http.disconnect":
            pass
        if not self._complete:
            self._client_left = True
            serving.cancel()

    async def _serve(self, scope: Scope, send: Send) -> None:
        try:
            self._service.check(self._request)  # a bad request need not wait to hear so
            permit = await self._service.admit(self._tenant)
            with permit:
                async with self._service.open(self._request, self._tenant, self._request_id, permit) as chat:
                    if self._request.stream:
                        await self._stream(chat, send, raw_send(scope, send))
                    else:
                        await self._whole(chat, send)
        except errors.RagfleetError as error:
            self._status = errors.face(error).status
            self._complete = True
            if self._headers_sent:
                await send({"type": "http.response.body", "body": error_event(errors.body(error)) + DONE})
            else:
                await send_error(send, error)

    async def _stream(self, chat: Chat, send: Send, send_chunk: Send) -> None:
        options = self._request.stream_options
        include_usage = options is not None and bool(options.include_usage)
        writer = ChunkWriter(
            completion_id=chat.id, created=chat.created, model=self._request.model, usage_null=include_usage
        )
        first = writer.role(chat.rag)
        if chat.rag is not None:
            # The sources are known before the engine has read the prompt: the client gets them at once.
            await self._start(send)
            await send_chunk({"type": "http.response.body", "body": first, "more_body": True})
            first = b""
        relayed = False
        while (piece := await chat.next()) is not None:
            if not piece:
                continue
            body = writer.text(piece)
            if first:
                await self._start(send)
                body, first = first + body, b""
            await send_chunk({"type": "http.response.body", "body": body, "more_body": True})
            if not relayed:
                # All but the first piece: written where they are read, as long as the client keeps up.
                relayed = True
                if (chunks := direct_chunks(send_chunk)) is not None:
                    chat.relay(chunks.ready, lambda text: chunks.write(writer.text(text)))
        if first:
            await self._start(send)
        assert chat.finish_reason is not None
        cited = await chat.cited()
        annotations = [url_citation(each) for each in cited.citations]
        extra = chat.extra() if chat.rag is None else {"rag": findings(cited), **chat.extra()}
        end = [first, writer.finish(chat.finish_reason, annotations, extra)]
        if include_usage:
            end.append(writer.usage(chat.usage()))
        end.append(DONE)
        self._complete = True
        await send_chunk({"type": "http.response.body", "body": b"".join(end)})

    async def _start(self, send: Send) -> None:
        self._headers_sent = True
        await send({"type": "http.response.start", "status": 200, "headers": EVENTS})

    async def _whole(self, chat: Chat, send: Send) -> None:
        pieces: list[str] = []
        while (piece := await chat.next()) is not None:
            pieces.append(piece)
        cited = await chat.cited()
        self._complete = True
        message: dict[str, Any] = {"role": "assistant", "content": "".join(pieces), "refusal": None}
        if cited.citations:
            message["annotations"] = [url_citation(each) for each in cited.citations]
        body = {
            "id": chat.id,
            "object": "chat.completion",
            "created": chat.created,
            "model": self._request.model,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": chat.finish_reason}],
            "usage": chat.usage(),
            **({} if chat.rag is None else {"rag": {**chat.rag, **findings(cited)}}),
            **chat.extra(),
        }
        await send_json(send, 200, body)


async def send_json(
    send: Send, status: int, body: Mapping[str, Any], headers: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    """A whole JSON response."""
    raw = orjson.dumps(body)
    head = [JSON, (b"content-length", str(len(raw)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": raw})


async def send_error(send: Send, error: errors.RagfleetError) -> None:
    """An error in OpenAI's shape."""
    await send_json(send, errors.face(error).status, errors.body(error), errors.headers(error))
