"""Tools that a client runs and that are no functions to it: texts, patches, shell commands. To a model each is a function."""

import json
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from gateway.api.tool_schemas import (
    ChatFunction,
    ClientTool,
    FunctionDefinition,
    FunctionName,
    ResponseFunction,
    kind_of,
)
from gateway.api.validation import WHOLE, items
from gateway.serving.tools import ToolCall

Json = dict[str, Any]
MAX_REGEX = 4096
"""Characters."""


def _object(**properties: Any) -> Json:
    """JSON Schema of an object that has all of these."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


# Custom tools


class CustomDefinition(FunctionDefinition):
    """A function whose one argument is a text."""

    kind: ClassVar[str] = "custom"
    SCHEMA: ClassVar[str] = "format"


class RegexGrammar(BaseModel):
    """What a text must match, as a whole, where calls are written under a grammar."""

    model_config = ConfigDict(extra="forbid", strict=True)
    syntax: Literal["regex"]
    definition: Annotated[str, Field(min_length=1, max_length=MAX_REGEX)]


class FreeText(BaseModel):
    """Any text."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["text"]

    @property
    def pattern(self) -> str | None:
        """A regular expression."""
        return None


class ChatGrammar(BaseModel):
    """See RegexGrammar; as a chat has it."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["grammar"]
    grammar: RegexGrammar

    @property
    def pattern(self) -> str | None:
        """See FreeText."""
        return self.grammar.definition


class ResponseGrammar(RegexGrammar):
    """The same, as a response has it."""

    type: Literal["grammar"]

    @property
    def pattern(self) -> str | None:
        """See FreeText."""
        return self.definition


def _form(value: Any) -> str:
    return "Grammar" if kind_of(value) == "grammar" else "FreeText"


class CustomBase(BaseModel):
    """A tool that takes a text."""

    model_config = ConfigDict(extra="forbid", strict=True)
    name: FunctionName
    description: Annotated[str, Field(max_length=8192)] | None = None

    def defined(self, form: FreeText | ChatGrammar | ResponseGrammar | None) -> CustomDefinition:
        """The function that it is to a model."""
        text: Json = {"type": "string"}
        if form is not None and form.pattern is not None:
            text["pattern"] = f"^(?:{form.pattern})$"
        return CustomDefinition(
            name=self.name, description=self.description, parameters=_object(input=text), strict=True
        )


class ChatCustom(CustomBase):
    """The same, as a chat has it."""

    format: (
        Annotated[Annotated[FreeText, Tag("FreeText")] | Annotated[ChatGrammar, Tag("Grammar")], Discriminator(_form)]
        | None
    ) = None


class ChatCustomTool(BaseModel):
    """A custom tool of a chat."""

    INSIDE: ClassVar[str] = ".custom"
    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["custom"]
    custom: ChatCustom

    @cached_property
    def definition(self) -> FunctionDefinition:
        """See ChatFunction."""
        return self.custom.defined(self.custom.format)


class ResponseCustomTool(ClientTool, CustomBase):
    """A custom tool of a response."""

    INSIDE: ClassVar[str] = ""
    type: Literal["custom"]
    format: (
        Annotated[
            Annotated[FreeText, Tag("FreeText")] | Annotated[ResponseGrammar, Tag("Grammar")], Discriminator(_form)
        ]
        | None
    ) = None

    @cached_property
    def definition(self) -> FunctionDefinition:
        """See ChatFunction."""
        return self.defined(self.format)


# Patches and shell commands


class CreateFile(BaseModel):
    """A file that is to be there."""

    model_config = ConfigDict(extra="ignore", strict=True)
    type: Literal["create_file"]
    path: Annotated[str, Field(min_length=1)]
    diff: str


class UpdateFile(BaseModel):
    """A file that is to change."""

    model_config = ConfigDict(extra="ignore", strict=True)
    type: Literal["update_file"]
    path: Annotated[str, Field(min_length=1)]
    diff: str


class DeleteFile(BaseModel):
    """A file that is to go."""

    model_config = ConfigDict(extra="ignore", strict=True)
    type: Literal["delete_file"]
    path: Annotated[str, Field(min_length=1)]


FileOperation = Annotated[CreateFile | UpdateFile | DeleteFile, Field(discriminator="type")]


class PatchArguments(BaseModel):
    """Of a call of `apply_patch`."""

    model_config = ConfigDict(extra="ignore", strict=True)
    operation: FileOperation


class ShellArguments(BaseModel):
    """Of a call of `local_shell`."""

    model_config = ConfigDict(extra="ignore", strict=True)
    command: Annotated[list[str], items(1, 1000)]


class ShellAction(ShellArguments):
    """A command, and where it runs."""

    type: Literal["exec"]
    env: Annotated[dict[str, str], Field(max_length=1000)]
    timeout_ms: Annotated[int, Field(ge=-(2**63), lt=2**63), WHOLE] | None = None
    working_directory: str | None = None
    user: str | None = None


class PatchDefinition(FunctionDefinition):
    """Of the tool `apply_patch`."""

    kind: ClassVar[str] = "apply_patch"


class ShellDefinition(FunctionDefinition):
    """Of the tool `local_shell`."""

    kind: ClassVar[str] = "local_shell"


_PATH: Json = {"type": "string", "minLength": 1}
_OPERATIONS = [
    _object(type={"const": "create_file"}, path=_PATH, diff={"type": "string"}),
    _object(type={"const": "update_file"}, path=_PATH, diff={"type": "string"}),
    _object(type={"const": "delete_file"}, path=_PATH),
]
PATCH = PatchDefinition(
    name="apply_patch",
    description="Create, update or delete a file. The path is relative; `diff` is a diff in the V4A format.",
    parameters=_object(operation={"anyOf": _OPERATIONS}),
)
SHELL = ShellDefinition(
    name="local_shell",
    description="Run a command on the user's machine.",
    parameters=_object(command={"type": "array", "items": {"type": "string"}, "minItems": 1}),
)


class PatchTool(ClientTool):
    """Patches to the client's files."""

    INSIDE: ClassVar[str] = ""
    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["apply_patch"]

    @property
    def definition(self) -> FunctionDefinition:
        """See ChatFunction."""
        return PATCH


