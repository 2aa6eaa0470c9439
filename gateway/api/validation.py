"""From a JSON object to a request by its schema, with errors that name the field at fault.

A parameter that would change the answer and that we do not implement is refused by name, never ignored; values
that change nothing (nulls, defaults, bookkeeping fields) are accepted.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    WithJsonSchema,
)

from gateway.errors import BadRequest, NotFound

M = TypeVar("M", bound=BaseModel)

Harmless = Mapping[str, tuple[Any, ...]]
"""Parameters that are not implemented → their values that mean "off"."""

MAX_NAME = 128
"""Characters of a client's own word that an error repeats."""

# Pydantic's path names the arm of a union, too ("content.str"); clients know only fields and indices.
_LENGTH = re.compile(r"^Value( should have at (?:least|most) \d+) items? after validation, not \w+$")
"""Pydantic's word for the length of a string behind a validator of ours."""
_ARM = re.compile(r"(str|int|float|bool|is-instance|[A-Z]\w*|.*[\[\]].*|[a-z]+(-[a-z]+)+)")


_FIELD = re.compile(r"([A-Za-z_][\w.-]{0,200}): ")
"""Before what a validator of ours says of one field of several."""


def without_nulls(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What is set: a null is what clients send for a parameter that is not."""
    return {name: value for name, value in raw.items() if value is not None}


def refuse_unsupported(raw: dict[str, Any], harmless: Harmless) -> None:
    """Take the parameters that are not implemented out of `raw`. Raises BadRequest for one that asks for something."""
    for name in harmless.keys() & raw.keys():
        value = raw.pop(name)
        if isinstance(value, dict):
            value = without_nulls(value)
        if not any(type(value) is type(ok) and value == ok for ok in harmless[name]):
            raise BadRequest(f"'{name}' is not supported; leave it out.", param=name, code="unsupported_parameter")


def read(model: type[M], raw: Mapping[str, Any]) -> M:
    """The request in a JSON object. Raises BadRequest whose `param` names the field."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise explain(error) from None


def explain(error: ValidationError) -> BadRequest:
    """Pydantic's complaint as ours, about the first field that is wrong."""
    every = error.errors(include_url=False, include_context=False, include_input=False)
    # Of a union each arm complains; the one that got furthest is the one that was meant.
    first = max((e for e in every if e["loc"][:1] == every[0]["loc"][:1]), key=lambda e: len(e["loc"]))
    path = [str(p)[:MAX_NAME] for p in first["loc"] if isinstance(p, int) or not _ARM.fullmatch(p)]
    return complaint(first["type"], ".".join(path) if path else None, first["msg"])


def complaint(kind: str, param: str | None, message: str) -> BadRequest:
    """About one field. kind, message: Pydantic's."""
    if kind == "extra_forbidden":
        return BadRequest(f"Unknown parameter: '{param}'.", param=param, code="unknown_parameter")
    if kind == "missing":
        return BadRequest(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
    message = _LENGTH.sub(r"String\1 characters", message.removeprefix("Value error, "))
    if kind == "value_error" and (field := _FIELD.match(message)):
        message = message[field.end() :]
        if param is None:
            param = field[1]
        elif param.rpartition(".")[2] != field[1]:
            param = f"{param}.{field[1]}"
    return BadRequest(f"Invalid value for '{param}': {message}.", param=param, code="invalid_value")


@contextmanager
def naming_files(param: str) -> Iterator[None]:
    """The 404 of a file names the parameter that it stands in; the catalog knows each as `file_id`."""
    try:
        yield
    except NotFound as error:
        if error.param == "file_id":
            error.param = param
        raise


def _storable(value: str) -> str:
    if "\0" in value:
        raise ValueError("a NUL character cannot be stored")
    return value


def _whole(value: Any) -> Any:
    if isinstance(value, int | float) and abs(value) >= 2**63:
        raise ValueError("it has more than 64 bits")
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
"""Behind the bounds of a whole number: it may be written as 1.0, which to JSON is the same."""


TokenId = Annotated[
    float,  # which takes 7.0 for 7, as JSON does, and neither "7" nor true
    Field(ge=0, lt=2**31, multiple_of=1),
    WithJsonSchema({"type": "integer", "minimum": 0, "exclusiveMaximum": 2**31}),
]
"""Of a list with hundreds of thousands of them, so without a function of Python's for each."""


def texts_or_ids(given: str | Sequence[str | float | Sequence[float]]) -> list[str | list[int]]:
    """Each text, or prompt of token ids, by itself: of one text, one list of ids, or a list of either."""
    if isinstance(given, str):
        return [given]
    if ids := [int(each) for each in given if isinstance(each, float)]:
        return [ids]
    return [list(map(int, each)) if isinstance(each, list) else str(each) for each in given]


def _shape(value: Any) -> str:
    if not isinstance(value, list):
        return "str"
    first = value[0] if value else ""
    if isinstance(first, list):
        return "list[list[int]]"
    return "list[int]" if isinstance(first, int | float) else "list[str]"


def _list_or_not(value: Any) -> str:
    return "list[str]" if isinstance(value, list) else "str"


def items(least: int, most: int) -> Any:
    """The bounds of a list. Its first wrong item ends the reading: a client can send hundreds of thousands of them."""
    return Field(min_length=least, max_length=most, fail_fast=True)


# Unions whose arm is chosen by what the value looks like, so that only the arm that was meant is read and complains.
ONE, MANY = Tag("str"), Tag("list[str]")
ONE_OR_MANY = Discriminator(_list_or_not)
"""Of `Annotated[…, ONE] | Annotated[list[…], MANY]`."""
TOKENS, TOKEN_LISTS = Tag("list[int]"), Tag("list[list[int]]")
TEXT_OR_TOKENS = Discriminator(_shape)
"""The same with token ids, one list or several."""

Words = Annotated[str, AfterValidator(_storable), Field(json_schema_extra={"pattern": r"^[^\x00]*$"})]
"""A string that a database takes: PostgreSQL's text has no NUL."""
Metadata = Annotated[
    dict[Annotated[Words, Field(max_length=64)], Annotated[Words, Field(max_length=512)]],
    Field(max_length=16, json_schema_extra={"additionalProperties": False}),  # keys that are no Words
]
"""What a client notes beside what is stored; OpenAI's bounds."""
