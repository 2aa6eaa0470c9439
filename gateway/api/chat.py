"""`POST /v1/chat/completions`: one request and its answer, streamed or whole."""

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from gateway import errors
from gateway.api.bookkeeping import TIER
from gateway.api.chat_chunks import ChunkWriter, chunk_log_probs, tool_call
from gateway.api.chat_schemas import parse_chat
from gateway.api.generation_serializers import AttemptNotes, chunk_usage, ragfleet_field, usage_shape
from gateway.api.journaled_streams import JournaledStreams, send_chat
from gateway.api.json_body import json_object
from gateway.api.rag_serializers import rag_citations, rag_head, rag_sources, url_citation, url_of_file
from gateway.api.sse import DONE, sse
from gateway.api.streaming import EventWriter, ResponseWriter, StreamingRequest
from gateway.knowledge.catalog.answer_types import AnswerKind, BackgroundJob, ChatRecord
from gateway.serving.answer_journal import AnswerJournal
from gateway.serving.choices import Choices
from gateway.serving.event_feed import AnswerEvents
from gateway.serving.generated_answer import GeneratedAnswer
from gateway.serving.generation_service import GenerationService
from gateway.serving.stored_answers import StoredAnswers
from gateway.serving.tool_call_reader import ToolCallReader
from gateway.serving.tools import ArgumentsPiece, CallBegun, TextPiece, ThoughtPiece, ToolCall
from gateway.tenants.caller import dump_caller
from gateway.tenants.tenant import Tenant

Json = dict[str, Any]


