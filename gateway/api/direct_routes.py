"""The outermost ASGI application: the paths of tokens go straight to their endpoints, the others through FastAPI.

Starlette's stack (error and exception middleware, exit stacks, matching of every route) costs a request about as much as
twenty tokens do, and the frames of its `send` would stand between each token and the server.
"""

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import errors
from gateway.api.cross_origin import CrossOrigin
from gateway.api.middleware import RequestId, keep_raw_send
from gateway.api.rate_limits import RateLimitHeaders
from gateway.api.streaming import send_error
from gateway.api.traced_requests import TracedRequests
from gateway.telemetry import Tracing
from gateway.tenants.quotas import Quotas

log = logging.getLogger("ragfleet.gateway")


class DirectRoutes(FastAPI):
    """FastAPI with paths that it documents and does not serve; see `direct`."""

    def __init__(self, quotas: Quotas, **options: Any) -> None:
        super().__init__(**options)
        self._quotas = quotas
        self._direct: dict[tuple[str, str], ASGIApp] = {}
        self._outermost: ASGIApp = self._dispatch

    def direct(self, method: str, path: str, endpoint: ASGIApp) -> None:
        """Serve a path by a plain ASGI application. It may raise RagfleetError while no response has begun."""
        self._direct[method, path] = RequestId(RateLimitHeaders(_Boundary(endpoint), self._quotas))

    def make_spans(self, tracing: Tracing) -> None:
        """Make a span for each request."""
        self._outermost = TracedRequests(self._outermost, tracing, frozenset(path for _, path in self._direct))

    def allow_origins(self, origins: Sequence[str]) -> None:
        """Let pages of these origins call from a browser (CORS); `*` stands for any."""
        self._outermost = CrossOrigin(self._outermost, origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        keep_raw_send(scope, send)
        await self._outermost(scope, receive, send)

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or give it to FastAPI."""
        endpoint = None
        if scope["type"] == "http":
            endpoint = self._direct.get((scope["method"], scope["path"]))
            if scope["method"] == "HEAD":
                scope = {**scope, "method": "GET"}  # the server leaves out the body by its own scope
        await (super().__call__ if endpoint is None else endpoint)(scope, receive, send)


class _Boundary:
    """The last place where an error of a direct path can become a response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except errors.RagfleetError as error:
            if begun:
                raise
            await send_error(send, error)
        except Exception as error:
            if begun:
                raise  # the server cuts the connection, so that the client cannot take it for a whole answer
            log.error("unforeseen error in %s %s", scope["method"], scope["path"], exc_info=error)
            await send_error(send, errors.RagfleetError("An internal error; the gateway's log has the details."))