class ShellTool(BaseModel):
    """Commands on the client's machine."""

    INSIDE: ClassVar[str] = ""
    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["local_shell"]

    @property
    def definition(self) -> FunctionDefinition:
        """See ChatFunction."""
        return SHELL


OfferedTool = ChatFunction | ChatCustomTool | ResponseFunction | ResponseCustomTool | PatchTool | ShellTool
"""Whatever an answer may call."""


# Calls, as their clients know them


def custom_arguments(text: str) -> str:
    """Of a call of a custom tool, as a model writes them."""
    return json.dumps({"input": text}, ensure_ascii=False)


def custom_input(call: ToolCall) -> str:
    """The text that a custom tool was called with; what the model wrote where it is no call of it."""
    try:
        text = json.loads(call.arguments)["input"]
    except (ValueError, TypeError, KeyError):
        return call.arguments
    return text if isinstance(text, str) else call.arguments


CALL_ITEMS = {
    "function": "function_call",
    "custom": "custom_tool_call",
    "apply_patch": "apply_patch_call",
    "local_shell": "local_shell_call",
}
"""Types of tools → types of the items of their calls."""


def call_fields(kind: str, call: ToolCall) -> Json | None:
    """What the item of a call has beside its id and status; None for one that cannot be read. kind: of its tool."""
    item: Json = {"type": CALL_ITEMS[kind], "call_id": call.id}
    match kind:
        case "custom":
            return {**item, "name": call.name, "input": custom_input(call)}
        case "apply_patch":
            patch = _read(PatchArguments, call.arguments)
            return patch and {**item, **patch}
        case "local_shell":
            command = _read(ShellArguments, call.arguments)
            return command and {**item, "action": {"type": "exec", "env": {}, **command}}
        case _:
            return {**item, "name": call.name, "arguments": call.arguments}


def _read(model: type[BaseModel], arguments: str) -> Json | None:
    try:
        return model.model_validate_json(arguments).model_dump(exclude_none=True)
    except ValidationError:
        return None
