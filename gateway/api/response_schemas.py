"""The wire schema of a Responses request, as OpenAI's clients send it."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, Tag, model_validator

from gateway.api.client_tools import PatchTool, ResponseCustomTool, ShellTool
from gateway.api.dependencies import ID_PATTERN
from gateway.api.file_search_schema import FileSearch
from gateway.api.format_schemas import ResponseFormat
from gateway.api.generation_schemas import (
    SERVER_EXTRAS,
    ConversationRequest,
    ReasoningEffort,
    TopLogProbs,
    Verbosity,
    tools_by_type,
)
from gateway.api.message_schemas import (
    BaseMessage,
)
from gateway.api.response_inputs import InputMessage, Item, ItemReference, conversation_of
from gateway.api.tool_choice import ResponseToolChoice
from gateway.api.tool_schemas import MAX_TOOLS, ResponseFunction
from gateway.api.validation import (
    MANY,
    ONE,
    ONE_OR_MANY,
    WHOLE,
    Harmless,
    Metadata,
    complaint,
    items,
    read,
    refuse_unsupported,
    without_nulls,
)

HARMLESS: Harmless = {
    **SERVER_EXTRAS,
    "prompt": (),
    "context_management": ([],),
}

RESULTS = "file_search_call.results"
LOG_PROBS = "message.output_text.logprobs"


ResponseTool = Annotated[
    Annotated[ResponseFunction, Tag("Function")]
    | Annotated[ResponseCustomTool, Tag("Custom")]
    | Annotated[PatchTool, Tag("Patch")]
    | Annotated[ShellTool, Tag("Shell")]
    | Annotated[FileSearch, Tag("FileSearch")],
    tools_by_type(custom="Custom", apply_patch="Patch", local_shell="Shell"),
]


class TextOptions(BaseModel):
    """What the answer's text must be."""

    model_config = ConfigDict(extra="forbid", strict=True)
    format: ResponseFormat | None = None
    verbosity: Verbosity | None = None


class ConversationId(BaseModel):
    """A conversation."""

    model_config = ConfigDict(extra="forbid", strict=True)
    id: Annotated[str, Field(pattern=ID_PATTERN)]


Include = Literal[
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
]
"""More to be shown of an answer; of what is never in one there is nothing to show."""


Summary = Literal["auto", "concise", "detailed"]


class ReasoningOptions(BaseModel):
    """How much the model is to think. There are no summaries of thoughts: a response has them whole."""

    model_config = ConfigDict(extra="forbid", strict=True)
    effort: ReasoningEffort | None = None
    summary: Summary | None = None
    generate_summary: Summary | None = None
    mode: Literal["standard"] | None = None
    context: Literal["auto", "current_turn"] | None = None
    """What models are told of their thoughts of earlier turns: nothing."""


