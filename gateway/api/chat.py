"""`POST /v1/chat/completions`: one request and its answer, streamed or whole."""

from typing import Any

from gateway import errors
from gateway.api.rag_serializers import rag_citations, rag_head, rag_sources, url_citation
from gateway.api.schemas import parse_chat
from gateway.api.sse import DONE, ChunkWriter, error_event
from gateway.api.streaming import ResponseWriter, StreamingRequest
from gateway.api.uvicorn_writer import uvicorn_writer
from gateway.serving.chat import Chat
from gateway.serving.chats import ChatService
from gateway.tenants.tenant import Tenant


class ChatExchange(StreamingRequest):
    """One request."""

    def __init__(self, service: ChatService, body: bytes, tenant: Tenant, request_id: str) -> None:
        self._service = service
        self._tenant = tenant
        self._request_id = request_id
        self._request = parse_chat(body)

    async def serve(self, out: ResponseWriter) -> None:
        """See StreamingRequest."""
        self._service.check(self._request)  # a bad request need not wait to hear so
        with await self._service.admit(self._tenant) as permit:
            async with self._service.open(self._request, self._tenant, self._request_id, permit) as chat:
                await (self._stream(out, chat) if self._request.stream else self._whole(out, chat))

    async def _stream(self, out: ResponseWriter, chat: Chat) -> None:
        options = self._request.stream_options
        include_usage = options is not None and bool(options.include_usage)
        writer = ChunkWriter(
            completion_id=chat.id, created=chat.created, model=self._request.model, usage_null=include_usage
        )
        grounding = chat.grounding
        first = writer.role(None if grounding is None else {**rag_head(grounding), **rag_sources(grounding)})
        if grounding is not None:
            # The sources are known before the engine has read the prompt: the client gets them at once.
            await out.events(first)
            first = b""
        relayed = False
        while (piece := await chat.next()) is not None:
            if not piece:
                continue
            await out.events(first + writer.text(piece))
            first = b""
            if not relayed:
                # All but the first piece: written where they are read, as long as the client keeps up.
                relayed = True
                if (chunks := uvicorn_writer(out.send_chunk)) is not None:
                    chat.relay(chunks.ready, lambda text: chunks.write(writer.text(text)))
        assert chat.finish_reason is not None
        cited = await chat.citations()
        annotations = [url_citation(each) for each in cited.citations]
        extra = chat.extra() if grounding is None else {"rag": rag_citations(cited), **chat.extra()}
        end = [first, writer.finish(chat.finish_reason, annotations, extra)]
        if include_usage:
            end.append(writer.usage(chat.usage()))
        await out.end(b"".join([*end, DONE]))

    async def _whole(self, out: ResponseWriter, chat: Chat) -> None:
        pieces: list[str] = []
        while (piece := await chat.next()) is not None:
            pieces.append(piece)
        cited = await chat.citations()
        message: dict[str, Any] = {"role": "assistant", "content": "".join(pieces), "refusal": None}
        if cited.citations:
            message["annotations"] = [url_citation(each) for each in cited.citations]
        rag: dict[str, Any] = {}
        if chat.grounding is not None:
            rag = {"rag": {**rag_head(chat.grounding), **rag_sources(chat.grounding), **rag_citations(cited)}}
        await out.json(
            {
                "id": chat.id,
                "object": "chat.completion",
                "created": chat.created,
                "model": self._request.model,
                "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": chat.finish_reason}],
                "usage": chat.usage(),
                **rag,
                **chat.extra(),
            }
        )

    def failure(self, error: errors.RagfleetError) -> bytes:
        """See StreamingRequest."""
        return error_event(errors.body(error)) + DONE

    def observe(self, status: int, seconds: float) -> None:
        """See StreamingRequest."""
        self._service.observe(self._request, self._tenant, status=status, seconds=seconds)
