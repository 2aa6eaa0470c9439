"""Whose texts are embedded next."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager


class TenantTurns:
    """Tenants that embed at the same time do it by turns: next is who has had least since it began, by its weight.

    A tenant's own callers come one after the other. weights: by tenant; 1 for others.
    """

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        self._weights = {} if weights is None else weights
        self._had: dict[str, float] = {}
        self._changed = asyncio.Condition()
        self._own: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def busy(self) -> bool:
        """Whether some tenant embeds."""
        return bool(self._had)

    @asynccontextmanager
    async def among(self, tenant: str) -> AsyncIterator[None]:
        """The block is one of the tenant's callers; it must call `next` before each piece of its work, and send it at once."""
        async with self._own[tenant]:
            self._had[tenant] = min(self._had.values(), default=0.0)  # who comes later neither saved up nor owes
            try:
                yield
            finally:
                del self._had[tenant]
                async with self._changed:
                    self._changed.notify_all()

    async def next(self, tenant: str, cost: float) -> None:
        """Wait for the tenant's turn, which is charged with the cost."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._had[tenant] <= min(self._had.values()))
            self._had[tenant] += cost / self._weights.get(tenant, 1.0)
            self._changed.notify_all()
