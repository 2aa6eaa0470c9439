"""What responses are answered with, and what conversations hold, for the document of the API."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import WithJsonSchema
from typing_extensions import TypedDict

from gateway.api.chat_objects import CacheBreakpoint, ChatToken
from gateway.api.client_tools import FileOperation, ShellAction
from gateway.api.filter_schema import FILTER
from gateway.api.generation_schemas import Verbosity

Json = dict[str, Any]
Status = Literal["in_progress", "completed", "incomplete"]


class FileCitation(TypedDict):
    """Where a file is cited."""

    type: Literal["file_citation"]
    file_id: str
    filename: str
    index: int


class FilePath(TypedDict):
    """Where a file is named that was made with the answer."""

    type: Literal["file_path"]
    file_id: str
    index: int


Annotation = FileCitation | FilePath
TextToken = ChatToken


class OutputText(TypedDict):
    """The text of a message."""

    type: Literal["output_text"]
    text: str
    annotations: list[Annotation]
    logprobs: list[TextToken]


class InputText(TypedDict):
    """A text that was asked."""

    type: Literal["input_text"]
    text: str
    prompt_cache_breakpoint: NotRequired[CacheBreakpoint | None]


class InputFile(TypedDict):
    """A file beside it."""

    type: Literal["input_file"]
    file_id: str


class MessageBase(TypedDict):
    """What all messages have."""

    id: str
    type: Literal["message"]
    status: Status
    phase: NotRequired[Literal["commentary", "final_answer"] | None]


class RefusalText(TypedDict):
    """What another model said in place of an answer."""

    type: Literal["refusal"]
    refusal: str


class OutputMessage(MessageBase):
    """What the model says."""

    role: Literal["assistant"]
    content: list[OutputText | RefusalText]


class InputMessage(MessageBase):
    """A message of an input, or of a conversation."""

    role: Literal["user", "system", "developer"]
    content: list[InputText | InputFile]


class Caller(TypedDict):
    """Who has called a function."""

    type: Literal["direct"]


class FunctionCallItem(TypedDict):
    """A call of a function; its arguments are JSON in a string."""

    id: str
    type: Literal["function_call"]
    status: Status
    call_id: str
    name: str
    arguments: str
    caller: NotRequired[Caller | None]


class FunctionOutput(TypedDict):
    """What a function gave."""

    id: str
    type: Literal["function_call_output"]
    call_id: str
    output: str | list[InputText]
    status: Status
    name: NotRequired[str | None]
    caller: NotRequired[Caller | None]


class CustomCallItem(TypedDict):
    """A call of a custom tool."""

    id: str
    type: Literal["custom_tool_call"]
    status: Status
    call_id: str
    name: str
    input: str
    caller: NotRequired[Caller | None]


class CustomOutput(TypedDict):
    """What a custom tool gave."""

    id: str
    type: Literal["custom_tool_call_output"]
    status: Status
    call_id: str
    output: str | list[InputText]
    caller: NotRequired[Caller | None]


class PatchItem(TypedDict):
    """A patch."""

    id: str
    type: Literal["apply_patch_call"]
    status: Literal["in_progress", "completed"]
    call_id: str
    operation: FileOperation
    caller: NotRequired[Caller | None]


class PatchOutput(TypedDict):
    """What became of a patch."""

    id: str
    type: Literal["apply_patch_call_output"]
    status: Literal["completed", "failed"]
    call_id: str
    output: NotRequired[str | None]
    caller: NotRequired[Caller | None]


class ShellItem(TypedDict):
    """A command."""

    id: str
    type: Literal["local_shell_call"]
    status: Status
    call_id: str
    action: ShellAction


class ShellOutput(TypedDict):
    """What a command gave."""

    id: str
    type: Literal["local_shell_call_output"]
    status: Status
    call_id: NotRequired[str | None]
    output: str


class FoundPassage(TypedDict):
    """A passage of a search."""

    file_id: str
    filename: str
    score: float
    text: str
    attributes: dict[str, str | float | bool]


class SearchItem(TypedDict):
    """A search; its results where `include` asks for them."""

    id: str
    type: Literal["file_search_call"]
    status: Literal["in_progress", "searching", "completed", "incomplete", "failed"]
    queries: list[str]
    results: list[FoundPassage] | None


class ReasoningText(TypedDict):
    """Thoughts."""

    type: Literal["reasoning_text"]
    text: str


class SummaryText(TypedDict):
    """Of another model's thoughts."""

    type: Literal["summary_text"]
    text: str


