"""Functions that a client offers, as OpenAI's clients send them: in chats, in responses, and the older `functions`."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from gateway.api.json_body import MAX_KEYS
from gateway.api.validation import items
from gateway.errors import BadRequest
from gateway.serving.json_schema import InvalidSchema, checked
from gateway.serving.tools import FunctionTool, ToolUse

MAX_TOOLS = 128
MAX_SCHEMA_BYTES = 64 * 1024
"""Of one function's parameters, as JSON."""
MAX_TOOL_BYTES = 256 * 1024
"""Of all functions together."""


def _small(value: dict[str, Any]) -> dict[str, Any]:
    if (size := len(orjson.dumps(value))) > MAX_SCHEMA_BYTES:
        raise ValueError(f"the schema has {size} bytes; at most {MAX_SCHEMA_BYTES} are read")
    return value


def _schema(value: dict[str, Any]) -> dict[str, Any]:
    if value.get("type", "object") != "object":
        raise ValueError("the arguments of a function are an object, so its `type` is 'object'")
    return _small(value)


FunctionName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


class FunctionDefinition(BaseModel):
    """A function."""

    kind: ClassVar[str] = "function"
    """The `type` of its tool."""
    SCHEMA: ClassVar[str] = "parameters"
    """Where a client has its schema."""
    model_config = ConfigDict(extra="forbid", strict=True)
    name: FunctionName
    description: Annotated[str, Field(max_length=8192)] | None = None
    parameters: Annotated[dict[str, Any], Field(max_length=MAX_KEYS), AfterValidator(_schema)] | None = None
    strict: bool | None = None
    """Whether a schema that is only followed in part is refused."""

    @cached_property
    def function_tool(self) -> FunctionTool:
        """Without its wire form. Raises InvalidSchema for parameters that no call can be held to."""
        parameters = {"type": "object", **(self.parameters or {})}
        followed = checked(parameters, strict=bool(self.strict))
        about = self.description or ""
        return FunctionTool(name=self.name, description=about, parameters=parameters, followed=followed)


def known_types(*names: str) -> BeforeValidator:
    """Before the literal type of a function, which stands for every tool of an unknown type. names: of all types."""
    listed = ", ".join(f"'{name}'" for name in names)

    def check(value: Any) -> Any:
        if value != "function":
            raise ValueError(f"there are tools of the types {listed}")
        return value

    return BeforeValidator(check)


class ClientTool(BaseModel):
    """What a tool of a response says of its callers: it is called by the model, and was never hidden from it."""

    defer_loading: Literal[False] | None = None
    allowed_callers: Annotated[list[Literal["direct"]], items(1, 1)] | None = None


class ChatFunction(BaseModel):
    """A function, as a tool of a chat."""

    INSIDE: ClassVar[str] = ".function"
    """Where the definition stands in it."""
    model_config = ConfigDict(extra="forbid", strict=True)
    type: Annotated[Literal["function"], known_types("function", "custom", "file_search")]
    function: FunctionDefinition

    @property
    def definition(self) -> FunctionDefinition:
        """The function itself."""
        return self.function


class TypedTool(BaseModel):
    """A tool's type, which is read before the rest."""

    type: Annotated[Literal["function"], known_types("function", "custom", "apply_patch", "local_shell", "file_search")]


class ResponseFunction(ClientTool, FunctionDefinition, TypedTool):
    """A function, as a tool of a response."""

    INSIDE: ClassVar[str] = ""
    output_schema: Annotated[dict[str, Any], Field(max_length=MAX_KEYS), AfterValidator(_small)] | None = None
    """Of what it gives; models are not told of it."""

    @property
    def definition(self) -> FunctionDefinition:
        """The function itself."""
        return self


class NamedFunction(BaseModel):
    """A function by its name."""

    model_config = ConfigDict(extra="forbid", strict=True)
    name: FunctionName