class ResponsesRequest(ConversationRequest):
    """`POST /v1/responses`."""

    input: (
        Annotated[
            Annotated[
                Annotated[str, Field(min_length=1), ONE] | Annotated[list[Item], items(1, 1000), MANY], ONE_OR_MANY
            ],
            WHOLE,
        ]
        | None
    ) = None
    """It may be left out where what is stored is enough of a question."""
    instructions: str | None = None
    max_output_tokens: Annotated[int, Field(ge=1, lt=2**63), WHOLE] | None = None
    tools: Annotated[list[ResponseTool], items(0, MAX_TOOLS + 1)] | None = None
    tool_choice: ResponseToolChoice = "auto"
    text: TextOptions | None = None
    include: Annotated[list[Include], items(0, 16)] | None = None
    reasoning: ReasoningOptions | None = None
    top_logprobs: TopLogProbs = 0
    max_tool_calls: Annotated[int, Field(ge=1, lt=2**63), WHOLE] | None = None
    """Of searches; there is one at the most."""
    metadata: Metadata | None = None
    background: bool = False
    """Whether it is made whether or not the client stays."""
    store: bool | None = None
    """None: as the settings have it."""
    previous_response_id: Annotated[str, Field(pattern=ID_PATTERN)] | None = None
    kept_in: Annotated[str, Field(pattern=ID_PATTERN)] | ConversationId | None = Field(None, alias="conversation")
    """The conversation that it is a turn of."""
    truncation: Literal["auto", "disabled"] = "disabled"

    @model_validator(mode="after")
    def _fits(self) -> "ResponsesRequest":
        if self.input is None and not self.continues:
            raise complaint("missing", "input", "")
        if self.previous_response_id is not None and self.kept_in is not None:
            raise ValueError("previous_response_id: not together with conversation")
        if self.background and self.store is False:
            raise ValueError("background: responses made in the background are stored; leave out store=false")
        if self.conversation_id is not None and self.store is False:
            raise ValueError("store: the turns of a conversation are stored; leave out store=false")
        if not self.continues and not self.conversation:
            raise ValueError("input: there is no message in it")
        if self.top_logprobs and self.log_probs is None:
            raise ValueError(f"top_logprobs: only with {LOG_PROBS} in include")
        return self

    @property
    def effort(self) -> ReasoningEffort | None:
        """See ConversationRequest."""
        return None if self.reasoning is None else self.reasoning.effort

    @property
    def manner(self) -> Verbosity | None:
        """See ConversationRequest."""
        return None if self.text is None else self.text.verbosity

    @property
    def truncates(self) -> bool:
        """See ConversationRequest."""
        return self.truncation == "auto"

    @property
    def conversation_id(self) -> str | None:
        """The conversation that it is a turn of."""
        return self.kept_in.id if isinstance(self.kept_in, ConversationId) else self.kept_in

    @property
    def continues(self) -> bool:
        """Whether a part of what was said is stored here."""
        said = () if self.input is None or isinstance(self.input, str) else self.input
        referred = any(isinstance(item, ItemReference) for item in said)
        return self.previous_response_id is not None or self.kept_in is not None or referred

    @property
    def results(self) -> bool:
        """Whether the client wants to see what was found."""
        return RESULTS in (self.include or ())

    @property
    def log_probs(self) -> int | None:
        """See SamplingRequest."""
        return self.top_logprobs if LOG_PROBS in (self.include or ()) else None

    text_param: ClassVar[str] = "input"
    own_names: ClassVar[Mapping[str, str]] = {
        "messages": "input",
        "reasoning_effort": "reasoning.effort",
        "logprobs": "include",
    }

    @property
    def answer_limit(self) -> tuple[int | None, str]:
        """See ConversationRequest."""
        return self.max_output_tokens, "max_output_tokens"

    @property
    def given_messages(self) -> Sequence[BaseMessage]:
        """See ConversationRequest."""
        given = () if self.input is None or isinstance(self.input, str) else self.input
        return [each for each in given if isinstance(each, InputMessage)]

    @property
    def conversation(self) -> Sequence[dict[str, Any]]:
        """See ConversationRequest. The instructions are in front."""
        first = [] if self.instructions is None else [{"role": "system", "content": self.instructions}]
        if isinstance(self.input, str):
            return [*first, {"role": "user", "content": self.input}]
        said = conversation_of(self.input or ())
        return [*first, *said] if said else []

    @property
    def offered(self) -> Sequence[ResponseTool]:
        """See ConversationRequest."""
        return self.tools or ()

    @property
    def format(self) -> tuple[ResponseFormat | None, str]:
        """See SamplingRequest."""
        return None if self.text is None else self.text.format, "text.format"


def parse_responses(given: Mapping[str, Any]) -> ResponsesRequest:
    """The request in a JSON object. Raises BadRequest whose `param` names the field."""
    raw = without_nulls(given)
    refuse_unsupported(raw, HARMLESS)
    return read(ResponsesRequest, raw)
