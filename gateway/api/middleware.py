"""Plain ASGI middleware: a request id on every answer, a count of the answers, lists in queries.

Not Starlette's BaseHTTPMiddleware: it copies every chunk of a stream through a queue.
"""

import os
import re
import time
from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.log_format import CURRENT_REQUEST
from gateway.metrics import Metrics

_LIST = re.compile(rb"((?:^|&)\w+)(?:\[\]|%5[Bb]%5[Dd])=")
REQUEST_ID = re.compile(rb"[A-Za-z0-9_.:\-]{1,128}")


class RequestId:
    """Takes the client's X-Request-Id where it is a sane word, makes one otherwise, and sends it back, with the milliseconds from
    the request to the head of its answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        request_id = given if REQUEST_ID.fullmatch(given) else f"req-{os.urandom(16).hex()}".encode()
        scope.setdefault("state", {})["request_id"] = request_id.decode()
        CURRENT_REQUEST.set(request_id.decode())  # the server has a context for each request

        started = time.monotonic()

        async def with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                took = b"%d" % round((time.monotonic() - started) * 1000)
                _headers(message).extend([(b"x-request-id", request_id), (b"openai-processing-ms", took)])
            await send(message)

        await self._app(scope, receive, with_id)


class ListParameters:
    """Takes `include[]=a`, as OpenAI's clients write lists in a query, for `include=a`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = scope.get("query_string", b"")
        if b"[]=" in query or b"%5B%5D=" in query or b"%5b%5d=" in query:
            scope["query_string"] = _LIST.sub(rb"\1=", query)
        await self._app(scope, receive, send)


class RequestCounter:
    """Counts the answers of `/v1`, refusals included, by route, tenant and status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        status = 500

        async def with_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, with_status)
        finally:
            route, tenant = scope.get("route"), scope.get("state", {}).get("tenant")
            names = getattr(route, "name", ""), getattr(tenant, "name", "")
            self._metrics.requests.labels(names[0], "", names[1], str(status)).inc()


def keep_raw_send(scope: Scope, send: Send) -> None:
    """Keep the server's own `send`, before any middleware puts something around it. The token path sends thousands of body
    messages: they take it (see `raw_send`)."""
    scope["ragfleet.send"] = send


def raw_send(scope: Scope, send: Send) -> Send:
    """The server's `send` beneath the middleware, for body chunks, which no middleware changes."""
    found: Send = scope.get("ragfleet.send", send)
    return found


def _headers(message: MutableMapping[str, Any]) -> list[tuple[bytes, bytes]]:
    headers = list(message.get("headers", []))
    message["headers"] = headers
    return headers
