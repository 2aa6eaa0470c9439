"""What an answer must be, as clients say it: OpenAI's `response_format` and `text.format`, and vLLM's `guided_*`."""

from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from gateway.api.json_body import MAX_KEYS
from gateway.api.tool_schemas import kind_of
from gateway.api.validation import items
from gateway.serving.decoding_guide import Guide

MAX_GUIDE_BYTES = 64 * 1024
"""Of a schema (as JSON), an expression or a grammar."""
MAX_CHOICES = 512


def _bounded(value: dict[str, Any]) -> dict[str, Any]:
    if (size := len(orjson.dumps(value))) > MAX_GUIDE_BYTES:
        raise ValueError(f"the schema has {size} bytes; at most {MAX_GUIDE_BYTES} are read")
    return value


Schema = Annotated[dict[str, Any], Field(max_length=MAX_KEYS), AfterValidator(_bounded)]
Expression = Annotated[str, Field(min_length=1, max_length=MAX_GUIDE_BYTES)]


def _known_type(value: Any) -> Any:
    if value != "text":
        raise ValueError("there are the types 'text', 'json_object' and 'json_schema'")
    return value


class TextFormat(BaseModel):
    """Any text."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Annotated[Literal["text"], BeforeValidator(_known_type)]

    def guide(self, param: str) -> Guide | None:
        """What it makes an engine write; None: anything. param: where the client has it. Raises BadRequest."""
        return None


class JsonObjectFormat(BaseModel):
    """Any JSON object."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["json_object"]

    def guide(self, param: str) -> Guide | None:
        """See TextFormat."""
        return Guide.json_object()


class NamedSchema(BaseModel):
    """A JSON Schema with its name."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: Annotated[str, Field(max_length=8192)] | None = None
    schema_: Annotated[Schema | None, Field(alias="schema")] = None
    """Without one: any object."""
    strict: bool | None = None
    """Whether a schema that is only followed in part is refused."""

    def guide(self, param: str) -> Guide | None:
        """See TextFormat."""
        if self.schema_ is None:
            return Guide.json_object()
        return Guide.json_schema(self.schema_, strict=bool(self.strict), param=f"{param}.schema")


class ChatJsonSchemaFormat(BaseModel):
    """An instance of a schema, as a chat has it."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["json_schema"]
    json_schema: NamedSchema

    def guide(self, param: str) -> Guide | None:
        """See TextFormat."""
        return self.json_schema.guide(f"{param}.json_schema")


class ResponseJsonSchemaFormat(NamedSchema):
    """An instance of a schema, as a response has it."""

    type: Literal["json_schema"]
    schema_: Annotated[Schema, Field(alias="schema")]


def _format(value: Any) -> str:
    return {"json_object": "JsonObject", "json_schema": "JsonSchema"}.get(kind_of(value), "Text")


AnyFormat = TextFormat | JsonObjectFormat | ChatJsonSchemaFormat | ResponseJsonSchemaFormat
ChatFormat = Annotated[
    Annotated[TextFormat, Tag("Text")]
    | Annotated[JsonObjectFormat, Tag("JsonObject")]
    | Annotated[ChatJsonSchemaFormat, Tag("JsonSchema")],
    Discriminator(_format),
]
ResponseFormat = Annotated[
    Annotated[TextFormat, Tag("Text")]
    | Annotated[JsonObjectFormat, Tag("JsonObject")]
    | Annotated[ResponseJsonSchemaFormat, Tag("JsonSchema")],
    Discriminator(_format),
]

Choices = Annotated[list[Annotated[str, Field(min_length=1, max_length=1024)]], items(1, MAX_CHOICES)]


def _schema_text(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        raise ValueError("a JSON Schema is an object, or one written as JSON") from None


LooseSchema = Annotated[
    Schema,
    BeforeValidator(
        _schema_text, json_schema_input_type=Annotated[dict[str, Any], Field(max_length=MAX_KEYS)] | Expression
    ),
]
"""vLLM takes a schema as text, too."""


class StructuredOutputs(BaseModel):
    """Of newer vLLM: one of these."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)
    json_: LooseSchema | None = Field(None, alias="json")
    regex: Expression | None = None
    choice: Choices | None = None
    grammar: Expression | None = None
    json_object: Literal[True] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("structured_outputs: give exactly one of json, regex, choice, grammar and json_object")
        return self

    def guide(self, param: str) -> Guide:
        """What it makes an engine write. Raises BadRequest."""
        if self.json_ is not None:
            return Guide.json_schema(self.json_, strict=False, param=param)
        if self.regex is not None:
            return Guide.regex(self.regex, param=param)
        if self.choice is not None:
            return Guide.choice(self.choice, param=param)
        if self.grammar is not None:
            return Guide.grammar(self.grammar, param=param)
        return Guide.json_object()


class GuideParameters(BaseModel):
    """Extensions: what an answer must be, by vLLM's names. One of these at the most."""

    guided_json: LooseSchema | None = None
    guided_regex: Expression | None = None
    guided_choice: Choices | None = None
    guided_grammar: Expression | None = None
    structured_outputs: StructuredOutputs | None = None

    @property
    def guiding(self) -> list[str]:
        """Which of them are given."""
        return [name for name in GuideParameters.model_fields if getattr(self, name) is not None]

    def extension_guide(self, name: str) -> Guide:
        """What one of them makes an engine write. Raises BadRequest."""
        if self.structured_outputs is not None:
            return self.structured_outputs.guide(name)
        given = {name.removeprefix("guided_"): getattr(self, name)}
        return StructuredOutputs.model_validate(given).guide(name)
