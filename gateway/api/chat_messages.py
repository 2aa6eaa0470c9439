"""Messages of a chat completion request, as OpenAI's clients send them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from gateway.api.bookkeeping import Cacheable
from gateway.api.client_tools import custom_arguments
from gateway.api.message_schemas import (
    MAX_CALLS,
    MAX_PARTS,
    READ_HERE,
    AttachedFile,
    BaseMessage,
    CalledFunction,
    ContentPart,
    FileReference,
    RefusalPart,
    call_wire,
    check_files,
)
from gateway.api.tool_schemas import kind_of
from gateway.api.validation import (
    MANY,
    ONE,
    ONE_OR_MANY,
    WHOLE,
    items,
)


class TextPart(Cacheable, ContentPart):
    """A piece of text."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Annotated[Literal["text"], READ_HERE]
    cache_control: Annotated[dict[str, Any], Field(max_length=4)] | None = None
    """Where Anthropic's clients want a prompt cached; here prompts are cached wherever they begin alike."""


class FilePart(AttachedFile):
    """A file of the user."""

    model_config = ConfigDict(extra="ignore", strict=True)
    type: Literal["file"]
    file: FileReference

    @property
    def id_of_file(self) -> str:
        """See AttachedFile."""
        return self.file.file_id


Content = Annotated[
    Annotated[str, ONE] | Annotated[list[TextPart], items(0, MAX_PARTS), MANY],
    ONE_OR_MANY,
    WHOLE,
]


UserPart = Annotated[
    Annotated[TextPart, Tag("TextPart")] | Annotated[FilePart, Tag("FilePart")],
    Discriminator(lambda part: "FilePart" if kind_of(part) == "file" else "TextPart"),
]


UserContent = Annotated[Annotated[str, ONE] | Annotated[list[UserPart], items(0, MAX_PARTS), MANY], ONE_OR_MANY, WHOLE]


AnswerPart = Annotated[
    Annotated[TextPart, Tag("TextPart")] | Annotated[RefusalPart, Tag("RefusalPart")],
    Discriminator(lambda part: "RefusalPart" if kind_of(part) == "refusal" else "TextPart"),
]


AnswerContent = Annotated[
    Annotated[str, ONE] | Annotated[list[AnswerPart], items(0, MAX_PARTS), MANY], ONE_OR_MANY, WHOLE
]


ParticipantName = Annotated[str, Field(max_length=256)]
"""Models are not told of it."""


class ChatMessage(BaseMessage):
    """A message of the system or the user."""

    model_config = ConfigDict(extra="ignore", strict=True)
    content: UserContent
    name: ParticipantName | None = None

    @model_validator(mode="after")
    def _users_file(self) -> "ChatMessage":
        return check_files(self)


class CallOfMessage(BaseModel):
    """A call of an earlier answer."""

    model_config = ConfigDict(extra="ignore", strict=True)
    id: Annotated[str, Field(min_length=1, max_length=256)]
    type: Literal["function"] = "function"
    function: CalledFunction

    def wire(self) -> dict[str, Any]:
        """As the model `prompt` reads it."""
        return call_wire(self.id, self.function.name, self.function.arguments)


class CalledCustom(BaseModel):
    """A custom tool that was called, and its text."""

    model_config = ConfigDict(extra="ignore", strict=True)
    name: Annotated[str, Field(min_length=1, max_length=256)]
    input: str


class CustomCallOfMessage(BaseModel):
    """A call of a custom tool of an earlier answer."""

    model_config = ConfigDict(extra="ignore", strict=True)
    id: Annotated[str, Field(min_length=1, max_length=256)]
    type: Literal["custom"]
    custom: CalledCustom

    def wire(self) -> dict[str, Any]:
        """As the model `prompt` reads it."""
        return call_wire(self.id, self.custom.name, custom_arguments(self.custom.input))


def _call_arm(value: Any) -> str:
    return "CustomCall" if kind_of(value) == "custom" else "FunctionCall"


AnyCall = Annotated[
    Annotated[CallOfMessage, Tag("FunctionCall")] | Annotated[CustomCallOfMessage, Tag("CustomCall")],
    Discriminator(_call_arm),
]


class AssistantMessage(BaseMessage):
    """An earlier answer: text, calls, or both."""

    model_config = ConfigDict(extra="ignore", strict=True)
    role: Literal["assistant"]
    content: AnswerContent | None = None
    refusal: str | None = None
    name: ParticipantName | None = None
    tool_calls: Annotated[list[AnyCall], items(0, MAX_CALLS)] | None = None
    function_call: CalledFunction | None = None
    """The older way."""

    @model_validator(mode="after")
    def _says_something(self) -> "AssistantMessage":
        if self.content is None and not self.tool_calls and self.function_call is None and not self.refusal:
            raise ValueError("content: it may be left out beside tool_calls only")
        return self

    def wire(self) -> dict[str, Any]:
        """See BaseMessage."""
        calls = [each.wire() for each in self.tool_calls or ()]
        if self.function_call is not None:
            calls.append(
                call_wire(_older_id(self.function_call.name), self.function_call.name, self.function_call.arguments)
            )
        said = {**super().wire(), **({"tool_calls": calls} if calls else {})}
        return {**said, "content": self.refusal} if self.refusal and not self.text else said


class ToolMessage(BaseMessage):
    """What a function gave."""

    model_config = ConfigDict(extra="ignore", strict=True)
    role: Literal["tool"]
    content: Content
    tool_call_id: Annotated[str, Field(min_length=1, max_length=256)]

    def wire(self) -> dict[str, Any]:
        """See BaseMessage."""
        return {**super().wire(), "tool_call_id": self.tool_call_id}


class FunctionMessage(BaseMessage):
    """The same in the older way."""

    model_config = ConfigDict(extra="ignore", strict=True)
    role: Literal["function"]
    content: Content
    name: Annotated[str, Field(min_length=1, max_length=256)]

    def wire(self) -> dict[str, Any]:
        """See BaseMessage."""
        return {"role": "tool", "content": self.text, "tool_call_id": _older_id(self.name)}


def _older_id(name: str) -> str:
    """Of a call that has none."""
    return f"call_{name}"


_ROLES = {"assistant": "AssistantMessage", "tool": "ToolMessage", "function": "FunctionMessage"}


def _role(message: Any) -> str:
    role = message.get("role") if isinstance(message, dict) else None
    return _ROLES.get(role, "ChatMessage") if isinstance(role, str) else "ChatMessage"


AnyMessage = Annotated[
    Annotated[ChatMessage, Tag("ChatMessage")]
    | Annotated[AssistantMessage, Tag("AssistantMessage")]
    | Annotated[ToolMessage, Tag("ToolMessage")]
    | Annotated[FunctionMessage, Tag("FunctionMessage")],
    Discriminator(_role),
]
