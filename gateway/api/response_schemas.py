"""The wire schema of a Responses request, as OpenAI's clients send it."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from gateway.api.dependencies import ID_PATTERN
from gateway.api.generation_schemas import (
    MAX_PARTS,
    SERVER_EXTRAS,
    BaseMessage,
    ContentPart,
    ConversationRequest,
    TopLogProbs,
)
from gateway.api.validation import (
    MANY,
    ONE,
    ONE_OR_MANY,
    WHOLE,
    Harmless,
    Words,
    items,
    read,
    refuse_unsupported,
    without_nulls,
)

_TEXT = {"format": {"type": "text"}}
HARMLESS: Harmless = {
    **SERVER_EXTRAS,
    "background": (False,),
    "reasoning": ({}, {"effort": "none"}),
    "text": ({}, _TEXT, {"verbosity": "medium"}, {**_TEXT, "verbosity": "medium"}),
    "max_tool_calls": (),
    "prompt": (),
    "context_management": ([],),
    "service_tier": ("auto", "default"),
}
IGNORED = frozenset({"user", "parallel_tool_calls", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"})

RESULTS = "file_search_call.results"
LOG_PROBS = "message.output_text.logprobs"


class InputTextPart(ContentPart):
    """A piece of text of a message; one of our own answers comes back with its annotations."""

    model_config = ConfigDict(extra="ignore", strict=True)
    type: Literal["input_text", "output_text"]


class InputMessage(BaseMessage):
    """A message; one of our own answers comes back with its id and status."""

    model_config = ConfigDict(extra="ignore", strict=True)
    type: Literal["message"] = "message"
    content: Annotated[
        Annotated[str, ONE] | Annotated[list[InputTextPart], items(0, MAX_PARTS), MANY],
        ONE_OR_MANY,
        WHOLE,
    ]


class SearchCall(BaseModel):
    """A search of an earlier turn, which clients send back with its answer: the answer says it all."""

    model_config = ConfigDict(extra="ignore", strict=True)
    type: Literal["file_search_call"]


class ItemReference(BaseModel):
    """An item that is stored here."""

    model_config = ConfigDict(extra="ignore", strict=True)
    type: Literal["item_reference"] = "item_reference"
    id: Annotated[str, Field(pattern=ID_PATTERN)]


_KINDS = {"file_search_call": "SearchCall", "item_reference": "ItemReference"}


def _kind(item: Any) -> str:
    kind = item.get("type") if isinstance(item, dict) else None
    if kind is None and isinstance(item, dict) and "role" not in item and "id" in item:
        return "ItemReference"
    return _KINDS.get(kind, "InputMessage") if isinstance(kind, str) else "InputMessage"


Item = Annotated[
    Annotated[InputMessage, Tag("InputMessage")]
    | Annotated[SearchCall, Tag("SearchCall")]
    | Annotated[ItemReference, Tag("ItemReference")],
    Discriminator(_kind),
]


class ToolChoice(BaseModel):
    """The one tool there is, by name."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["file_search"]


class ConversationId(BaseModel):
    """A conversation."""

    model_config = ConfigDict(extra="forbid", strict=True)
    id: Annotated[str, Field(pattern=ID_PATTERN)]


Metadata = Annotated[
    dict[Annotated[Words, Field(max_length=64)], Annotated[Words, Field(max_length=512)]], Field(max_length=16)
]
"""What a client notes beside what is stored; OpenAI's bounds."""

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


class ResponsesRequest(ConversationRequest):
    """`POST /v1/responses`."""

    input: Annotated[
        Annotated[str, Field(min_length=1), ONE] | Annotated[list[Item], items(1, 1000), MANY],
        ONE_OR_MANY,
        WHOLE,
    ]
    instructions: str | None = None
    max_output_tokens: Annotated[int, Field(ge=1), WHOLE] | None = None
    tool_choice: Literal["none", "auto", "required"] | ToolChoice = "auto"
    include: Annotated[list[Include], items(0, 16)] | None = None
    top_logprobs: TopLogProbs = 0
    metadata: Metadata | None = None
    store: bool | None = None
    """None: as the settings have it."""
    previous_response_id: Annotated[str, Field(pattern=ID_PATTERN)] | None = None
    kept_in: Annotated[str, Field(pattern=ID_PATTERN)] | ConversationId | None = Field(None, alias="conversation")
    """The conversation that it is a turn of."""
    truncation: Literal["auto", "disabled"] = "disabled"

    @model_validator(mode="after")
    def _fits(self) -> "ResponsesRequest":
        if not self.tools and self.tool_choice not in ("none", "auto"):
            raise ValueError("tool_choice: there is no tool to choose")
        if self.previous_response_id is not None and self.kept_in is not None:
            raise ValueError("previous_response_id: not together with conversation")
        if self.conversation_id is not None and self.store is False:
            raise ValueError("store: a turn of a conversation is stored")
        if not self.messages and not self.continues:
            raise ValueError("input: there is no message in it")
        if self.top_logprobs and self.log_probs is None:
            raise ValueError(f"top_logprobs: only with {LOG_PROBS} in include")
        return self

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
        referred = not isinstance(self.input, str) and any(isinstance(item, ItemReference) for item in self.input)
        return self.previous_response_id is not None or self.kept_in is not None or referred

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

    @property
    def log_probs(self) -> int | None:
        """See Sampling."""
        return self.top_logprobs if LOG_PROBS in (self.include or ()) else None

    text_param: ClassVar[str] = "input"

    @property
    def answer_limit(self) -> tuple[int | None, str]:
        """See ConversationRequest."""
        return self.max_output_tokens, "max_output_tokens"

    @property
    def conversation(self) -> Sequence[BaseMessage]:
        """See ConversationRequest. The instructions are in front."""
        first = [] if self.instructions is None else [BaseMessage(role="system", content=self.instructions)]
        return [*first, *self.messages]

    @property
    def searches(self) -> bool:
        """See ConversationRequest."""
        return self.tool_choice != "none"


def parse_responses(given: Mapping[str, Any]) -> ResponsesRequest:
    """The request in a JSON object. Raises BadRequest whose `param` names the field."""
    raw = without_nulls(given)
    refuse_unsupported(raw, HARMLESS, IGNORED)
    return read(ResponsesRequest, raw)
