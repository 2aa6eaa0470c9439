"""From a body to a request: JSON, then a schema, with errors that name the field at fault.

A parameter that would change the answer and that we do not implement is refused by name, never ignored; values
that change nothing (nulls, defaults, bookkeeping fields) are accepted.
"""

import re
from collections.abc import Mapping, Set
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import AfterValidator, BaseModel, ValidationError

from gateway.errors import BadRequest

M = TypeVar("M", bound=BaseModel)

Harmless = Mapping[str, tuple[Any, ...]]
"""Parameters that are not implemented → their values that mean "off"."""

# Pydantic's path names the arm of a union, too ("content.str"); clients know only fields and indices.
_ARM = re.compile(r"(str|int|float|bool|is-instance|[A-Z]\w*|.*[\[\]].*|[a-z]+(-[a-z]+)+)")


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body. Raises BadRequest."""
    try:
        raw = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The body is not valid JSON: {error}") from None
    if not isinstance(raw, dict):
        raise BadRequest("The body must be a JSON object.")
    return raw


def without_nulls(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What is set: a null is what clients send for a parameter that is not."""
    return {name: value for name, value in raw.items() if value is not None}


def refuse_unsupported(raw: dict[str, Any], harmless: Harmless, ignored: Set[str] = frozenset()) -> None:
    """Take the parameters that are not implemented out of `raw`. Raises BadRequest for one that asks for something."""
    for name in ignored & raw.keys():
        del raw[name]
    for name in harmless.keys() & raw.keys():
        value = raw.pop(name)
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
    path = [str(p) for p in first["loc"] if isinstance(p, int) or not _ARM.fullmatch(p)]
    param = ".".join(path) or None
    if first["type"] == "extra_forbidden":
        return BadRequest(f"Unknown parameter: '{param}'.", param=param, code="unknown_parameter")
    if first["type"] == "missing":
        return BadRequest(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
    message = first["msg"].removeprefix("Value error, ")
    if param is None and ":" in message:
        param = message.partition(":")[0]
    return BadRequest(f"Invalid value for '{param}': {message}.", param=param, code="invalid_value")


def _storable(value: str) -> str:
    if "\0" in value:
        raise ValueError("a NUL character cannot be stored")
    return value


Words = Annotated[str, AfterValidator(_storable)]
"""A string that a database takes: PostgreSQL's text has no NUL."""
