"""The wire schema of a chat completion request, as OpenAI's clients send it.

A parameter that would change the answer and that we do not implement is refused by name, never ignored; values
that change nothing (nulls, defaults, bookkeeping fields) are accepted.
"""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from gateway.api.generation_schemas import (
    MAX_PARTS,
    SERVER_EXTRAS,
    BaseMessage,
    ContentPart,
    ConversationRequest,
    LogitBias,
    Streaming,
    TopLogProbs,
)
from gateway.api.json_body import json_object
from gateway.api.validation import (
    MANY,
    ONE,
    ONE_OR_MANY,
    WHOLE,
    Harmless,
    items,
    read,
    refuse_unsupported,
    without_nulls,
)

# Not implemented: only these values, which mean "off", pass.
HARMLESS: Harmless = {
    **SERVER_EXTRAS,
    "n": (1,),
    "response_format": ({"type": "text"},),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none",),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "reasoning_effort": ("none",),
    "web_search_options": (),
    "verbosity": ("medium",),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "best_of": (1,),
    "echo": (False,),
}
# Bookkeeping that changes no answer.
IGNORED = frozenset(
    {
        "user",
        "metadata",
        "parallel_tool_calls",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
    }
)


class TextPart(ContentPart):
    """A piece of text."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["text"]
    cache_control: Annotated[dict[str, Any], Field(max_length=4)] | None = None
    """Where Anthropic's clients want a prompt cached; here prompts are cached wherever they begin alike."""


class Message(BaseMessage):
    """One message of the conversation."""

    model_config = ConfigDict(extra="ignore", strict=True)
    content: Annotated[
        Annotated[str, ONE] | Annotated[list[TextPart], items(0, MAX_PARTS), MANY],
        ONE_OR_MANY,
        WHOLE,
    ]
    tool_calls: Annotated[list[Any], Field(max_length=0)] | None = None
    function_call: None = None
    """Both would change the answer, and there are no functions to call."""


class StreamOptions(Streaming):
    """Options of a streamed completion."""

    include_usage: bool | None = False
    continuous_usage_stats: bool | None = False
    """Extension: the usage so far in each chunk; vLLM's."""


class ChatRequest(ConversationRequest):
    """`POST /v1/chat/completions`."""

    messages: Annotated[list[Message], items(1, 1000)]
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1), WHOLE] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1), WHOLE] | None = None
    tool_choice: Literal["none", "auto"] = "auto"
    logprobs: bool = False
    top_logprobs: TopLogProbs = 0
    logit_bias: LogitBias | None = None
    text_param: ClassVar[str] = "messages"

    @model_validator(mode="after")
    def _log_probs(self) -> "ChatRequest":
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs: only with logprobs=true")
        return self

    @property
    def log_probs(self) -> int | None:
        """See Sampling."""
        return self.top_logprobs if self.logprobs else None

    @property
    def bias(self) -> LogitBias:
        """See Sampling."""
        return self.logit_bias or {}

    @property
    def answer_limit(self) -> tuple[int | None, str]:
        """See ConversationRequest."""
        if self.max_completion_tokens is not None:
            return self.max_completion_tokens, "max_completion_tokens"
        return self.max_tokens, "max_tokens"

    @property
    def conversation(self) -> Sequence[Message]:
        """See ConversationRequest."""
        return self.messages

    @property
    def searches(self) -> bool:
        """See ConversationRequest."""
        return self.tool_choice != "none"


def parse_chat(body: bytes) -> ChatRequest:
    """The request in a body. Raises BadRequest whose `param` names the field."""
    raw = without_nulls(json_object(body))
    choice = raw.get("tool_choice", "auto")
    refuse_unsupported(raw, HARMLESS, IGNORED)
    return read(ChatRequest, raw | {"tool_choice": choice})
