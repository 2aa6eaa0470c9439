"""Which of its tools a client wants called: `tool_choice` of chats and responses, and the older `function_call`."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Tag

from gateway.api.tool_schemas import MAX_TOOLS, FunctionDefinition, FunctionName, kind_of
from gateway.api.validation import items
from gateway.serving.tools import ToolUse


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
