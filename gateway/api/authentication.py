"""Who is asking: the key of a request becomes a tenant. Guessing keys is counted, and slow."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from starlette.types import Scope

from gateway.errors import CatalogUnavailable, Overloaded, Unauthenticated
from gateway.metrics import Metrics
from gateway.tenants.api_key import id_of
from gateway.tenants.directory import Directory, shown_key
from gateway.tenants.oidc import TokenVerifier
from gateway.tenants.tenant import Tenant

FREE_FAILURES = 5
"""Of an address, that are answered at once."""
FORGET_S = 60.0
"""After so long without another failure an address is forgotten."""
LONGEST_S = 0.8
"""A refusal waits at the longest."""
WAITING = 8
"""Refusals that wait, of one address. More are refused as too many."""
ADDRESSES = 4096
"""That are remembered; the ones that failed longest ago go first."""


class Authenticator:
    """Finds tenants, and lets an address that sends wrong keys wait for its refusals. A right key never waits.

    fresh: waits until the directory has what the catalog has now; a key may have been issued a moment ago.
    tokens: of an identity provider, which are let in beside keys.
    """

    def __init__(
        self,
        directory: Directory,
        metrics: Metrics,
        *,
        fresh: Callable[[], Awaitable[None]] | None = None,
        tokens: TokenVerifier | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._directory = directory
        self._metrics = metrics
        self._fresh = fresh
        self._tokens = tokens
        self._clock = clock
        self._sleep = sleep
        self._failures: OrderedDict[str, _WrongKeys] = OrderedDict()

    async def tenant_of(self, scope: Scope) -> Tenant:
        """By `Authorization: Bearer KEY`, or by `api-key: KEY`. Raises Unauthenticated, PermissionDenied, Overloaded, and
        CatalogUnavailable where only the catalog could tell."""
        authorization = api_key = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value.decode("latin-1")
            elif name == b"api-key":
                api_key = value.decode("latin-1")
        try:
            return await self._authenticate(authorization, api_key)
        except Unauthenticated:
            self._metrics.authentication_failures.inc()
            await self._pause(scope["client"][0] if scope.get("client") else "")
            raise

    async def _authenticate(self, authorization: str | None, api_key: str | None) -> Tenant:
        shown = shown_key(authorization, api_key)
        tokens = self._tokens if self._tokens is not None and self._tokens.recognizes(shown) else None

        async def find() -> Tenant:
            if tokens is not None:
                return await tokens.tenant_of(shown)
            return self._directory.authenticate(authorization, api_key)

        try:
            return await find()
        except (Unauthenticated, CatalogUnavailable):
            if self._fresh is None or (tokens is None and id_of(shown) is None):
                raise
        await self._fresh()
        return await find()

    async def _pause(self, address: str) -> None:
        now = self._clock()
        known = self._failures.pop(address, None)
        if known is None or now - known.last_at > FORGET_S:
            known = _WrongKeys()
        self._failures[address] = known
        if len(self._failures) > ADDRESSES:
            self._failures.popitem(last=False)
        known.count, known.last_at = known.count + 1, now
        if known.count <= FREE_FAILURES:
            return
        if known.waiting >= WAITING:
            raise Overloaded("Too many wrong API keys came from this address.", retry_after_s=LONGEST_S)
        known.waiting += 1
        try:
            await self._sleep(min(LONGEST_S, 0.05 * 2.0 ** min(known.count - FREE_FAILURES, 10)))
        finally:
            known.waiting -= 1


class _WrongKeys:
    """Of one address."""

    __slots__ = ("count", "last_at", "waiting")

    def __init__(self) -> None:
        self.count = 0
        self.last_at = 0.0
        self.waiting = 0
