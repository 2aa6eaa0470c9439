"""What a killed gateway had leased is the others' again, but for what its ledger says; the limits are never passed."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Never

import pytest

from gateway.errors import CatalogUnavailable, InsufficientQuota, RateLimited
from gateway.knowledge.catalog.database import Database
from gateway.knowledge.catalog.sql_ledger import SqlLedger
from gateway.knowledge.catalog.sql_quota_store import SqlQuotaStore
from gateway.tenants.budgets import Resource
from gateway.tenants.ledger import LedgerEntry
from gateway.tenants.limits import TenantLimits
from gateway.tenants.quota_client import AWAY_S, QuotaClient
from gateway.tenants.quota_store import LEASES_LIVE_S, REAP_AFTER_S, MemoryQuotaStore
from gateway.tenants.quotas import Quotas, Reservation
from gateway.tenants.tenant import Tenant
from tests.contract.catalog.conftest import PATIENCE_S, Clock

CAPS = {"requests": 60, "tokens": 5_000}
TENANT = Tenant("a", limits=TenantLimits(requests_per_minute=CAPS["requests"], tokens_per_month=CAPS["tokens"]))


@dataclass(eq=False)
class Running:
    """A request that was let in, and its row."""

    reserved: Reservation
    entry: LedgerEntry


@dataclass(eq=False)
class Gateway:
    """One, until it is killed."""

    quotas: Quotas
    ledger: SqlLedger
    running: list[Running] = field(default_factory=list)

    async def ask(self, tokens: int, now: float) -> bool:
        try:
            reserved = await self.quotas.reserve(TENANT, {Resource.REQUESTS: 1, Resource.TOKENS: tokens})
        except (RateLimited, InsufficientQuota):
            return False
        entry = LedgerEntry.of(TENANT, request_id="r", route="chat", model="m", reserved=tokens)
        entry.created_at = now
        self.running.append(Running(reserved, entry))
        return True

    async def write(self, entry: LedgerEntry) -> None:
        await self.ledger.write(self.quotas.gateway, [entry], alive_at=None)

    async def end(self, each: Running, used: int) -> None:
        self.running.remove(each)
        each.entry.prompt, each.entry.outcome = used, "completed"
        await self.write(each.entry)
        each.reserved.settle({Resource.REQUESTS: 1, Resource.TOKENS: used})


@pytest.fixture
async def gateway(url: str, clock: Clock) -> AsyncIterator[Callable[[], Gateway]]:
    """A new one on the database."""
    async with AsyncExitStack() as stack:

        def make() -> Gateway:
            database = Database(url, clock=clock, timeout_s=PATIENCE_S)
            stack.push_async_callback(database.close)
            return Gateway(Quotas(QuotaClient(SqlQuotaStore(database), clock=clock)), SqlLedger(database))

        yield make


class Away(MemoryQuotaStore):
    """Does not answer."""

    async def take(self, *args: object) -> Never:
        raise CatalogUnavailable("away")


async def passed(seconds: int, gateway: Gateway, clock: Clock) -> None:
    """A gateway has lived for so long."""
    for _ in range(seconds // 2):
        clock.now += 2
        await gateway.quotas.beat()


async def let_in(gateway: Gateway, tokens: int, clock: Clock) -> int:
    """How many requests of so many tokens there still is room for."""
    count = 0
    while await gateway.ask(tokens, clock.now):
        count += 1
    return count


async def test_of_a_dead_gateway_only_what_its_requests_used_stays_used(
    gateway: Callable[[], Gateway], clock: Clock
) -> None:
    dead, alive = gateway(), gateway()
    assert await dead.ask(1_000, clock.now)
    await dead.end(dead.running[0], 700)
    assert await dead.ask(2_000, clock.now)
    dead.running[0].entry.completion = 64  # its last checkpoint
    await dead.write(dead.running[0].entry)
    assert await dead.ask(1_000, clock.now)  # waits for a place, so nobody has heard of it
    assert await let_in(alive, 100, clock) < 13
    for each in alive.running:
        each.reserved.release()
    await passed(100, alive, clock)  # of requests there is another minute
    assert await let_in(alive, 1, clock) == CAPS["requests"]
    for each in list(alive.running):
        await alive.end(each, 1)
    await passed(60, alive, clock)
    assert await let_in(alive, CAPS["tokens"] - 764 - CAPS["requests"], clock) == 1
    assert await let_in(alive, 1, clock) == 0


async def test_a_gateway_that_was_only_slow_uses_nothing_of_what_others_have_by_then(
    gateway: Callable[[], Gateway], clock: Clock
) -> None:
    slow, alive = gateway(), gateway()
    assert await slow.ask(10, clock.now)  # and it has a lease in hand
    assert await slow.ask(1_000, clock.now)
    await slow.write(slow.running[1].entry)
    await passed(40, alive, clock)
    assert await let_in(alive, 100, clock) == 50
    await slow.quotas.beat()
    slow.running[1].reserved.release()  # what it gives back is not its own any more
    await slow.quotas.beat()
    assert await let_in(slow, 1, clock) == 0
    await passed(40, alive, clock)
    assert await let_in(alive, 1, clock) == 0


async def test_leases_are_used_while_the_store_is_away_but_not_for_ever(
    gateway: Callable[[], Gateway], clock: Clock
) -> None:
    one = gateway()
    assert await one.ask(10, clock.now)
    client = one.quotas._client
    store, client._store = client._store, Away()
    assert await one.ask(10, clock.now)
    clock.now += LEASES_LIVE_S + 1
    with pytest.raises(CatalogUnavailable):
        await one.ask(10, clock.now)
    client._store = store
    clock.now += AWAY_S
    assert await one.ask(10, clock.now)


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_dies_in_whatever_order_nothing_is_used_beyond_the_limits(
    gateway: Callable[[], Gateway], clock: Clock, seed: int
) -> None:
    """Of a request that ran at a gateway which died counts what its last checkpoint says."""
    rng = random.Random(seed)
    gateways = [gateway() for _ in range(3)]
    ended = {"requests": 0, "tokens": 0}
    minute = clock.now // 60
    for _ in range(120):
        one = rng.choice(gateways)
        match rng.choices(("ask", "checkpoint", "end", "refuse", "beat", "kill", "wait"), (8, 4, 6, 2, 6, 1, 1))[0]:
            case "ask":
                if await one.ask(rng.randint(1, 400), clock.now):
                    await one.write(one.running[-1].entry)
            case "checkpoint" if one.running:
                each = rng.choice(one.running)
                each.entry.prompt = rng.randint(each.entry.prompt, each.entry.reserved)
                await one.write(each.entry)
            case "end" if one.running:
                each = rng.choice(one.running)
                used = rng.randint(each.entry.prompt, each.entry.reserved)
                await one.end(each, used)
                ended["requests"] += each.entry.created_at // 60 == clock.now // 60
                ended["tokens"] += used
            case "refuse" if one.running:
                each = one.running.pop(rng.randrange(len(one.running)))
                each.entry.prompt, each.entry.outcome = 0, "failed"
                await one.write(each.entry)
                each.reserved.release()
            case "beat":
                clock.now += rng.random()
                for each_gateway in gateways:
                    await each_gateway.quotas.beat()
            case "kill":
                gateways.remove(one)
                gateways.append(gateway())
                ended["requests"] += sum(each.entry.created_at // 60 == clock.now // 60 for each in one.running)
                ended["tokens"] += sum(each.entry.prompt for each in one.running)
            case "wait":
                for _ in range(rng.randint(1, 20)):
                    clock.now += 2
                    for each_gateway in gateways:
                        await each_gateway.quotas.beat()
        if clock.now // 60 != minute:
            minute, ended["requests"] = clock.now // 60, 0
        running = [each.entry for each_gateway in gateways for each in each_gateway.running]
        now_running = sum(entry.created_at // 60 == minute for entry in running)
        assert ended["requests"] + now_running <= CAPS["requests"]
        assert ended["tokens"] + sum(entry.reserved for entry in running) <= CAPS["tokens"]
    for each_gateway in gateways:
        for each in list(each_gateway.running):
            await each_gateway.end(each, each.entry.prompt)
            ended["tokens"] += each.entry.prompt
        await each_gateway.quotas.close()
    clock.now += REAP_AFTER_S
    last = gateway()
    await passed(40, last, clock)
    left = CAPS["tokens"] - ended["tokens"]
    assert left == 0 or await last.ask(left, clock.now), left
    assert not await last.ask(1, clock.now)
