"""The messages of a conversation, as chats and responses have them in common."""

from abc import abstractmethod
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from gateway.api.dependencies import ID_PATTERN

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


_ARMS = {"refusal": "RefusalPart", "file": "FilePart", "input_file": "FilePart"}


def part_kind(part: Any) -> str:
    """The arm of a part that may be a refusal or a file, for discriminators."""
    kind = part.get("type") if isinstance(part, dict) else getattr(part, "type", None)
    return _ARMS.get(kind, "TextPart") if isinstance(kind, str) else "TextPart"


def _by_id(given: Any) -> Any:
    if isinstance(given, dict) and "file_id" not in given and given.keys() & {"file_data", "file_url"}:
        raise ValueError("a file is given by its 'file_id'; upload it first (POST /v1/files)")
    return given


class FileReference(BaseModel):
    """An uploaded file."""

    model_config = ConfigDict(extra="ignore", strict=True)
    file_id: Annotated[str, Field(pattern=ID_PATTERN)]

    @model_validator(mode="before")
    @classmethod
    def _is_uploaded(cls, given: Any) -> Any:
        return _by_id(given)


class AttachedFile(BaseModel):
    """A file beside a message's words. Models are told nothing of it; an assistant may read it."""

    @property
    def text(self) -> str:
        """See ContentPart."""
        return ""

    @property
    @abstractmethod
    def id_of_file(self) -> str:
        """Its id."""


class BaseMessage(BaseModel):
    """A message."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Any
    """A text, parts that each have a `text`, or nothing."""

    @property
    def text(self) -> str:
        """The content as one string."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content or ())

    @property
    def files(self) -> tuple[str, ...]:
        """Ids of the files beside its words."""
        parts = () if isinstance(self.content, str) else self.content or ()
        return tuple(part.id_of_file for part in parts if isinstance(part, AttachedFile))

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


M = TypeVar("M", bound=BaseMessage)


def check_files(message: M) -> M:
    """The message. Raises ValueError for a file that is not the user's."""
    if message.role != "user" and message.files:
        raise ValueError("content: only a message of the user has files")
    return message