class ChatNamedTool(BaseModel):
    """The one function to call, in a chat."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["function"]
    function: NamedFunction

    @property
    def name(self) -> str:
        """Of the function."""
        return self.function.name


class ChatNamedCustom(BaseModel):
    """The one custom tool to call, in a chat."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["custom"]
    custom: NamedFunction

    @property
    def name(self) -> str:
        """Of the tool."""
        return self.custom.name


def _known_choice(value: Any) -> Any:
    if value != "function":
        listed = ", ".join(f"'{name}'" for name in ("function", *_RESPONSE_ARMS, "allowed_tools"))
        raise ValueError(f"there are the types {listed}")
    return value


class TypedChoice(BaseModel):
    """A choice's type, which is read before the rest: a function stands for every choice of an unknown type."""

    type: Annotated[Literal["function"], BeforeValidator(_known_choice)]


class ResponseNamedTool(NamedFunction, TypedChoice):
    """The one function to call, in a response."""


class ResponseNamedCustom(NamedFunction):
    """The one custom tool to call, in a response."""

    type: Literal["custom"]


class NamedPatch(BaseModel):
    """A patch, by its type."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["apply_patch"]

    @property
    def name(self) -> str:
        """Of the tool."""
        return self.type


class NamedShell(BaseModel):
    """A shell command, by its type."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["local_shell"]

    @property
    def name(self) -> str:
        """Of the tool."""
        return self.type


class NamedFileSearch(BaseModel):
    """The search, by its name."""

    model_config = ConfigDict(extra="ignore", strict=True)
    type: Literal["file_search"]


def kind_of(value: Any) -> str:
    """The `type` of an object, for discriminators."""
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return kind if isinstance(kind, str) else ""


def _by_type(arms: Mapping[str, str]) -> Discriminator:
    """arms: of all types but that of functions."""
    return Discriminator(lambda value: arms.get(kind_of(value), "NamedFunction"))


def _word_or_by_type(arms: Mapping[str, str]) -> Discriminator:
    of_type = {**arms, "allowed_tools": "AllowedTools"}

    def arm(value: Any) -> str:
        return of_type.get(kind_of(value), "NamedFunction") if isinstance(value, dict | BaseModel) else "str"

    return Discriminator(arm)


_CHAT_ARMS = {"file_search": "NamedFileSearch", "custom": "NamedCustom"}
_RESPONSE_ARMS = {**_CHAT_ARMS, "apply_patch": "NamedPatch", "local_shell": "NamedShell"}


ChatName = Annotated[
    Annotated[ChatNamedTool, Tag("NamedFunction")]
    | Annotated[ChatNamedCustom, Tag("NamedCustom")]
    | Annotated[NamedFileSearch, Tag("NamedFileSearch")],
    _by_type(_CHAT_ARMS),
]
ResponseName = Annotated[
    Annotated[ResponseNamedTool, Tag("NamedFunction")]
    | Annotated[ResponseNamedCustom, Tag("NamedCustom")]
    | Annotated[NamedPatch, Tag("NamedPatch")]
    | Annotated[NamedShell, Tag("NamedShell")]
    | Annotated[NamedFileSearch, Tag("NamedFileSearch")],
    _by_type(_RESPONSE_ARMS),
]


class ChatAllowed(BaseModel):
    """Some of the tools, and whether one has to be called."""

    model_config = ConfigDict(extra="forbid", strict=True)
    mode: Literal["auto", "required"]
    tools: Annotated[list[ChatName], items(1, MAX_TOOLS + 1)]


class ChatAllowedTools(BaseModel):
    """The same, as a chat has it."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["allowed_tools"]
    allowed_tools: ChatAllowed

    @property
    def allowed(self) -> ChatAllowed:
        """Which."""
        return self.allowed_tools


class ResponseAllowedTools(BaseModel):
    """The same, as a response has it."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[list[ResponseName], items(1, MAX_TOOLS + 1)]

    @property
    def allowed(self) -> "ResponseAllowedTools":
        """Which."""
        return self


