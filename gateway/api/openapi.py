"""What the OpenAPI document says of paths whose bodies FastAPI neither reads nor writes by itself."""

from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, TypeAdapter
from typing_extensions import TypedDict

ErrorType = Literal["invalid_request_error", "server_error"]


class ErrorDetail(TypedDict):
    """What went wrong. `param` names the field at fault, `code` is a short machine-readable word."""

    message: str
    type: ErrorType
    param: str | None
    code: str | None


class ErrorBody(TypedDict):
    """The body of every refusal and failure."""

    error: ErrorDetail


def documented(reply: Any, *refusals: int, body: type[BaseModel] | None = None) -> dict[str, Any]:
    """Keyword arguments for a router's method.

    reply: the type of the body of a 200, or OpenAPI's own words for it.
    refusals: statuses that come besides 400 (which is also what is no HTTP), 401, 403, 429 and 503.
    body: what the request's looks like; the handler reads it by `JsonBody`, and 413, 415 come with it.
    """
    statuses = {400, 401, 403, 429, 503, *refusals, *((413, 415) if body is not None else ())}
    described: dict[str, Any] = {
        "response_model": None,
        "responses": {
            200: reply if isinstance(reply, dict) else {"model": reply},
            **{status: {"model": ErrorBody, "description": HTTPStatus(status).phrase} for status in sorted(statuses)},
        },
    }
    if body is not None:
        described["openapi_extra"] = {"requestBody": json_body(body)}
    return described


@cache
def json_or_events(answer: Any) -> dict[str, Any]:
    """OpenAPI's words for a reply of this type, which comes in events where the request asks for that."""
    schema = TypeAdapter(answer).json_schema()
    return {
        "description": "As JSON, or with `stream` as server-sent events",
        "content": {
            "application/json": {"schema": _inlined(schema, schema.pop("$defs", {}))},
            "text/event-stream": {"schema": {"type": "string"}},
        },
    }


def header(name: str, description: str, **schema: Any) -> dict[str, Any]:
    """OpenAPI's words for a header that a client may send."""
    told = {"type": "string", **schema}
    return {"name": name, "in": "header", "required": False, "description": description, "schema": told}


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """A request body."""
    schema = model.model_json_schema()
    schema = _inlined(schema, schema.pop("$defs", {}))
    schema["additionalProperties"] = {"type": "null"}
    required = bool(schema.get("required") or schema.get("oneOf") or schema.get("anyOf"))
    return {"required": required, "content": {"application/json": {"schema": schema}}}


def describe(app: FastAPI) -> None:
    """Leave out of the document what FastAPI would answer to a parameter that is wrong: here it is a 400, or a 404 for an id."""
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generated()
            for operation in (each for path in document["paths"].values() for each in path.values()):
                operation["responses"].pop("422", None)
            for name in ("HTTPValidationError", "ValidationError"):
                document["components"]["schemas"].pop(name, None)
        return generated()

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's manual has it


def _inlined(part: Any, definitions: Mapping[str, Any]) -> Any:
    """A schema with its definitions in place of the references to them; none of ours refers to itself."""
    if isinstance(part, list):
        return [_inlined(each, definitions) for each in part]
    if not isinstance(part, dict):
        return part
    if isinstance(reference := part.get("$ref"), str):
        return _inlined(definitions[reference.rpartition("/")[2]], definitions)
    return {name: _inlined(each, definitions) for name, each in part.items()}
