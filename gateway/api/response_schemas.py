"""The wire schema of a Responses request, as OpenAI's clients send it."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gateway.api.parsing import json_object, read, refuse_unsupported, without_nulls
from gateway.api.schemas import FileSearch, Sampling

HARMLESS: dict[str, tuple[Any, ...]] = {
    "store": (None, False),
    "previous_response_id": (None,),
    "conversation": (None,),
    "background": (None, False),
    "truncation": (None, "disabled"),
    "reasoning": (None, {}, {"effort": None}, {"effort": None, "summary": None}),
    "text": (None, {}, {"format": {"type": "text"}}),
    "top_logprobs": (None, 0),
    "max_tool_calls": (None,),
    "prompt": (None,),
    "context_management": (None,),
}
IGNORED = frozenset(
    {"user", "service_tier", "parallel_tool_calls", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"}
)

RESULTS = "file_search_call.results"


class Part(BaseModel):
    """A piece of text of a message; one of our own answers comes back with its annotations."""

    model_config = ConfigDict(extra="ignore", strict=True)
    type: Literal["input_text", "output_text"]
    text: str


class InputMessage(BaseModel):
    """A message; one of our own answers comes back with its id and status."""

    model_config = ConfigDict(extra="ignore", strict=True)
    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]

    @property
    def text(self) -> str:
        """The content as one string."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class SearchCall(BaseModel):
    """A search of an earlier turn, which clients send back with its answer: the answer says it all."""

    model_config = ConfigDict(extra="ignore", strict=True)
    type: Literal["file_search_call"]


class ToolChoice(BaseModel):
    """The one tool there is, by name."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["file_search"]


class ResponsesStreamOptions(BaseModel):
    """Options of a streamed answer."""

    model_config = ConfigDict(extra="forbid", strict=True)
    include_obfuscation: Literal[False] | None = None


class ResponsesRequest(Sampling):
    """`POST /v1/responses`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: Annotated[str, Field(min_length=1, max_length=256)]
    input: (
        Annotated[str, Field(min_length=1)]
        | Annotated[list[InputMessage | SearchCall], Field(min_length=1, max_length=1000)]
    )
    instructions: str | None = None
    stream: bool = False
    stream_options: ResponsesStreamOptions | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    tools: list[FileSearch] | None = None
    tool_choice: Literal["none", "auto", "required"] | ToolChoice = "auto"
    include: list[Literal["file_search_call.results"]] | None = None
    metadata: Annotated[dict[str, str], Field(max_length=16)] | None = None

    @field_validator("tools")
    @classmethod
    def _one_tool(cls, value: list[FileSearch] | None) -> list[FileSearch] | None:
        if value is not None and len(value) > 1:
            raise ValueError("at most one file_search tool")
        return value

    @model_validator(mode="after")
    def _fits(self) -> "ResponsesRequest":
        if not self.tools and self.tool_choice not in ("none", "auto"):
            raise ValueError("tool_choice: there is no tool to choose")
        if not self.messages:
            raise ValueError("input: there is no message in it")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: only with stream=true")
        return self

    @property
    def messages(self) -> Sequence[InputMessage]:
        """The messages of the input."""
        if isinstance(self.input, str):
            return [InputMessage(role="user", content=self.input)]
        return [item for item in self.input if isinstance(item, InputMessage)]

    @property
    def results(self) -> bool:
        """Whether the client wants to see what was found."""
        return RESULTS in (self.include or ())

    # What serving asks of any request (gateway/serving/plan.py)

    @property
    def answer_limit(self) -> int | None:
        """Tokens at the most."""
        return self.max_output_tokens

    @property
    def limit_param(self) -> str:
        """The name of that limit."""
        return "max_output_tokens"

    @property
    def conversation(self) -> list[dict[str, str]]:
        """The messages with the instructions in front, their content as plain strings."""
        first = [] if self.instructions is None else [{"role": "system", "content": self.instructions}]
        return [*first, *({"role": each.role, "content": each.text} for each in self.messages)]

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
        asked = [each.text for each in self.messages if each.role == "user"]
        return asked[-1] if asked else self.messages[-1].text


def parse_responses(body: bytes) -> ResponsesRequest:
    """The request in a body. Raises BadRequest whose `param` names the field."""
    raw = without_nulls(json_object(body))
    refuse_unsupported(raw, HARMLESS, IGNORED)
    return read(ResponsesRequest, raw)
