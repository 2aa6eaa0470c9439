"""The messages of a conversation, as chats and responses have them in common."""

from collections.abc import Sequence
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


class BaseMessage(BaseModel):
    """A message."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | Sequence[ContentPart] | None

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
