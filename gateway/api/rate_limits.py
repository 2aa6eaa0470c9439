"""OpenAI's `x-ratelimit-*` headers on what a tenant with limits gets from the inference routes: answers, streams and errors."""

import math
from collections.abc import Container

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.tenants.budgets import Resource
from gateway.tenants.quotas import Quotas
from gateway.tenants.tenant import Tenant

HEADERS = tuple(
    f"x-ratelimit-{what}-{unit}" for unit in ("requests", "tokens") for what in ("limit", "remaining", "reset")
)
EMBEDDINGS = "/v1/embeddings"


class RateLimitHeaders:
    """ASGI middleware. The endpoint beneath it leaves the tenant in the scope's state, where it has found one."""

    def __init__(self, app: ASGIApp, quotas: Quotas, paths: Container[str] | None = None) -> None:
        """paths: that it is for; None: all."""
        self._app = app
        self._quotas = quotas
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._paths is not None and (scope["type"] != "http" or scope["path"] not in self._paths):
            await self._app(scope, receive, send)
            return

        async def with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                tenant: Tenant | None = scope.get("state", {}).get("tenant")
                if tenant is not None:
                    message["headers"] = [*message.get("headers", ()), *self._headers(tenant, scope["path"])]
            await send(message)

        await self._app(scope, receive, with_limits)

    def _headers(self, tenant: Tenant, path: str) -> list[tuple[bytes, bytes]]:
        tokens = Resource.EMBEDDING_TOKENS if path == EMBEDDINGS else Resource.TOKENS
        found = []
        for unit, resource in (("requests", Resource.REQUESTS), ("tokens", tokens)):
            limit = self._quotas.rate_limit(tenant, resource)
            if limit is not None:
                told = {"limit": str(limit.limit), "remaining": str(limit.remaining), "reset": duration(limit.reset_s)}
                found += [(f"x-ratelimit-{what}-{unit}".encode(), value.encode()) for what, value in told.items()]
        return found


def duration(seconds: float) -> str:
    """As OpenAI writes one: `6m0s`, `1s`, `120ms`."""
    if seconds < 1:
        return f"{max(0, math.ceil(seconds * 1000))}ms"
    whole = math.ceil(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
