"""`POST /v1/completions`: each prompt is continued as it stands, one after the other, streamed or whole."""

import time
import uuid
from typing import Annotated, Any

import orjson
from pydantic import ConfigDict, Field, model_validator

from gateway import errors
from gateway.api.generation_schemas import Sampling
from gateway.api.json_body import MAX_VALUES, json_object
from gateway.api.schemas import StreamOptions
from gateway.api.sse import DONE, error_event
from gateway.api.streaming import ResponseWriter, StreamingRequest
from gateway.api.validation import (
    MANY,
    ONE,
    TEXT_OR_TOKENS,
    TOKEN_LISTS,
    TOKENS,
    items,
    read,
    refuse_unsupported,
    without_nulls,
)
from gateway.metrics import Metrics
from gateway.serving.chat import Chat
from gateway.serving.completion import CompletionService
from gateway.tenants.tenant import Tenant

HARMLESS: dict[str, tuple[Any, ...]] = {
    "n": (None, 1),
    "best_of": (None, 1),
    "echo": (None, False),
    "suffix": (None, ""),
    "logprobs": (None, 0),
    "logit_bias": (None, {}),
}
IGNORED = frozenset({"user"})

Tokens = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], items(1, MAX_VALUES)]
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
    max_tokens: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _options(self) -> "CompletionRequest":
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: only with stream=true")
        return self

    @property
    def prompts(self) -> list[str | list[int]]:
        """Each prompt by itself."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        ids = [each for each in self.prompt if isinstance(each, int)]
        return [ids] if ids else [each for each in self.prompt if not isinstance(each, int)]

    # What serving asks of any request (gateway/serving/request_plan.py); nothing is retrieved here.

    @property
    def answer_limit(self) -> int | None:
        """Tokens at the most."""
        return self.max_tokens

    @property
    def limit_param(self) -> str:
        """The name of that limit."""
        return "max_tokens"

    @property
    def text_param(self) -> str:
        """The name of what is read."""
        return "prompt"

    @property
    def question(self) -> str:
        """Nothing to retrieve for."""
        return ""

    @property
    def conversation(self) -> list[dict[str, str]]:
        """No conversation."""
        return []

    @property
    def file_search(self) -> None:
        """No stores."""
        return


def parse_completion(body: bytes) -> CompletionRequest:
    """The request in a body. Raises BadRequest whose `param` names the field."""
    raw = without_nulls(json_object(body))
    refuse_unsupported(raw, HARMLESS, IGNORED)
    return read(CompletionRequest, raw)


class CompletionExchange(StreamingRequest):
    """One request with all its prompts."""

    def __init__(
        self, service: CompletionService, metrics: Metrics, body: bytes, tenant: Tenant, request_id: str
    ) -> None:
        self._service = service
        self._metrics = metrics
        self._tenant = tenant
        self._request_id = request_id
        self._request = parse_completion(body)
        self._prompts = self._request.prompts
        self._known = False
        self._base = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": self._request.model,
        }
        self._usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        self._attempts: list[dict[str, Any]] = []

    async def serve(self, out: ResponseWriter) -> None:
        """See StreamingRequest."""
        self._service.check(self._request, self._prompts)
        self._known = True  # only a model that exists may become a metric's label
        choices: list[dict[str, Any]] = []
        for index, prompt in enumerate(self._prompts):
            request_id = f"{self._request_id}/{index}" if index else self._request_id
            with await self._service.admit(self._tenant) as permit:
                opened = self._service.open(self._request, prompt, self._tenant, request_id, permit)
                async with opened as completion:
                    if self._request.stream:
                        await self._stream(out, completion, index)
                    else:
                        text = "".join([piece async for piece in _pieces(completion)])
                        choices.append(_choice(index, text, completion.finish_reason))
                    self._count(completion)
        extra = {"ragfleet": {"attempts": self._attempts}}
        if not self._request.stream:
            await out.json({**self._base, "choices": choices, "usage": self._usage, **extra})
            return
        end = b""
        if self._request.stream_options is not None and self._request.stream_options.include_usage:
            end = _event({**self._base, "choices": [], "usage": self._usage})
        await out.end(end + DONE)

    async def _stream(self, out: ResponseWriter, completion: Chat, index: int) -> None:
        async for piece in _pieces(completion):
            if piece:
                await out.events(_event({**self._base, "choices": [_choice(index, piece, None)]}))
        last = [_choice(index, "", completion.finish_reason)]
        await out.events(_event({**self._base, "choices": last, **completion.extra()}))

    def _count(self, completion: Chat) -> None:
        for name, count in completion.usage().items():
            self._usage[name] += count
        self._attempts += completion.extra()["ragfleet"]["attempts"]

    def failure(self, error: errors.RagfleetError) -> bytes:
        """See StreamingRequest."""
        return error_event(errors.body(error)) + DONE

    def observe(self, status: int, seconds: float) -> None:
        """See StreamingRequest."""
        model = self._request.model if self._known else "unknown"
        self._metrics.requests.labels("completions", model, self._tenant.name, str(status)).inc()
        self._metrics.duration.labels("0").observe(seconds)


async def _pieces(completion: Chat) -> Any:
    while (piece := await completion.next()) is not None:
        yield piece


def _choice(index: int, text: str, reason: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": reason}


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"
