"""`POST /v1/completions`: each prompt is continued as it stands, one after the other, streamed or whole."""

import secrets
import time
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from gateway import errors
from gateway.api.bookkeeping import NamedUser
from gateway.api.chat_schemas import StreamOptions
from gateway.api.format_schemas import ChatFormat
from gateway.api.generation_schemas import MAX_CHOICES, SERVER_EXTRAS, LogitBias, SamplingRequest
from gateway.api.generation_serializers import chunk_usage, ragfleet_field, usage_shape
from gateway.api.json_body import json_object
from gateway.api.log_prob_serializers import completion_log_probs
from gateway.api.sse import DONE, TextEvent, sse
from gateway.api.streaming import ResponseWriter, StreamHeaders, StreamingRequest
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
    texts_or_ids,
    without_nulls,
)
from gateway.dispatch.attempts import Attempt
from gateway.errors import BadRequest
from gateway.serving.choices import Choices
from gateway.serving.generated_answer import GeneratedAnswer, TokenUsage
from gateway.serving.generation_request import GenerationRequest
from gateway.serving.generation_service import GenerationService
from gateway.tenants.tenant import Tenant

HARMLESS: Harmless = {
    **SERVER_EXTRAS,
}
MAX_ANSWERS = 64
"""Of one request, to all of its prompts."""

MAX_PROMPT = 300_000
"""Token ids of one prompt; a body holds some values more."""

Tokens = Annotated[list[TokenId], items(1, MAX_PROMPT)]
Text = Annotated[str, Field(min_length=1)]


class CompletionRequest(NamedUser, SamplingRequest):
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
    max_tokens: Annotated[int, Field(ge=1, lt=2**63), WHOLE] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES), WHOLE] = 1
    best_of: Annotated[int, Field(ge=1, le=MAX_CHOICES), WHOLE] | None = None
    """Answers that are made; the `n` that the model thinks most of are given."""
    echo: bool = False
    suffix: str | None = None
    """What stands behind the answer."""
    logprobs: Annotated[int, Field(ge=0, le=5), WHOLE] | None = None
    logit_bias: LogitBias | None = None
    response_format: ChatFormat | None = None
    """Extension: as in chats; vLLM's."""

    @property
    def format(self) -> tuple[ChatFormat | None, str]:
        """See SamplingRequest."""
        return self.response_format, "response_format"

    @model_validator(mode="after")
    def _options(self) -> "CompletionRequest":
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: only with stream=true")
        if self.best_of is not None and self.best_of < self.n:
            raise ValueError(f"best_of: it is less than n, which is {self.n}")
        if self.stream and self.choices > self.n:
            raise ValueError("best_of: which answers are best is known at their end, so they cannot be streamed")
        if self.echo and self.logprobs is not None:
            raise ValueError("echo: not with logprobs; the engine tells none of the prompt's tokens")
        several = isinstance(self.prompt, list) and not isinstance(self.prompt[0], float)
        if (count := len(self.prompt) * self.choices if several else 0) > MAX_ANSWERS:
            name = "n" if self.best_of is None else "best_of"
            raise ValueError(f"{name}: with so many prompts these are {count} answers, over {MAX_ANSWERS}")
        return self

    @property
    def log_probs(self) -> int | None:
        """See SamplingRequest. What the model thinks of its answers decides which are best."""
        return 0 if self.logprobs is None and self.choices > self.n else self.logprobs

    @property
    def choices(self) -> int:
        """Answers to each prompt."""
        return self.n if self.best_of is None else self.best_of

    @property
    def bias(self) -> LogitBias:
        """See SamplingRequest."""
        return self.logit_bias or {}

    @property
    def prompts(self) -> list[str | list[int]]:
        """Each prompt by itself."""
        return texts_or_ids(self.prompt)

    def generation_requests(self, request_id: str, *, route: str) -> list[GenerationRequest]:
        """What is asked for, one for each prompt."""
        return [
            GenerationRequest(
                id=f"{request_id}/{index}" if index else request_id,
                route=route,
                model=self.model,
                prompt=prompt,
                suffix=self.suffix or "",
                text_param="prompt",
                choices=self.choices,
                own_names={} if self.logprobs is not None else {"logprobs": "best_of"},
                sampling=self.sampling_parameters(self.max_tokens),
                max_tokens=self.max_tokens,
                guide_param=self.guided[1],
            )
            for index, prompt in enumerate(self.prompts)
        ]


