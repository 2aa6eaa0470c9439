"""Items of calls and of what they gave, as clients send them back in an input of responses."""

import json
from abc import abstractmethod
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.api.bookkeeping import Cacheable
from gateway.api.client_tools import FileOperation, ShellAction, custom_arguments
from gateway.api.message_schemas import MAX_PARTS, READ_HERE, CalledFunction, ContentPart, call_wire
from gateway.api.validation import MANY, ONE, ONE_OR_MANY, WHOLE, items

ItemStatus = Literal["in_progress", "searching", "completed", "incomplete", "failed"]


Unread = Annotated[list[Any], Field(max_length=100_000)]
"""What comes back with an item of an earlier answer, and tells models nothing."""


class ReturnedItem(BaseModel):
    """What clients send back with an item of an earlier answer; models are told of nothing of it."""

    id: str | None = None
    status: ItemStatus | None = None


class InputTextPart(Cacheable, ContentPart):
    """A piece of text of a message; one of our own answers comes back with its annotations."""

    model_config = ConfigDict(extra="ignore", strict=True)
    type: Annotated[Literal["input_text", "output_text"], READ_HERE]
    annotations: Unread | None = None
    logprobs: Unread | None = None


Content = Annotated[
    Annotated[str, ONE] | Annotated[list[InputTextPart], items(0, MAX_PARTS), MANY],
    ONE_OR_MANY,
    WHOLE,
]


CallId = Annotated[str, Field(min_length=1, max_length=256)]


class Caller(BaseModel):
    """Who has called a function."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["direct"]


class CallItem(ReturnedItem):
    """A call of an earlier turn."""

    model_config = ConfigDict(extra="ignore", strict=True)
    call_id: CallId
    caller: Caller | None = None

    @property
    @abstractmethod
    def function(self) -> tuple[str, str]:
        """Name and arguments, as the model wrote them."""

    def wire(self) -> dict[str, Any]:
        """As the model `prompt` reads it."""
        return call_wire(self.call_id, *self.function)


class OutputItem(ReturnedItem):
    """What the client's tool gave."""

    model_config = ConfigDict(extra="ignore", strict=True)
    caller: Caller | None = None

    @property
    @abstractmethod
    def of(self) -> str:
        """The call's id."""

    @property
    @abstractmethod
    def text(self) -> str:
        """What the model is told."""


class FunctionCallItem(CallItem, CalledFunction):
    """A call of a function."""

    type: Literal["function_call"]

    @property
    def function(self) -> tuple[str, str]:
        """See CallItem."""
        return self.name, self.arguments


class CustomCallItem(CallItem):
    """A call of a custom tool."""

    type: Literal["custom_tool_call"]
    name: Annotated[str, Field(min_length=1, max_length=256)]
    input: str

    @property
    def function(self) -> tuple[str, str]:
        """See CallItem."""
        return self.name, custom_arguments(self.input)


class PatchCallItem(CallItem):
    """A patch."""

    type: Literal["apply_patch_call"]
    status: Literal["in_progress", "completed"]
    operation: FileOperation

    @property
    def function(self) -> tuple[str, str]:
        """See CallItem."""
        return "apply_patch", json.dumps({"operation": self.operation.model_dump()}, ensure_ascii=False)


class ShellCallItem(CallItem):
    """A command."""

    type: Literal["local_shell_call"]
    id: str
    action: ShellAction

    @property
    def function(self) -> tuple[str, str]:
        """See CallItem."""
        return "local_shell", self.action.model_dump_json(include={"command"})


class CalledOutputItem(OutputItem):
    """The same with the id of the call in a field of its own."""

    call_id: CallId

    @property
    def of(self) -> str:
        """See OutputItem."""
        return self.call_id


class FunctionOutputItem(CalledOutputItem):
    """What a function gave, or a custom tool."""

    type: Literal["function_call_output", "custom_tool_call_output"]
    output: Content
    name: Annotated[str, Field(max_length=128)] | None = None

    @property
    def text(self) -> str:
        """See OutputItem."""
        return self.output if isinstance(self.output, str) else "".join(part.text for part in self.output)


class PatchOutputItem(CalledOutputItem):
    """What became of a patch."""

    type: Literal["apply_patch_call_output"]
    status: Literal["completed", "failed"]
    output: str | None = None

    @property
    def text(self) -> str:
        """See OutputItem."""
        return self.output or self.status


class ShellOutputItem(OutputItem):
    """What a command gave. OpenAI's description has the call's id in `id`; its clients send `call_id`, too."""

    type: Literal["local_shell_call_output"]
    id: CallId
    call_id: CallId | None = None
    output: str

    @property
    def of(self) -> str:
        """See OutputItem."""
        return self.call_id or self.id

    @property
    def text(self) -> str:
        """See OutputItem."""
        return self.output