Mode = Literal["none", "auto", "required"]
ChatToolChoice = Annotated[
    Annotated[Mode, Tag("str")]
    | Annotated[ChatNamedTool, Tag("NamedFunction")]
    | Annotated[ChatNamedCustom, Tag("NamedCustom")]
    | Annotated[NamedFileSearch, Tag("NamedFileSearch")]
    | Annotated[ChatAllowedTools, Tag("AllowedTools")],
    _word_or_by_type(_CHAT_ARMS),
]
ResponseToolChoice = Annotated[
    Annotated[Mode, Tag("str")]
    | Annotated[ResponseNamedTool, Tag("NamedFunction")]
    | Annotated[ResponseNamedCustom, Tag("NamedCustom")]
    | Annotated[NamedPatch, Tag("NamedPatch")]
    | Annotated[NamedShell, Tag("NamedShell")]
    | Annotated[NamedFileSearch, Tag("NamedFileSearch")]
    | Annotated[ResponseAllowedTools, Tag("AllowedTools")],
    _word_or_by_type(_RESPONSE_ARMS),
]
ToolChoice = ChatToolChoice | ResponseToolChoice | NamedFunction
"""Of any path; NamedFunction is the older `function_call`."""


def check_functions(functions: Mapping[str, FunctionDefinition], whole: str) -> None:
    """Raises ValueError for a name that is there twice, and for more than a prompt could hold; BadRequest for a schema.

    functions: by the place that they stand at. whole: what holds them.
    """
    for place, each in functions.items():
        try:
            each.function_tool  # noqa: B018 - it is read when it is needed first
        except InvalidSchema as error:
            param = f"{place}.{each.SCHEMA}"
            raise BadRequest(f"Invalid schema {error}.", param=param, code="invalid_json_schema") from None
    names = [each.name for each in functions.values()]
    if (twice := next((name for name in names if names.count(name) > 1), None)) is not None:
        raise ValueError(f"{whole}: the function '{twice}' is there more than once")
    if (size := sum(len(orjson.dumps(each.function_tool.wire())) for each in functions.values())) > MAX_TOOL_BYTES:
        raise ValueError(f"{whole}: the functions have {size} bytes together; at most {MAX_TOOL_BYTES} are read")


def tool_use(
    functions: Sequence[FunctionDefinition], choice: ToolChoice, parallel: bool | None, *, searches: bool, param: str
) -> ToolUse | None:
    """What an answer may call; None where it may call nothing.

    searches: whether there is a file_search, too. Raises ValueError for a choice of what is not there.
    """
    offered = {(each.kind, each.name): each.function_tool for each in functions}
    required = choice == "required"
    chosen = list(offered)
    if isinstance(choice, str):
        if choice == "none":
            chosen = []
        elif required and not offered and not searches:
            raise ValueError(f"{param}: there is no tool to choose")
    elif isinstance(choice, ChatAllowedTools | ResponseAllowedTools):
        allowed = choice.allowed
        required = allowed.mode == "required"
        chosen = [(each.type, each.name) for each in allowed.tools if not isinstance(each, NamedFileSearch)]
    elif isinstance(choice, NamedFileSearch):
        if not searches:
            raise ValueError(f"{param}: there is no tool 'file_search'")
        chosen = []
    else:
        required, chosen = True, [(getattr(choice, "type", "function"), choice.name)]
    if (unknown := next((each for each in chosen if each not in offered), None)) is not None:
        kind = unknown[0] if unknown[0] == "function" else f"tool of the type '{unknown[0]}' and the name"
        raise ValueError(f"{param}: there is no {kind} '{unknown[1]}' among the tools")
    if not chosen:
        return None
    return ToolUse(
        functions=tuple(offered[each] for each in dict.fromkeys(chosen)), required=required, parallel=parallel
    )


def wants_search(choice: ToolChoice) -> bool:
    """Whether a file_search that is there is to be used."""
    if isinstance(choice, str):
        return choice != "none"
    if isinstance(choice, ChatAllowedTools | ResponseAllowedTools):
        return any(isinstance(each, NamedFileSearch) for each in choice.allowed.tools)
    return isinstance(choice, NamedFileSearch)
