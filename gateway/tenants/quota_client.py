"""One gateway's way to the store of all: each step has a deadline, and after a failure the store is left alone for a moment."""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from gateway.errors import CatalogUnavailable
from gateway.tenants.budgets import Budget, BudgetCounter, Needs
from gateway.tenants.leases import HeldBudget, Taken
from gateway.tenants.quota_store import LEASES_LIVE_S, REAP_AFTER_S, SEATS_LIVE_S, QuotaStore

log = logging.getLogger("ragfleet.tenants")

T = TypeVar("T")

STEP_S = 5.0
"""For one step of the store: as long as the database itself waits for a lock. A busy machine is slow, and not away: a step that
is given up costs it a connection, which makes the next one slower."""
AWAY_S = 1.0
"""After a failure, for which the store is not asked again."""


class QuotaClient:
    """Knows which gateway this is. What it answers with None has failed, or was not tried: its outcome is unknown."""

    def __init__(
        self,
        store: QuotaStore,
        *,
        clock: Callable[[], float] = time.time,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        """clock: Unix seconds. on_failure: told of each step that failed."""
        self._store = store
        self._on_failure = on_failure
        self.now = clock
        self.gateway = secrets.token_hex(8)
        """Of this process: one that starts anew holds nothing."""
        self._away_until = self._beaten_at = float("-inf")
        self._life = 0
        self._lapsed = False

    @property
    def is_away(self) -> bool:
        """The store failed a moment ago; where the clock was put back since, that is over, too."""
        return 0 < self._away_until - self.now() <= 2 * AWAY_S

    @property
    def is_late(self) -> bool:
        """The store may have taken this gateway for dead, and given others what it holds for the moment."""
        return self.now() - self._beaten_at > SEATS_LIVE_S

    @property
    def life(self) -> int:
        """Another number once the store may have given others what was leased before."""
        if not self._lapsed and self.now() - self._beaten_at > LEASES_LIVE_S:
            self._lapsed = True
            self._life += 1
        return self._life

    async def take(self, needs: Sequence[Needs], held: Mapping[Budget, HeldBudget]) -> Mapping[Budget, Taken] | None:
        """See QuotaStore."""
        now = self.now()
        taken = await self._step(lambda: self._store.take(self.gateway, needs, held, now))
        if taken is not None:
            self._heard(now)
        return taken

    async def give_back(self, returned: Mapping[BudgetCounter, HeldBudget]) -> bool:
        """See QuotaStore."""
        return await self._step(lambda: _done(self._store.give_back(self.gateway, returned))) is not None

    async def beat(self) -> None:
        """See QuotaStore."""
        now, _ = self.now(), self.life  # a sign of life that comes too late begins another one
        if await self._step(lambda: _done(self._store.beat(self.gateway, now))) is not None:
            self._heard(now)

    async def reap(self) -> None:
        """See QuotaStore."""
        dead_before = self.now() - REAP_AFTER_S
        if left := await self._step(lambda: self._store.reap(dead_before)):
            log.warning("%d leases of gateways that are gone were given back, but for what the ledger says", left)

    def _heard(self, now: float) -> None:
        self._beaten_at = now
        self._lapsed = False

    async def _step(self, step: Callable[[], Awaitable[T]]) -> T | None:
        if self.is_away:
            return None
        try:
            async with asyncio.timeout(STEP_S):
                return await step()
        except (CatalogUnavailable, TimeoutError) as error:
            log.warning("the store of the quotas does not answer: %s", error or "deadline")
            self._on_failure()
            self._away_until = self.now() + AWAY_S
            return None


async def _done(step: Awaitable[None]) -> bool:
    await step
    return True
