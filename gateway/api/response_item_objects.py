"""Items of responses and conversations, as they are answered with, for the document of the API."""

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from gateway.api.chat_objects import CacheBreakpoint, ChatToken
from gateway.api.client_tools import FileOperation, ShellAction

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


class InputMessageObject(MessageBase):
    """A message of an input, or of a conversation."""

    role: Literal["user", "system", "developer"]
    content: list[InputText | InputFile]


class CallerObject(TypedDict):
    """Who has called a function."""

    type: Literal["direct"]


class FunctionCallObject(TypedDict):
    """A call of a function; its arguments are JSON in a string."""

    id: str
    type: Literal["function_call"]
    status: Status
    call_id: str
    name: str
    arguments: str
    caller: NotRequired[CallerObject | None]


class FunctionOutput(TypedDict):
    """What a function gave."""

    id: str
    type: Literal["function_call_output"]
    call_id: str
    output: str | list[InputText]
    status: Status
    name: NotRequired[str | None]
    caller: NotRequired[CallerObject | None]


class CustomCallObject(TypedDict):
    """A call of a custom tool."""

    id: str
    type: Literal["custom_tool_call"]
    status: Status
    call_id: str
    name: str
    input: str
    caller: NotRequired[CallerObject | None]


class CustomOutput(TypedDict):
    """What a custom tool gave."""

    id: str
    type: Literal["custom_tool_call_output"]
    status: Status
    call_id: str
    output: str | list[InputText]
    caller: NotRequired[CallerObject | None]


class PatchItem(TypedDict):
    """A patch."""

    id: str
    type: Literal["apply_patch_call"]
    status: Literal["in_progress", "completed"]
    call_id: str
    operation: FileOperation
    caller: NotRequired[CallerObject | None]


class PatchOutput(TypedDict):
    """What became of a patch."""

    id: str
    type: Literal["apply_patch_call_output"]
    status: Literal["completed", "failed"]
    call_id: str
    output: NotRequired[str | None]
    caller: NotRequired[CallerObject | None]


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


class ReasoningObject(TypedDict):
    """What the model thought."""

    id: str
    type: Literal["reasoning"]
    status: NotRequired[Status]
    summary: list[SummaryText]
    content: list[ReasoningText]
    encrypted_content: NotRequired[str | None]


Calls = FunctionCallObject | CustomCallObject | PatchItem | ShellItem


OutputItem = OutputMessage | SearchItem | ReasoningObject | Calls


StoredItem = InputMessageObject | OutputItem | FunctionOutput | CustomOutput | PatchOutput | ShellOutput
