"""The span of each request, as a server has it: plain ASGI middleware, there only where traces are on."""

from opentelemetry.trace import SpanKind, Status, StatusCode
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.telemetry import Tracing, parent_of


class TracedRequests:
    """A span for each request of `/v1`, under the client's own where it names one (W3C trace context)."""

    def __init__(self, app: ASGIApp, tracing: Tracing, paths: frozenset[str]) -> None:
        """paths: those that FastAPI does not see."""
        self._paths = paths
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        theirs = state = b""
        for name, value in scope["headers"]:
            if name == b"traceparent":
                theirs = value
            elif name == b"tracestate":
                state = value
        parent = parent_of(theirs.decode("latin-1"), state.decode("latin-1"))
        method = scope["method"]
        with self._tracing.span(method, kind=SpanKind.SERVER, parent=parent) as span:
            if not span.is_recording():
                await self._app(scope, receive, send)
                return
            span.set_attribute("http.request.method", method)

            async def watched(message: Message) -> None:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    span.set_attribute("http.response.status_code", status)
                    if status >= 500:
                        span.set_status(Status(StatusCode.ERROR))
                await send(message)

            try:
                await self._app(scope, receive, watched)
            finally:
                known, route = scope.get("state", {}), scope.get("route")
                # The template, never the path: ids in it would be as many names.
                path = getattr(route, "path", "") or (scope["path"] if scope["path"] in self._paths else "")
                if path:
                    span.update_name(f"{method} {path}")
                    span.set_attribute("http.route", path)
                span.set_attribute("ragfleet.request_id", known.get("request_id", ""))
                if (tenant := known.get("tenant")) is not None:
                    span.set_attribute("ragfleet.tenant", tenant.name)
