"""Requests that change the catalog: each in one transaction, and once for each `Idempotency-Key` that a client sends.

An error leaves nothing behind, neither a change nor the key: the client may send the key again, and mend its request before.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

import orjson
from fastapi import Depends, Header, Request

from gateway.api.dependencies import CatalogDep
from gateway.api.replies import JsonReply
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.knowledge.catalog.types import MAX_KEY, StoredReply

REPLAYED = "idempotent-replayed"
"""The header of an answer that was given before (Stripe's name)."""


class IdempotentRequest:
    """Does the work of one request."""

    def __init__(self, catalog: TenantCatalog, key: str | None, line: bytes) -> None:
        """key: the client's, where it sent one. line: method and path."""
        self._catalog = catalog
        self._key = key
        self._line = line

    async def __call__(
        self, request: Mapping[str, Any], work: Callable[[TenantCatalog], Awaitable[JsonReply]]
    ) -> JsonReply:
        """What `work` answers, or what it answered to this key before.

        request: what makes this request the same as another one on its path, in values of JSON. work: gets the catalog, whose
        calls are one transaction with the key; it waits for nothing else. Raises Conflict as `IdempotencyKeys.claim` does.
        """
        async with self._catalog.transaction() as catalog:
            if self._key is None:
                return await work(catalog)
            if (before := await catalog.keys.claim(self._key, self._hash(request))) is not None:
                await _still_shown(catalog, before)
                return JsonReply(orjson.Fragment(before.body), before.status, {**before.headers, REPLAYED: "true"})
            reply = await work(catalog)
            await catalog.keys.keep(self._key, StoredReply(reply.status_code, bytes(reply.body).decode(), reply.extra))
            return reply

    def _hash(self, request: Mapping[str, Any]) -> str:
        """SHA-256 of the method, the path and the request, however its fields are ordered."""
        return hashlib.sha256(self._line + orjson.dumps(request, option=orjson.OPT_SORT_KEYS)).hexdigest()


async def _still_shown(catalog: TenantCatalog, before: StoredReply) -> None:
    """Raises NotFound for an answer about a file that a key with groups does not see (any more)."""
    told = orjson.loads(before.body)
    if catalog.restricted and told["object"] in ("file", "vector_store.file"):
        await catalog.files.get(told["id"])


async def _idempotent_request(
    request: Request,
    catalog: CatalogDep,
    idempotency_key: Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=MAX_KEY)] = None,
) -> IdempotentRequest:
    return IdempotentRequest(catalog, idempotency_key, f"{request.method} {request.url.path}\n".encode())


IdempotentDep = Annotated[IdempotentRequest, Depends(_idempotent_request)]
