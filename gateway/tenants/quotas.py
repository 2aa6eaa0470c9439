"""What tenants and keys may use, over all gateways together: reserved before a request begins, settled when it has ended."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from gateway.tenants.account import Account, Drawn, OnRefusal
from gateway.tenants.budgets import BudgetCounter, Resource, budgets_of, needs_of
from gateway.tenants.quota_client import QuotaClient
from gateway.tenants.tenant import Tenant

BEAT_S = 2.0
"""Between two signs of life, which keep what is held."""
REAP_S = 5.0
"""Between two looks for leases that a dead gateway left."""

Charge = Mapping[Resource, int]


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What a client is told of a limit."""

    limit: int
    remaining: int
    reset_s: float
    """Until it is whole again."""


class Reservation:
    """What a request may use at the most. A context manager: unless it was settled, all is given back at its end, for what was
    refused, or failed before there was anything of it, costs nothing."""

    __slots__ = ("_account", "_drawn", "_tenant")

    def __init__(self, tenant: Tenant, account: Account | None, drawn: Drawn) -> None:
        """account: None where nothing is limited."""
        self._tenant = tenant
        self._account = account
        self._drawn = dict(drawn)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    async def resize(self, charge: Charge) -> None:
        """It will be so much at the most, as is known now. Raises as `Quotas.reserve` does."""
        if self._account is None:
            return
        needs = {each: n for each, n in needs_of(self._tenant, charge).items() if each.counter in self._drawn}
        more = {each: extra for each, n in needs.items() if (extra := n - self._drawn[each.counter][1]) > 0}
        if more:
            for counter, (term, n) in (await self._account.draw(more)).items():
                # Of a period that began meanwhile: what was reserved in the one before stays used there.
                self._drawn[counter] = term, n + (self._drawn[counter][1] if self._drawn[counter][0] == term else 0)
        self._reduce({each.counter.resource: n for each, n in needs.items()})

    def settle(self, charge: Charge) -> None:
        """It was so much; what was taken for the moment is given back at the end."""
        self._reduce(charge)
        for counter in [each for each in self._drawn if each.resource in charge]:
            del self._drawn[counter]

    def release(self) -> None:
        """Give back what was not settled. Idempotent."""
        if self._drawn and self._account is not None:
            drawn, self._drawn = self._drawn, {}
            self._account.put_back(drawn)

    def _reduce(self, charge: Charge) -> None:
        """Give back what is over the charge, and take what is missing, though it be from the next ones."""
        if self._account is None:
            return
        rest: dict[BudgetCounter, tuple[int, int]] = {}
        for counter, (term, n) in self._drawn.items():
            used = charge.get(counter.resource, n)
            if n != used:
                rest[counter] = term, n - used
                self._drawn[counter] = term, used
        if rest:
            self._account.put_back(rest)


class Quotas:
    """One for the life of the application. A tenant without limits costs nothing here, and one with limits no SQL as long as its
    lease lasts."""

    def __init__(
        self,
        client: QuotaClient,
        *,
        open_without_store: bool = False,
        on_refusal: OnRefusal = lambda tenant, limit: None,
    ) -> None:
        """open_without_store: whether requests over the leases in hand are let in, uncounted, while the store is away."""
        self._client = client
        self._on_refusal = on_refusal
        self._open = open_without_store
        self._accounts: dict[str, Account] = {}
        self._reaped_at = float("-inf")

    @property
    def gateway(self) -> str:
        """The id of this one, under which it holds leases."""
        return self._client.gateway

    async def reserve(self, tenant: Tenant, charge: Charge) -> Reservation:
        """Raises RateLimited, InsufficientQuota, and CatalogUnavailable where nobody knows; it costs nothing then."""
        needs = needs_of(tenant, charge)
        if not needs:
            return Reservation(tenant, None, {})
        account = self._account(tenant)
        return Reservation(tenant, account, await account.draw(needs))

    def rate_limit(self, tenant: Tenant, resource: Resource) -> "RateLimit | None":
        """Of the budgets of this resource the one with the least left; None where none is limited."""
        account, now = None, self._client.now()
        found: RateLimit | None = None
        for each in budgets_of(tenant):
            if each.counter.resource is resource:
                account = account or self._account(tenant)
                left = account.left(each)
                if found is None or left < found.remaining:
                    period = each.counter.period
                    found = RateLimit(each.cap, left, period.end(period.begin(now)) - now)
        return found

    async def run(self) -> None:
        """Signs of life, and leases that nobody uses given back, until cancelled."""
        while True:
            await asyncio.sleep(BEAT_S)
            await self.beat()

    async def beat(self) -> None:
        """Once."""
        if self._accounts:
            await self._client.beat()
        for account in self._accounts.values():
            account.tidy()
        if abs((now := self._client.now()) - self._reaped_at) > REAP_S:  # the clock may be put back
            self._reaped_at = now
            await self._client.reap()

    async def close(self) -> None:
        """Give back all leases: no more requests come."""
        await asyncio.gather(*(account.close() for account in self._accounts.values()))

    def _account(self, tenant: Tenant) -> Account:
        account = self._accounts.get(tenant.name)
        if account is None:
            account = Account(tenant.name, self._client, self._on_refusal, open_without_store=self._open)
            self._accounts[tenant.name] = account
        return account
