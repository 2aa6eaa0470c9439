"""The wire schema of a Responses request, as OpenAI's clients send it."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from gateway.api.generation_schemas import (
    MAX_PARTS,
    SERVER_EXTRAS,
    BaseMessage,
    ContentPart,
    ConversationRequest,
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

_TEXT = {"format": {"type": "text"}}
HARMLESS: Harmless = {
    **SERVER_EXTRAS,
    "store": (False,),
    "previous_response_id": (),
    "conversation": (),
    "background": (False,),
    "truncation": ("disabled",),
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
    """An item that the client believes to be stored here."""

    model_config = ConfigDict(extra="ignore", strict=True)
    type: Literal["item_reference"]

    @model_validator(mode="after")
    def _refused(self) -> "ItemReference":
        raise ValueError(
            "answers are not stored here, so an item cannot be referred to; send the earlier turns themselves "
            "(AI SDK: providerOptions: { openai: { store: false } })"
        )


_KINDS = {"file_search_call": "SearchCall", "item_reference": "ItemReference"}


def _kind(item: Any) -> str:
    kind = item.get("type") if isinstance(item, dict) else None
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
    include: (
        Annotated[list[Literal["file_search_call.results", "message.output_text.logprobs"]], items(0, 16)] | None
    ) = None
    top_logprobs: TopLogProbs = 0
    metadata: Annotated[dict[str, str], Field(max_length=16)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> "ResponsesRequest":
        if not self.tools and self.tool_choice not in ("none", "auto"):
            raise ValueError("tool_choice: there is no tool to choose")
        if not self.messages:
            raise ValueError("input: there is no message in it")
        if self.top_logprobs and self.log_probs is None:
            raise ValueError(f"top_logprobs: only with {LOG_PROBS} in include")
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


def parse_responses(body: bytes) -> ResponsesRequest:
    """The request in a body. Raises BadRequest whose `param` names the field."""
    raw = without_nulls(json_object(body))
    refuse_unsupported(raw, HARMLESS, IGNORED)
    return read(ResponsesRequest, raw)
