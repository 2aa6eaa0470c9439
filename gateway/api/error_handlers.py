"""How errors look on the paths that FastAPI serves: OpenAI's shape, whatever raised them."""

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Match

from gateway import errors
from gateway.api.multipart import ClientLeft
from gateway.api.replies import JsonReply
from gateway.api.validation import MAX_NAME, complaint

log = logging.getLogger("ragfleet.gateway")

_NOUNS = {"store_id": "vector store", "batch_id": "file batch", "tenant_name": "tenant"}
"""What an id in a path is of, where its name does not say."""


def install(app: FastAPI) -> None:
    """Add them."""

    @app.exception_handler(errors.RagfleetError)
    async def ours(_: Request, error: errors.RagfleetError) -> Response:
        return _reply(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return _reply(_refusal(error))

    @app.exception_handler(HTTPException)
    async def theirs(request: Request, error: HTTPException) -> Response:
        known = {404: f"There is no path {request.url.path}.", 405: f"{request.method} is not allowed here."}
        wrapped = errors.BadRequest(known.get(error.status_code, str(error.detail)), status=error.status_code)
        headers = {"Allow": _methods(request)} if error.status_code == 405 else error.headers
        return JsonReply(errors.body(wrapped), error.status_code, headers)

    @app.exception_handler(ClientLeft)
    async def left(_: Request, error: ClientLeft) -> Response:
        return Response(status_code=499)  # nginx's number; only for our metrics, nobody is there to read it

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        log.error("unforeseen error in %s %s", request.method, request.url.path, exc_info=error)
        return _reply(errors.RagfleetError("An internal error; the gateway's log has the details."))


def _methods(request: Request) -> str:
    """Those of every route of this path; Starlette names the ones of the first."""
    found = [
        method
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]
    return ", ".join(found + ["HEAD"] * ("GET" in found))


def _reply(error: errors.RagfleetError) -> Response:
    if error.detail:
        log.warning("%s", error)
    headers = {name.decode(): value.decode() for name, value in errors.headers(error)}
    return JsonReply(errors.body(error), errors.face(error).status, headers)


def _refusal(error: RequestValidationError) -> errors.RagfleetError:
    """Of parameters; bodies are read by `JsonBody`. What cannot be an id is one that nobody has."""
    every = error.errors()
    for each in every:
        where, name = each["loc"][0], str(each["loc"][-1])[:MAX_NAME]
        if where == "path":
            noun = _NOUNS.get(name, name.removesuffix("_id"))
            return errors.NotFound(f"There is no {noun} '{str(each['input'])[:MAX_NAME]}'.", param=name)
    path = [str(part)[:MAX_NAME] for part in every[0]["loc"][1:]]
    return complaint(every[0]["type"], ".".join(path) if path else None, every[0]["msg"])
