"""Requests that change the catalog: each in one transaction, and once for each `Idempotency-Key` that a client sends.

An error leaves nothing behind, neither a change nor the key: the client may send the key again, and mend its request before.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from gateway.api.json_routes import Call, Reply
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.knowledge.catalog.types import StoredReply
from gateway.tenants.tenant import Tenant

REPLAYED = "idempotent-replayed"
"""The header of an answer that was given before (Stripe's name)."""


class IdempotentRequests:
    """Does the work of requests."""

    def __init__(self, catalog: Callable[[Tenant], TenantCatalog]) -> None:
        self._catalog = catalog

    async def __call__(
        self, call: Call, request: Mapping[str, Any], work: Callable[[TenantCatalog], Awaitable[Reply]]
    ) -> Reply:
        """What `work` answers, or what it answered to this key before.

        request: what makes this request the same as another one on its path, in values of JSON. work: gets the catalog, whose
        calls are one transaction with the key; it waits for nothing else. Raises Conflict as `IdempotencyKeys.claim` does.
        """
        key = call.request.headers.get("idempotency-key")
        async with self._catalog(call.tenant).transaction() as catalog:
            if key is None:
                return await work(catalog)
            if (before := await catalog.keys.claim(key, _hash(call, request))) is not None:
                return Reply(orjson.loads(before.body), {**before.headers, REPLAYED: "true"}, before.status)
            reply = await work(catalog)
            answer = StoredReply(reply.status, orjson.dumps(reply.body).decode(), reply.headers)
            await catalog.keys.keep(key, answer)
            return reply


def _hash(call: Call, request: Mapping[str, Any]) -> str:
    """SHA-256 of the method, the path and the request, however its fields are ordered."""
    line = f"{call.request.method} {call.request.url.path}\n".encode()
    return hashlib.sha256(line + orjson.dumps(request, option=orjson.OPT_SORT_KEYS)).hexdigest()
