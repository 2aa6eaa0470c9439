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


def _known_type(value: Any) -> Any:
    if value != "function":
        raise ValueError("there are tools of the types 'function' and 'file_search'")
    return value


FunctionType = Annotated[Literal["function"], BeforeValidator(_known_type)]


class ChatFunction(BaseModel):
    """A function, as a tool of a chat."""

    INSIDE: ClassVar[str] = ".function"
    """Where the definition stands in it."""
    model_config = ConfigDict(extra="forbid", strict=True)
    type: FunctionType
    function: FunctionDefinition

    @property
    def definition(self) -> FunctionDefinition:
        """The function itself."""
        return self.function


class ResponseFunction(FunctionDefinition):
    """A function, as a tool of a response."""

    INSIDE: ClassVar[str] = ""
    type: FunctionType
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


class ResponseNamedTool(NamedFunction):
    """The one function to call, in a response."""

    type: Literal["function"]


class NamedFileSearch(BaseModel):
    """The search, by its name."""

    model_config = ConfigDict(extra="ignore", strict=True)
    type: Literal["file_search"]


def kind_of(value: Any) -> str:
    """The `type` of an object, for discriminators."""
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return kind if isinstance(kind, str) else ""


def _named(value: Any) -> str:
    return "NamedFileSearch" if kind_of(value) == "file_search" else "NamedFunction"


ChatName = Annotated[
    Annotated[ChatNamedTool, Tag("NamedFunction")] | Annotated[NamedFileSearch, Tag("NamedFileSearch")],
    Discriminator(_named),
]
ResponseName = Annotated[
    Annotated[ResponseNamedTool, Tag("NamedFunction")] | Annotated[NamedFileSearch, Tag("NamedFileSearch")],
    Discriminator(_named),
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


def _choice(value: Any) -> str:
    if not isinstance(value, dict | BaseModel):
        return "str"
    return {"allowed_tools": "AllowedTools", "file_search": "NamedFileSearch"}.get(kind_of(value), "NamedFunction")


Mode = Literal["none", "auto", "required"]
ChatToolChoice = Annotated[
    Annotated[Mode, Tag("str")]
    | Annotated[ChatNamedTool, Tag("NamedFunction")]
    | Annotated[NamedFileSearch, Tag("NamedFileSearch")]
    | Annotated[ChatAllowedTools, Tag("AllowedTools")],
    Discriminator(_choice),
]
ResponseToolChoice = Annotated[
    Annotated[Mode, Tag("str")]
    | Annotated[ResponseNamedTool, Tag("NamedFunction")]
    | Annotated[NamedFileSearch, Tag("NamedFileSearch")]
    | Annotated[ResponseAllowedTools, Tag("AllowedTools")],
    Discriminator(_choice),
]
ToolChoice = (
    Mode | ChatNamedTool | ResponseNamedTool | NamedFileSearch | ChatAllowedTools | ResponseAllowedTools | NamedFunction
)
"""Of any path; NamedFunction is the older `function_call`."""


def check_functions(functions: Mapping[str, FunctionDefinition], whole: str) -> None:
    """Raises ValueError for a name that is there twice, and for more than a prompt could hold; BadRequest for a schema.

    functions: by the place that they stand at. whole: what holds them.
    """
    for place, each in functions.items():
        try:
            each.function_tool  # noqa: B018 - it is read when it is needed first
        except InvalidSchema as error:
            param = f"{place}.parameters"
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
    offered = {each.name: each.function_tool for each in functions}
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
        chosen = [each.name for each in allowed.tools if not isinstance(each, NamedFileSearch)]
    elif isinstance(choice, NamedFileSearch):
        if not searches:
            raise ValueError(f"{param}: there is no tool 'file_search'")
        chosen = []
    else:
        required, chosen = True, [choice.name]
    if (unknown := next((name for name in chosen if name not in offered), None)) is not None:
        raise ValueError(f"{param}: there is no function '{unknown}' among the tools")
    if not chosen:
        return None
    return ToolUse(
        functions=tuple(offered[name] for name in dict.fromkeys(chosen)), required=required, parallel=parallel
    )


def wants_search(choice: ToolChoice) -> bool:
    """Whether a file_search that is there is to be used."""
    if isinstance(choice, str):
        return choice != "none"
    if isinstance(choice, ChatAllowedTools | ResponseAllowedTools):
        return any(isinstance(each, NamedFileSearch) for each in choice.allowed.tools)
    return isinstance(choice, NamedFileSearch)