class ReasoningItem(TypedDict):
    """What the model thought."""

    id: str
    type: Literal["reasoning"]
    status: NotRequired[Status]
    summary: list[SummaryText]
    content: list[ReasoningText]
    encrypted_content: NotRequired[str | None]


Calls = FunctionCallItem | CustomCallItem | PatchItem | ShellItem
OutputItem = OutputMessage | SearchItem | ReasoningItem | Calls
StoredItem = InputMessage | OutputItem | FunctionOutput | CustomOutput | PatchOutput | ShellOutput


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


class AnyText(TypedDict):
    """Any text."""

    type: Literal["text"]


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


class WeightsShown(TypedDict):
    """What meaning and words count."""

    embedding_weight: float
    text_weight: float


class RankingShown(TypedDict):
    """How passages are ordered."""

    ranker: NotRequired[Literal["none", "auto", "default-2024-11-15"]]
    score_threshold: NotRequired[float]
    hybrid_search: NotRequired[WeightsShown]


class FunctionShown(TypedDict):
    """A function that could be called."""

    type: Literal["function"]
    name: str
    description: str | None
    parameters: Json | None
    strict: bool | None
    output_schema: NotRequired[Json]
    defer_loading: NotRequired[Literal[False]]
    allowed_callers: NotRequired[list[Literal["direct"]]]


class PlainText(TypedDict):
    """Any text."""

    type: Literal["text"]


class RegexText(TypedDict):
    """A text that matches."""

    type: Literal["grammar"]
    syntax: Literal["regex"]
    definition: str


class CustomShown(TypedDict):
    """A custom tool that could be called."""

    type: Literal["custom"]
    name: str
    description: NotRequired[str]
    format: NotRequired[PlainText | RegexText]
    defer_loading: NotRequired[Literal[False]]
    allowed_callers: NotRequired[list[Literal["direct"]]]


class PatchShown(TypedDict):
    """Files could be patched."""

    type: Literal["apply_patch"]
    allowed_callers: NotRequired[list[Literal["direct"]]]


class ShellShown(TypedDict):
    """Commands could be run."""

    type: Literal["local_shell"]


class SearchShown(TypedDict):
    """A search of knowledge stores."""

    type: Literal["file_search"]
    vector_store_ids: list[str]
    max_num_results: NotRequired[int]
    filters: NotRequired[Annotated[Json, WithJsonSchema(FILTER)]]
    ranking_options: NotRequired[RankingShown]


class FunctionChoice(TypedDict):
    """The function that had to be called."""

    type: Literal["function"]
    name: str


class CustomChoice(TypedDict):
    """The custom tool that had to be called."""

    type: Literal["custom"]
    name: str


class SearchChoice(TypedDict):
    """The search was to be used."""

    type: Literal["file_search"]


class PatchChoice(TypedDict):
    """A file was to be patched."""

    type: Literal["apply_patch"]


class ShellChoice(TypedDict):
    """A command was to be run."""

    type: Literal["local_shell"]


class AllowedChoice(TypedDict):
    """Those of the tools that could be used."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: list[Json]


Choice = FunctionChoice | CustomChoice | PatchChoice | ShellChoice | SearchChoice | AllowedChoice


class TextShown(TypedDict):
    """What the text was to be."""

    format: AnyText | AnyObject | SchemaFormat
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
