"""The wire schema of a chat completion request, as OpenAI's clients send it.

A parameter that would change the answer and that we do not implement is refused by name, never ignored; values
that change nothing (nulls, defaults, bookkeeping fields) are accepted.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gateway.api.parsing import json_object, read, refuse_unsupported, without_nulls
from gateway.api.ranking_schema import RankingOptions
from gateway.errors import BadRequest
from gateway.knowledge.filters import compile_filter

# Not implemented: only these values, which mean "off", pass.
HARMLESS: dict[str, tuple[Any, ...]] = {
    "n": (None, 1),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "logit_bias": (None, {}),
    "response_format": (None, {"type": "text"}),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "function_call": (None, "none"),
    "modalities": (None, ["text"]),
    "audio": (None,),
    "prediction": (None,),
    "reasoning_effort": (None,),
    "web_search_options": (None,),
    "verbosity": (None, "medium"),
    "best_of": (None, 1),
    "echo": (None, False),
}
# Bookkeeping that changes no answer.
IGNORED = frozenset(
    {
        "user",
        "metadata",
        "store",
        "service_tier",
        "parallel_tool_calls",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
    }
)


class TextPart(BaseModel):
    """A piece of a message's content."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One message of the conversation."""

    model_config = ConfigDict(extra="ignore", strict=True)
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    tool_calls: None = None
    function_call: None = None
    """Both would change the answer, and there are no functions to call."""

    @property
    def text(self) -> str:
        """The content as one string."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class FileSearch(BaseModel):
    """The one tool: answer from knowledge stores."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["file_search"]
    vector_store_ids: Annotated[list[str], Field(min_length=1, max_length=8)]
    max_num_results: Annotated[int, Field(ge=1, le=50)] | None = None
    filters: dict[str, Any] | None = None
    ranking_options: RankingOptions | None = None

    @field_validator("filters")
    @classmethod
    def _readable(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        try:
            if value is not None:
                compile_filter(value)
        except BadRequest as error:
            raise ValueError(error.message) from None
        return value

    @property
    def ranking(self) -> dict[str, Any]:
        """What `ranking_options` says."""
        return {} if self.ranking_options is None else self.ranking_options.said


class StreamOptions(BaseModel):
    """Options of a streamed answer."""

    model_config = ConfigDict(extra="forbid", strict=True)
    include_usage: bool | None = False
    include_obfuscation: Literal[False] | None = None


class Sampling(BaseModel):
    """How tokens are chosen and when they end, the same for every path that generates."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    """Extension: sample from the k likeliest tokens; 0 for all."""
    min_tokens: Annotated[int, Field(ge=0)] | None = None
    """Extension: no end before this many tokens."""
    repetition_penalty: Annotated[float, Field(gt=0, le=2)] | None = None
    """Extension: over 1 makes what was said already less likely."""
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: str | list[str] | None = None

    @field_validator("stop")
    @classmethod
    def _stop(cls, value: str | list[str] | None) -> str | list[str] | None:
        stops = [value] if isinstance(value, str) else value or []
        if len(stops) > 4:
            raise ValueError("at most 4 stop strings")
        if any(not s or len(s) > 256 for s in stops):
            raise ValueError("a stop string has 1 to 256 characters")
        return value

    @property
    def stops(self) -> tuple[str, ...]:
        """Stop strings."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class ChatRequest(Sampling):
    """`POST /v1/chat/completions`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: Annotated[str, Field(min_length=1, max_length=256)]
    messages: Annotated[list[Message], Field(min_length=1, max_length=1000)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    tools: list[FileSearch] | None = None
    tool_choice: Literal["none", "auto"] = "auto"

    @field_validator("tools")
    @classmethod
    def _one_tool(cls, value: list[FileSearch] | None) -> list[FileSearch] | None:
        if value is not None and len(value) > 1:
            raise ValueError("at most one file_search tool")
        return value

    @model_validator(mode="after")
    def _question(self) -> "ChatRequest":
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: only with stream=true")
        return self

    @property
    def answer_limit(self) -> int | None:
        """Answer tokens that the client asked for at the most."""
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens

    @property
    def limit_param(self) -> str:
        """The name under which the client gave `answer_limit`."""
        return "max_tokens" if self.max_completion_tokens is None else "max_completion_tokens"

    @property
    def conversation(self) -> list[dict[str, str]]:
        """The messages with their content as plain strings."""
        return [{"role": m.role, "content": m.text} for m in self.messages]

    @property
    def knowledge(self) -> tuple[list[str], int | None] | None:
        """The stores named by a file_search tool, and how many results it wants."""
        if not self.tools or self.tool_choice == "none":
            return None
        return self.tools[0].vector_store_ids, self.tools[0].max_num_results

    @property
    def filters(self) -> dict[str, Any] | None:
        """Of the file_search tool, over the attributes of files."""
        return self.tools[0].filters if self.tools else None

    @property
    def ranking(self) -> dict[str, Any]:
        """`ranking_options` of the file_search tool."""
        return self.tools[0].ranking if self.tools else {}

    @property
    def question(self) -> str:
        """The text to retrieve for: the last message of the user, or the last message."""
        asked = [m.text for m in self.messages if m.role == "user"]
        return asked[-1] if asked else self.messages[-1].text


def parse_chat(body: bytes) -> ChatRequest:
    """The request in a body. Raises BadRequest whose `param` names the field."""
    raw = without_nulls(json_object(body))
    choice = raw.get("tool_choice", "auto")
    refuse_unsupported(raw, HARMLESS, IGNORED)
    return read(ChatRequest, raw | {"tool_choice": choice})