def parse_completion(body: bytes) -> CompletionRequest:
    """The request in a body. Raises BadRequest whose `param` names the field."""
    raw = without_nulls(json_object(body))
    refuse_unsupported(raw, HARMLESS)
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
            "id": f"cmpl-{secrets.token_hex(16)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": self._wire.model,
        }

    async def serve(self, out: ResponseWriter) -> None:
        """See StreamingRequest."""
        for request in self._requests[1:]:
            self._service.check(request, self._tenant)  # before the first one begins
        shapes: list[dict[str, Any]] = []
        used: list[TokenUsage] = []
        attempts: list[Attempt] = []
        for number, request in enumerate(self._requests):
            first = number * self._wire.n
            echo = self._service.text_of(request.prompt or "") if self._wire.echo else ""
            async with self._service.open_choices(request, self._tenant) as choices:
                if self._wire.stream:
                    await self._stream(out, choices, first, echo)
                else:
                    shapes += await self._whole(choices, first, echo)
            used.append(choices.usage)
            attempts += choices.attempts
        prompt, completion, cached = (
            sum(getattr(u, name) for u in used) for name in ("prompt", "completion", "cached")
        )
        usage = usage_shape(TokenUsage(prompt, completion, cached=cached))
        if not self._wire.stream:
            await out.json({**self._base, "choices": shapes, "usage": usage, **ragfleet_field(attempts)})
            return
        options = self._wire.stream_options
        last = sse({**self._base, "choices": [], "usage": usage}) if options and options.include_usage else b""
        await out.end(last + DONE)

    async def _whole(self, choices: Choices, first: int, echo: str) -> list[dict[str, Any]]:
        """The choices of one prompt, the best ones of all that were made. first: the index of the first one."""

        async def read(_: int, answer: GeneratedAnswer) -> None:
            await answer.whole()

        await choices.each(read)
        answers = list(choices.answers)
        if len(answers) > self._wire.n:
            answers.sort(key=lambda answer: answer.log_probs.mean if answer.log_probs else 0.0, reverse=True)
        return [
            self._choice(index, echo + answer.text, answer, answer.finish_reason)
            for index, answer in enumerate(answers[: self._wire.n], first)
        ]

    async def _stream(self, out: ResponseWriter, choices: Choices, first: int, echo: str) -> None:
        """Write the choices of one prompt. first: the index of the first one."""
        options, usage = self._wire.stream_options, chunk_usage(self._wire.stream_options, choices)
        each = self._wire.logprobs is not None or (options is not None and bool(options.continuous_usage_stats))
        failures: list[errors.RagfleetError] = []

        async def write(index: int, answer: GeneratedAnswer) -> None:
            def chunk(text: str, reason: str | None = None) -> dict[str, Any]:
                return {**self._base, "choices": [self._choice(first + index, text, answer, reason)], **usage()}

            if echo:
                out.hold(sse(chunk(echo)))
            try:
                await out.pieces(answer, (lambda text: sse(chunk(text))) if each else TextEvent(chunk))
            except errors.RagfleetError as error:
                if not out.started:
                    raise
                failures.append(error)  # the others are written to their end before the client hears of it
                return
            await out.events(sse({**chunk("", answer.finish_reason), **ragfleet_field(answer.attempts)}))

        await choices.each(write)
        if failures:
            raise failures[0]

    def _choice(self, index: int, text: str, answer: GeneratedAnswer, reason: str | None) -> dict[str, Any]:
        told = None
        if self._wire.logprobs is not None and answer.log_probs is not None:
            told = completion_log_probs(answer.log_probs.take())
        return {"index": index, "text": text, "logprobs": told, "finish_reason": reason}


def open_completion(
    service: GenerationService, body: bytes, tenant: Tenant, request_id: str, headers: StreamHeaders
) -> CompletionCall:
    """See Opener. Raises BadRequest where the stream is to have a journal, too."""
    if headers.journal:
        raise BadRequest("Streams of completions have no journal; use chats or responses.", param="X-Ragfleet-Journal")
    return CompletionCall(service, body, tenant, request_id)