class ChatCall(StreamingRequest):
    """One request."""

    ROUTE = "chat"
    """As metrics name it."""

    def __init__(
        self,
        service: GenerationService,
        stored: StoredAnswers,
        body: bytes,
        tenant: Tenant,
        request_id: str,
        *,
        journals: JournaledStreams | None = None,
        journaled: bool | None = None,
    ) -> None:
        """journals: where the stream may have one. journaled: whether its head says that it is to; None: it does not say."""
        self._service = service
        self._stored = stored
        self._tenant = tenant
        self._tells_attempts = True
        raw = json_object(body)
        self._wire = parse_chat(raw)
        self._messages: Sequence[Json] = raw["messages"] if self._wire.store else ()
        self._journals: JournaledStreams | None = None
        wire = self._wire
        if journals is not None and wire.stream and journals.wanted(wire.model, header=journaled, store=wire.store):
            self._journals, self._raw, self._journal_required = journals, raw, journaled or wire.store
        self._request = self._wire.generation_request(request_id, route=self.ROUTE)
        self._id = f"chatcmpl-{os.urandom(16).hex()}"
        self._base = {
            "id": self._id,
            "object": "chat.completion.chunk" if self._wire.stream else "chat.completion",
            "created": int(time.time()),
            "model": self._wire.model,
        }

    async def serve(self, out: ResponseWriter) -> None:
        """See StreamingRequest."""
        if self._journals is not None:
            events = await self._begin(self._journals)
            if events is not None:
                await send_chat(out, events)
                return
        async with self._service.open_choices(self._request, self._tenant) as choices:
            await (self._stream(out, choices) if self._wire.stream else self._whole(out, choices))

    async def write_journaled(self, out: EventWriter, journal: AnswerJournal) -> None:
        """Make the answer, behind what its journal has."""
        # Whoever takes it over has other attempts, and tells the same events; at the end they are told all the same.
        self._tells_attempts = False
        async with self._service.open_choices(self._request, self._tenant, journal) as choices:
            await self._stream(out, choices)

    async def _begin(self, journals: JournaledStreams) -> AnswerEvents | None:
        """Leave it to a task of the gateway; its events."""
        self._service.check(self._request, self._tenant)
        job = BackgroundJob(
            answer_id=self._id,
            kind=AnswerKind.CHAT,
            caller=dump_caller(self._tenant),
            request_id=self._request.id,
            request=self._raw,
            response={},
            created_at=float(self._base["created"]),
            unread_s=journals.unread_s(self._tenant),
            call=self,
        )
        try:
            return await journals.begin(self._tenant, job, required=self._journal_required)
        except errors.RagfleetError as error:
            self._service.refused(self.ROUTE, self._tenant, error)
            raise

    async def _stream(self, out: EventWriter, choices: Choices) -> None:
        options = self._wire.stream_options
        each = options is not None and bool(options.continuous_usage_stats)
        usage = chunk_usage(options, choices)
        left = len(choices.answers)
        failures: list[errors.RagfleetError] = []
        shapes: dict[int, Json] = {}
        writers = [
            ChunkWriter(
                self._base,
                usage,
                index=index,
                usage_changes=each,
                log_probs=answer.log_probs,
                keeps=self._wire.store,
            )
            for index, answer in enumerate(choices.answers)
        ]
        grounding = choices.answers[0].grounding
        # Clients count the choices by their first chunks: those come in order, whichever answer is the first to have text.
        rag = None if grounding is None else {**rag_head(grounding), **rag_sources(grounding)}
        for chunks in writers:
            out.hold(chunks.role(None if chunks.index else rag))
        if grounding is not None:
            await (
                out.events()
            )  # the sources are known before the engine has read the prompt: the client gets them at once

        async def write(index: int, answer: GeneratedAnswer) -> None:
            nonlocal left
            own = out.choice(index)
            try:
                last, shapes[index] = await self._stream_choice(own, answer, writers[index])
                own.hold(last)
            except errors.RagfleetError as error:
                if not out.started:
                    raise
                failures.append(error)  # the others are written to their end before the client hears of it
            left -= 1
            if left and out.started:
                await out.events()

        await choices.each(write)
        if failures:
            raise failures[0]
        if self._wire.store:
            await self._keep(self._completion(choices, shapes), choices)
        usage_told = options is not None and options.include_usage
        told = sse({**self._base, "choices": [], "usage": self._usage(choices)}) if usage_told else b""
        await out.end(told + DONE)

    async def _stream_choice(
        self, out: EventWriter, answer: GeneratedAnswer, chunks: "ChunkWriter"
    ) -> tuple[bytes, Json]:
        """Write all but the last events, which come back, with the choice as a whole answer has it."""
        grounding = answer.grounding
        reader = ToolCallReader(answer, self._choice_id(chunks.index))
        options = self._wire.stream_options
        told = self._tells_attempts and options is not None and options.include_attempts
        notes = AttemptNotes(answer, chunks.note) if told else None
        if answer.tool_parser is None:
            await out.pieces(answer, chunks.text, thought=chunks.thought, note=bytes if notes is None else notes.take)
            text = answer.text
            found = await answer.citations()
        else:
            await self._stream_calls(out, reader, chunks, notes)
            text = reader.text
            found = await answer.citations(text)
        annotations = [*map(url_citation, found.citations), *map(url_of_file, found.made)]
        rag = {} if grounding is None else {"rag": rag_citations(found)}
        reason = self._finish_reason(answer, reader.calls)
        last = chunks.finish(reason, annotations, {**rag, **ragfleet_field(answer.attempts)})
        message = self._message(answer, reader, text, annotations)
        return last, _shape(chunks.index, message, chunks.kept_log_probs, reason)

    async def _stream_calls(
        self, out: EventWriter, reader: ToolCallReader, chunks: "ChunkWriter", notes: AttemptNotes | None
    ) -> None:
        """Text and calls as they come; a call of a custom tool, whose text stands in JSON, when it is complete."""
        write = chunks.older_call if self._wire.older_functions else chunks.call
        held = False  # the last call, which is one of a custom tool
        async for piece in reader.pieces():
            told, last = b"", len(reader.calls) - 1
            if held and not isinstance(piece, ArgumentsPiece):
                ended = last - isinstance(piece, CallBegun)
                told, held = chunks.custom_call(ended, reader.calls[ended]), False
            if isinstance(piece, ThoughtPiece):
                told += chunks.thought(piece.text)
            elif isinstance(piece, TextPiece):
                told += chunks.text(piece.text)
            elif isinstance(piece, CallBegun):
                held = self._wire.tool_kinds.get(piece.name) == "custom"
                told += b"" if held else write(last, reader.calls[-1])
            elif not held:
                told += write(last, piece.text)
            noted = b"" if notes is None else notes.take()
            if noted or told:
                await out.events(noted + told)
        if held:
            await out.events(chunks.custom_call(len(reader.calls) - 1, reader.calls[-1]))

    def _finish_reason(self, answer: GeneratedAnswer, calls: Sequence[ToolCall]) -> str:
        assert answer.finish_reason is not None
        if not calls or answer.finish_reason != "stop" or not calls[-1].is_whole:
            return answer.finish_reason
        return "function_call" if self._wire.older_functions else "tool_calls"

    async def _whole(self, out: ResponseWriter, choices: Choices) -> None:
        shapes: dict[int, Json] = {}
        found: dict[int, Json] = {}

        async def write(index: int, answer: GeneratedAnswer) -> None:
            shapes[index], found[index] = await self._choice(index, answer)

        await choices.each(write)
        body = self._completion(choices, shapes)
        if self._wire.store:
            await self._keep(body, choices)
        grounding, rag = choices.answers[0].grounding, {}
        if grounding is not None:
            rag = {"rag": {**rag_head(grounding), **rag_sources(grounding)}}
            if len(shapes) == 1:
                rag["rag"] |= found[0]
            else:
                for index, shape in shapes.items():
                    shape["rag"] = found[index]
        noted = {} if self._wire.metadata is None else {"metadata": self._wire.metadata}
        await out.json({**body, **noted, **rag, **ragfleet_field(choices.attempts)})

    def _completion(self, choices: Choices, shapes: Mapping[int, Json]) -> Json:
        """The whole answer, without extensions."""
        return {
            **self._base,
            "object": "chat.completion",
            "service_tier": TIER,
            "choices": [shapes[index] for index in sorted(shapes)],
            "usage": self._usage(choices),
        }

    def _usage(self, choices: Choices) -> Json:
        return usage_shape(choices.usage, predicted=self._wire.prediction is not None)

    async def _keep(self, body: Json, choices: Choices) -> None:
        """Store an answer. Raises CatalogUnavailable."""
        grounding = choices.answers[0].grounding
        used = {each.file_id for each in grounding.passages} if grounding is not None else ()
        record = ChatRecord(body=body, messages=self._messages, metadata=self._wire.metadata or {}, sources=tuple(used))
        await self._stored.keep_chat(self._tenant, record)

    async def _choice(self, index: int, answer: GeneratedAnswer) -> tuple[Json, Json]:
        """A whole choice, and its citations as a part of the field `rag`."""
        reader = ToolCallReader(answer, self._choice_id(index))
        text = await reader.whole()
        found = await answer.citations(text)
        annotations = [*map(url_citation, found.citations), *map(url_of_file, found.made)]
        message = self._message(answer, reader, text, annotations)
        reason = self._finish_reason(answer, reader.calls)
        return _shape(index, message, chunk_log_probs(answer.log_probs), reason), rag_citations(found)

    def _message(self, answer: GeneratedAnswer, reader: ToolCallReader, text: str, annotations: Sequence[Any]) -> Json:
        message: Json = {"role": "assistant", "content": None if reader.calls and not text else text, "refusal": None}
        if answer.reasoning is not None and answer.reasoning.text:
            message["reasoning_content"] = answer.reasoning.text
        if reader.calls and self._wire.older_functions:
            message["function_call"] = {"name": reader.calls[0].name, "arguments": reader.calls[0].arguments}
        elif reader.calls:
            message["tool_calls"] = [tool_call(each, self._wire.tool_kinds.get(each.name)) for each in reader.calls]
        if annotations:
            message["annotations"] = annotations
        return message

    def _choice_id(self, index: int) -> str:
        """What the ids of its calls are made from."""
        return f"{self._id}/{index}" if index else self._id


def _shape(index: int, message: Json, log_probs: Json | None, reason: str) -> Json:
    """A choice of a whole answer."""
    return {"index": index, "message": message, "logprobs": log_probs, "finish_reason": reason}
