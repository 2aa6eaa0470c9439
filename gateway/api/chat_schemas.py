"""The wire schema of a chat completion request, as OpenAI's clients send it.

A parameter that would change the answer and that we do not implement is refused by name, never ignored; values
that change nothing (nulls, defaults, bookkeeping fields) are accepted.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from gateway.api.chat_messages import AnyMessage, AssistantMessage, Content, ToolMessage
from gateway.api.client_tools import ChatCustomTool
from gateway.api.file_search_schema import FileSearch
from gateway.api.format_schemas import ChatFormat
from gateway.api.generation_schemas import (
    MAX_CHOICES,
    SERVER_EXTRAS,
    ConversationRequest,
    LogitBias,
    ReasoningEffort,
    Streaming,
    TopLogProbs,
    Verbosity,
    tools_by_type,
)
from gateway.api.message_schemas import (
    READ_HERE,
    BaseMessage,
)
from gateway.api.tool_choice import ChatToolChoice, NamedFunction, ToolChoice
from gateway.api.tool_schemas import MAX_TOOLS, ChatFunction, FunctionDefinition
from gateway.api.validation import (
    MAX_NAME,
    WHOLE,
    Harmless,
    Metadata,
    items,
    read,
    refuse_unsupported,
    without_nulls,
)

# Not implemented: only these values, which mean "off", pass.
HARMLESS: Harmless = {
    **SERVER_EXTRAS,
    "audio": (),
    "web_search_options": (),
    "best_of": (1,),
    "echo": (False,),
}


ChatTool = Annotated[
    Annotated[ChatFunction, Tag("Function")]
    | Annotated[ChatCustomTool, Tag("Custom")]
    | Annotated[FileSearch, Tag("FileSearch")],
    tools_by_type(custom="Custom"),
]


def _function_call(value: Any) -> str:
    return "str" if isinstance(value, str) else "NamedFunction"


FunctionCallChoice = Annotated[
    Annotated[Literal["none", "auto"], Tag("str")] | Annotated[NamedFunction, Tag("NamedFunction")],
    Discriminator(_function_call),
]


class StreamOptions(Streaming):
    """Options of a streamed completion."""

    include_usage: bool | None = False
    continuous_usage_stats: bool | None = False
    """Extension: the usage so far in each chunk; vLLM's."""
    include_attempts: bool | None = False
    """Extension: a chunk without text, with the field `ragfleet`, whenever an instance begins with an answer of a chat."""


class Prediction(BaseModel):
    """What the client takes for the answer, for engines that get on faster so; here each token is the engine's own."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["content"]
    content: Content


class ChatRequest(ConversationRequest):
    """`POST /v1/chat/completions`."""

    messages: Annotated[list[AnyMessage], items(1, 1000)]
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1, lt=2**63), WHOLE] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, lt=2**63), WHOLE] | None = None
    tools: Annotated[list[ChatTool], items(0, MAX_TOOLS + 1)] | None = None
    tool_choice: ChatToolChoice = "auto"
    functions: Annotated[list[FunctionDefinition], items(0, MAX_TOOLS)] | None = None
    function_call: FunctionCallChoice | None = None
    """Both are the older way to offer functions."""
    response_format: ChatFormat | None = None
    reasoning_effort: ReasoningEffort | None = None
    verbosity: Verbosity | None = None
    modalities: Annotated[list[Annotated[Literal["text"], READ_HERE]], items(1, 2)] | None = None
    prediction: Prediction | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES), WHOLE] = 1
    logprobs: bool = False
    top_logprobs: TopLogProbs = 0
    logit_bias: LogitBias | None = None
    store: bool = False
    """Whether the answer is kept, to be read again."""
    metadata: Metadata | None = None
    text_param: ClassVar[str] = "messages"

    @model_validator(mode="after")
    def _log_probs(self) -> "ChatRequest":
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs: only with logprobs=true")
        return self

    @property
    def log_probs(self) -> int | None:
        """See SamplingRequest."""
        return self.top_logprobs if self.logprobs else None

    @property
    def bias(self) -> LogitBias:
        """See SamplingRequest."""
        return self.logit_bias or {}

    @property
    def answer_limit(self) -> tuple[int | None, str]:
        """See ConversationRequest."""
        if self.max_completion_tokens is not None:
            return self.max_completion_tokens, "max_completion_tokens"
        return self.max_tokens, "max_tokens"

    @model_validator(mode="after")
    def _calls_fit(self) -> "ChatRequest":
        if self.functions and any(not isinstance(each, FileSearch) for each in self.offered):
            raise ValueError("functions: cannot be combined with functions among 'tools'")
        if self.functions and self.tool_choice != "auto":
            raise ValueError("tool_choice: it goes with 'tools'; with 'functions' use function_call")
        if self.function_call not in (None, "none") and not self.functions:
            raise ValueError("function_call: there are no functions to call")
        called: set[str] = set()
        for index, message in enumerate(self.messages):
            if isinstance(message, AssistantMessage):
                called |= {each.id for each in message.tool_calls or ()}
            elif isinstance(message, ToolMessage) and message.tool_call_id not in called:
                raise ValueError(
                    f"messages.{index}.tool_call_id: no message before it has called '{message.tool_call_id[:MAX_NAME]}'"
                )
        return self

    @property
    def effort(self) -> ReasoningEffort | None:
        """See ConversationRequest."""
        return self.reasoning_effort

    @property
    def manner(self) -> Verbosity | None:
        """See ConversationRequest."""
        return self.verbosity

    @property
    def choices(self) -> int:
        """See ConversationRequest."""
        return self.n

    @property
    def conversation(self) -> Sequence[dict[str, Any]]:
        """See ConversationRequest."""
        return [each.wire() for each in self.messages]

    @property
    def given_messages(self) -> Sequence[BaseMessage]:
        """See ConversationRequest."""
        return self.messages

    @property
    def offered(self) -> Sequence[ChatTool]:
        """See ConversationRequest."""
        return self.tools or ()

    @property
    def has_tools(self) -> bool:
        """See ConversationRequest."""
        return bool(self.tools or self.functions)

    @property
    def functions_offered(self) -> Mapping[str, FunctionDefinition]:
        """See ConversationRequest."""
        older = {f"functions.{index}": each for index, each in enumerate(self.functions or ())}
        return older or super().functions_offered

    @property
    def functions_param(self) -> str:
        """See ConversationRequest."""
        return "functions" if self.functions else "tools"

    @property
    def chosen(self) -> tuple[ToolChoice, str]:
        """See ConversationRequest."""
        if self.functions:
            return self.function_call or "auto", "function_call"
        return self.tool_choice, "tool_choice"

    @property
    def parallel(self) -> bool | None:
        """See ConversationRequest."""
        return False if self.functions else self.parallel_tool_calls

    @property
    def older_functions(self) -> bool:
        """Whether the answer is to have one `function_call` in place of `tool_calls`."""
        return bool(self.functions)

    @property
    def format(self) -> tuple[ChatFormat | None, str]:
        """See SamplingRequest."""
        return self.response_format, "response_format"


def parse_chat(given: Mapping[str, Any]) -> ChatRequest:
    """The request in a JSON object. Raises BadRequest whose `param` names the field."""
    raw = without_nulls(given)
    refuse_unsupported(raw, HARMLESS)
    return read(ChatRequest, raw)
