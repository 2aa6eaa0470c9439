"""The messages of a conversation, as chats and responses have them in common."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

MAX_PARTS = 256
"""Of the content of one message."""


MAX_CALLS = 128
"""Of one message."""


def _read_here(kind: Any) -> Any:
    for other in ("image", "audio", "video", "file"):
        if isinstance(kind, str) and other in kind:
            raise ValueError(f"the models here read text alone, no {other} ('abilities' in /v1/models)")
    return kind


READ_HERE = BeforeValidator(_read_here)
"""Before the literal type of a part: what other models read is refused by its name."""


class ContentPart(BaseModel):
    """A piece of a message's content."""

    type: str
    text: str


class RefusalPart(BaseModel):
    """What another model said in place of an answer."""

    model_config = ConfigDict(extra="ignore", strict=True)
    type: Literal["refusal"]
    refusal: str

    @property
    def text(self) -> str:
        """See ContentPart."""
        return self.refusal


def part_kind(part: Any) -> str:
    """The arm of a part that may be a refusal, for discriminators."""
    kind = part.get("type") if isinstance(part, dict) else getattr(part, "type", None)
    return "RefusalPart" if kind == "refusal" else "TextPart"


class BaseMessage(BaseModel):
    """A message."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Any
    """A text, parts that each have a `text`, or nothing."""

    @property
    def text(self) -> str:
        """The content as one string."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content or ())

    def wire(self) -> dict[str, Any]:
        """As the model `prompt` reads it."""
        return {"role": self.role, "content": self.text}


class CalledFunction(BaseModel):
    """A function that was called, and its arguments as the model wrote them."""

    model_config = ConfigDict(extra="ignore", strict=True)
    name: Annotated[str, Field(min_length=1, max_length=256)]
    arguments: str


def call_wire(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    """A call of an earlier turn, as the model `prompt` reads it."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
