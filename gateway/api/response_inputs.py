"""Items of the input of a Responses request, as OpenAI's clients send them."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from gateway.api.call_items import (
    CallItem,
    CustomCallItem,
    FunctionCallItem,
    FunctionOutputItem,
    InputTextPart,
    OutputItem,
    PatchCallItem,
    PatchOutputItem,
    ReturnedItem,
    ShellCallItem,
    ShellOutputItem,
    Unread,
)
from gateway.api.dependencies import ID_PATTERN
from gateway.api.message_schemas import (
    MAX_PARTS,
    AttachedFile,
    BaseMessage,
    FileReference,
    RefusalPart,
    check_files,
    part_kind,
)
from gateway.api.validation import (
    MANY,
    MAX_NAME,
    ONE,
    ONE_OR_MANY,
    WHOLE,
    items,
)


class ReturnedMessage(ReturnedItem):
    """The same of a message."""

    phase: Literal["commentary", "final_answer"] | None = None


class InputFilePart(AttachedFile, FileReference):
    """A file of the user."""

    model_config = ConfigDict(extra="ignore", strict=True)
    type: Literal["input_file"]

    @property
    def id_of_file(self) -> str:
        """See AttachedFile."""
        return self.file_id


MessagePart = Annotated[
    Annotated[InputTextPart, Tag("TextPart")]
    | Annotated[RefusalPart, Tag("RefusalPart")]
    | Annotated[InputFilePart, Tag("FilePart")],
    Discriminator(part_kind),
]


MessageContent = Annotated[
    Annotated[str, ONE] | Annotated[list[MessagePart], items(0, MAX_PARTS), MANY], ONE_OR_MANY, WHOLE
]


def _known_item(kind: Any) -> Any:
    if kind != "message":
        listed = ", ".join(f"'{name}'" for name in ("message", *_KINDS))
        raise ValueError(f"there are items of the types {listed}")
    return kind


class TypedItem(BaseModel):
    """An item's type, which is read before the rest: a message stands for every item of an unknown type."""

    type: Annotated[Literal["message"], BeforeValidator(_known_item)] = "message"


class InputMessage(ReturnedMessage, BaseMessage, TypedItem):
    """A message; one of our own answers comes back with its id and status."""

    model_config = ConfigDict(extra="ignore", strict=True)
    role: Literal["system", "developer", "user", "assistant"]
    content: MessageContent

    @model_validator(mode="after")
    def _users_file(self) -> "InputMessage":
        return check_files(self)


class SearchCall(ReturnedItem):
    """A search of an earlier turn, which clients send back with its answer: the answer says it all."""

    model_config = ConfigDict(extra="ignore", strict=True)
    type: Literal["file_search_call"]
    queries: Annotated[list[str], items(0, 1000)] | None = None
    results: Unread | None = None


class ItemReference(BaseModel):
    """An item that is stored here."""

    model_config = ConfigDict(extra="ignore", strict=True)
    type: Literal["item_reference"] = "item_reference"
    id: Annotated[str, Field(pattern=ID_PATTERN)]


class ReasoningItem(ReturnedItem):
    """What the model thought in an earlier turn, which clients send back with its answer. Models are not told of it again."""

    model_config = ConfigDict(extra="ignore", strict=True)
    type: Literal["reasoning"]
    summary: Unread | None = None
    content: Unread | None = None
    encrypted_content: str | None = None


_KINDS = {
    "reasoning": "ReasoningItem",
    "file_search_call": "SearchCall",
    "item_reference": "ItemReference",
    "function_call": "FunctionCallItem",
    "custom_tool_call": "CustomCallItem",
    "apply_patch_call": "PatchCallItem",
    "local_shell_call": "ShellCallItem",
    "function_call_output": "FunctionOutputItem",
    "custom_tool_call_output": "FunctionOutputItem",
    "apply_patch_call_output": "PatchOutputItem",
    "local_shell_call_output": "ShellOutputItem",
}


def _kind(item: Any) -> str:
    kind = item.get("type") if isinstance(item, dict) else None
    if kind is None and isinstance(item, dict) and "role" not in item and "id" in item:
        return "ItemReference"
    return _KINDS.get(kind, "InputMessage") if isinstance(kind, str) else "InputMessage"


Item = Annotated[
    Annotated[InputMessage, Tag("InputMessage")]
    | Annotated[SearchCall, Tag("SearchCall")]
    | Annotated[ReasoningItem, Tag("ReasoningItem")]
    | Annotated[FunctionCallItem, Tag("FunctionCallItem")]
    | Annotated[CustomCallItem, Tag("CustomCallItem")]
    | Annotated[PatchCallItem, Tag("PatchCallItem")]
    | Annotated[ShellCallItem, Tag("ShellCallItem")]
    | Annotated[FunctionOutputItem, Tag("FunctionOutputItem")]
    | Annotated[PatchOutputItem, Tag("PatchOutputItem")]
    | Annotated[ShellOutputItem, Tag("ShellOutputItem")]
    | Annotated[ItemReference, Tag("ItemReference")],
    Discriminator(_kind),
]


def conversation_of(items: Sequence[Any]) -> list[dict[str, Any]]:
    """Items as the model `prompt` reads them: calls that follow each other, and the text before them, are one message.

    Raises ValueError for the output of a call that is not there.
    """
    messages: list[dict[str, Any]] = []
    called: dict[str, str] = {}
    for index, item in enumerate(items):
        if isinstance(item, CallItem):
            called |= {name: item.call_id for name in (item.id, item.call_id) if name}
            if not messages or messages[-1]["role"] != "assistant":
                messages.append({"role": "assistant", "content": ""})
            messages[-1].setdefault("tool_calls", []).append(item.wire())
        elif isinstance(item, OutputItem):
            if (call := called.get(item.of)) is None:
                raise ValueError(f"input.{index}.call_id: no item before it has called '{item.of[:MAX_NAME]}'")
            messages.append({"role": "tool", "content": item.text, "tool_call_id": call})
        elif isinstance(item, InputMessage):
            messages.append(item.wire())
    return messages
