"""Functions that a client offers, as OpenAI's clients send them: in chats, in responses, and the older `functions`."""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from gateway.api.json_body import MAX_KEYS
from gateway.api.validation import items
from gateway.errors import BadRequest
from gateway.serving.json_schema import InvalidSchema, checked
from gateway.serving.tools import FunctionTool

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


def kind_of(value: Any) -> str:
    """The `type` of an object, for discriminators."""
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return kind if isinstance(kind, str) else ""


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
        raise ValueError(f"{whole}: the function '{twice}' is given more than once")
    if (size := sum(len(orjson.dumps(each.function_tool.wire())) for each in functions.values())) > MAX_TOOL_BYTES:
        raise ValueError(f"{whole}: the functions have {size} bytes together; at most {MAX_TOOL_BYTES} are read")
