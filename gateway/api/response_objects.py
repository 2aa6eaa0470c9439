"""What responses are answered with, and what conversations hold, for the document of the API."""

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from gateway.api.generation_schemas import Verbosity
from gateway.api.response_item_objects import OutputItem
from gateway.api.response_tool_objects import (
    Choice,
    CustomShown,
    FunctionShown,
    PatchShown,
    PlainText,
    SearchShown,
    ShellShown,
)

Json = dict[str, Any]


class ResponseFault(TypedDict):
    """Why there is no answer."""

    code: Literal["server_error"]
    message: str


class IncompleteDetails(TypedDict):
    """Why an answer is cut off."""

    reason: Literal["max_output_tokens"]


class CachedTokens(TypedDict):
    """Of the tokens that were read."""

    cached_tokens: int
    cache_write_tokens: int


class ReasoningTokens(TypedDict):
    """Of the tokens that were written."""

    reasoning_tokens: int


class ResponseUsage(TypedDict):
    """Tokens."""

    input_tokens: int
    input_tokens_details: CachedTokens
    output_tokens: int
    output_tokens_details: ReasoningTokens
    total_tokens: int


class ReasoningShown(TypedDict):
    """How much the model was to think."""

    effort: str | None
    summary: None


class AnyObject(TypedDict):
    """Any JSON object."""

    type: Literal["json_object"]


class SchemaFormat(TypedDict):
    """An instance of a schema."""

    type: Literal["json_schema"]
    name: str
    description: NotRequired[str | None]
    schema: Json
    strict: bool | None


class TextShown(TypedDict):
    """What the text was to be."""

    format: PlainText | AnyObject | SchemaFormat
    verbosity: Verbosity


class ConversationShown(TypedDict):
    """The conversation that it is a turn of."""

    id: str


class ResponseObject(TypedDict):
    """A response. Extensions: `rag`, what it was made from, and `ragfleet`, who made it."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: Literal["completed", "failed", "in_progress", "cancelled", "queued", "incomplete"]
    background: bool
    conversation: NotRequired[ConversationShown]
    error: ResponseFault | None
    incomplete_details: IncompleteDetails | None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    metadata: dict[str, str]
    model: str
    output: list[OutputItem]
    parallel_tool_calls: bool
    previous_response_id: str | None
    prompt_cache_key: str | None
    prompt_cache_retention: Literal["in_memory", "24h"] | None
    reasoning: ReasoningShown
    safety_identifier: str | None
    service_tier: Literal["default"]
    store: bool
    temperature: float | None
    text: TextShown
    tool_choice: Literal["none", "auto", "required"] | Choice
    tools: list[FunctionShown | CustomShown | PatchShown | ShellShown | SearchShown]
    top_logprobs: int
    top_p: float | None
    truncation: Literal["auto", "disabled"]
    usage: ResponseUsage | None
    user: str | None
    rag: NotRequired[Json]
    ragfleet: NotRequired[Json]
