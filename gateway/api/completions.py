"""`POST /v1/completions`: each prompt is continued as it stands, one after the other, streamed or whole."""

import time
import uuid
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from gateway.api.format_schemas import ChatFormat
from gateway.api.generation_schemas import SERVER_EXTRAS, LogitBias, Sampling
from gateway.api.generation_serializers import chunk_usage, ragfleet_field, usage_shape
from gateway.api.json_body import MAX_VALUES, json_object
from gateway.api.log_prob_serializers import completion_log_probs
from gateway.api.schemas import StreamOptions
from gateway.api.sse import DONE, TextEvent, sse
from gateway.api.streaming import ResponseWriter, StreamingRequest
from gateway.api.validation import (
    MANY,
    ONE,
    TEXT_OR_TOKENS,
    TOKEN_LISTS,
    TOKENS,
    WHOLE,
    Harmless,
    TokenId,
    items,
    read,
    refuse_unsupported,
    token_ids,
    without_nulls,
)
from gateway.dispatch.attempts import Attempt
from gateway.serving.generated_answer import GeneratedAnswer, TokenUsage
from gateway.serving.generation_request import GenerationRequest
from gateway.serving.generation_service import GenerationService
from gateway.serving.guide import Guide
from gateway.tenants.tenant import Tenant

HARMLESS: Harmless = {
    **SERVER_EXTRAS,
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
}
IGNORED = frozenset({"user"})

Tokens = Annotated[list[TokenId], items(1, MAX_VALUES)]
Text = Annotated[str, Field(min_length=1)]


class CompletionRequest(Sampling):
    """The wire schema."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: Annotated[str, Field(min_length=1, max_length=256)]
    prompt: Annotated[
        Annotated[Text, ONE]
        | Annotated[list[Text], items(1, 32), MANY]
        | Annotated[Tokens, TOKENS]
        | Annotated[list[Tokens], items(1, 32), TOKEN_LISTS],
        TEXT_OR_TOKENS,
    ]
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1), WHOLE] | None = None
    logprobs: Annotated[int, Field(ge=0, le=5), WHOLE] | None = None
    logit_bias: LogitBias | None = None
    response_format: ChatFormat | None = None
    """Extension: as in chats; vLLM's."""

    @property
    def format_guide(self) -> tuple[Guide | None, str]:
        """See Sampling."""
        return None if self.response_format is None else self.response_format.guide, "response_format"

    @model_validator(mode="after")
    def _options(self) -> "CompletionRequest":
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: only with stream=true")
        return self

    @property
    def log_probs(self) -> int | None:
        """See Sampling."""
        return self.logprobs

    @property
    def bias(self) -> LogitBias:
        """See Sampling."""
        return self.logit_bias or {}

    @property
    def prompts(self) -> list[str | list[int]]:
        """Each prompt by itself."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        ids = token_ids([each for each in self.prompt if isinstance(each, float)])
        return [ids] if ids else [token_ids(each) if isinstance(each, list) else str(each) for each in self.prompt]

    def generation_requests(self, request_id: str, *, route: str) -> list[GenerationRequest]:
        """What is asked for, one for each prompt."""
        return [
            GenerationRequest(
                id=f"{request_id}/{index}" if index else request_id,
                route=route,
                model=self.model,
                prompt=prompt,
                text_param="prompt",
                sampling=self.sampling_parameters(self.max_tokens),
                max_tokens=self.max_tokens,
                guide_param=self.guide()[1],
            )
            for index, prompt in enumerate(self.prompts)
        ]


def parse_completion(body: bytes) -> CompletionRequest:
    """The request in a body. Raises BadRequest whose `param` names the field."""
    raw = without_nulls(json_object(body))
    refuse_unsupported(raw, HARMLESS, IGNORED)
    return read(CompletionRequest, raw)


class CompletionCall(StreamingRequest):
    """One request with all its prompts: an answer for each, one after the other."""

    ROUTE = "completions"
    """As metrics name it."""

    def __init__(self, service: GenerationService, body: bytes, tenant: Tenant, request_id: str) -> None:
        self._service = service
        self._tenant = tenant
        self._wire = parse_completion(body)
        self._requests = self._wire.generation_requests(request_id, route=self.ROUTE)
        self._base = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": self._wire.model,
        }

    async def serve(self, out: ResponseWriter) -> None:
        """See StreamingRequest."""
        for request in self._requests[1:]:
            self._service.check(request, self._tenant)  # before the first one begins
        choices: list[dict[str, Any]] = []
        used: list[TokenUsage] = []
        attempts: list[Attempt] = []
        for index, request in enumerate(self._requests):
            async with self._service.open(request, self._tenant) as answer:
                if self._wire.stream:
                    await self._stream(out, answer, index)
                else:
                    choices.append(_choice(index, await answer.whole(), answer, answer.finish_reason))
            used.append(answer.usage)
            attempts += answer.attempts
        usage = usage_shape(TokenUsage(sum(u.prompt for u in used), sum(u.completion for u in used)))
        if not self._wire.stream:
            await out.json({**self._base, "choices": choices, "usage": usage, **ragfleet_field(attempts)})
            return
        options = self._wire.stream_options
        last = sse({**self._base, "choices": [], "usage": usage}) if options and options.include_usage else b""
        await out.end(last + DONE)

    async def _stream(self, out: ResponseWriter, answer: GeneratedAnswer, index: int) -> None:
        usage = chunk_usage(self._wire.stream_options, answer)

        def chunk(text: str, reason: str | None = None) -> dict[str, Any]:
            return {**self._base, "choices": [_choice(index, text, answer, reason)], **usage()}

        options = self._wire.stream_options
        each = answer.log_probs is not None or (options is not None and options.continuous_usage_stats)
        await out.pieces(answer, (lambda text: sse(chunk(text))) if each else TextEvent(chunk))
        await out.events(sse({**chunk("", answer.finish_reason), **ragfleet_field(answer.attempts)}))


def _choice(index: int, text: str, answer: GeneratedAnswer, reason: str | None) -> dict[str, Any]:
    told = None if answer.log_probs is None else completion_log_probs(answer.log_probs.take())
    return {"index": index, "text": text, "logprobs": told, "finish_reason": reason}
