"""Limits over several gateways, each with a connection of its own to one database."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from sqlalchemy import event

from gateway.errors import InsufficientQuota, RateLimited
from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.database import Database
from gateway.knowledge.catalog.sql_quota_store import SqlQuotaStore
from gateway.knowledge.catalog.types import NewMember, PageQuery
from gateway.tenants.budgets import Resource
from gateway.tenants.key import Key
from gateway.tenants.limits import TenantLimits
from gateway.tenants.quota_client import QuotaClient
from gateway.tenants.quota_store import SEATS_LIVE_S
from gateway.tenants.quotas import Quotas, Reservation
from gateway.tenants.tenant import Tenant
from tests.contract.catalog.conftest import PATIENCE_S, Clock

Gateways = Callable[[int], list[Quotas]]


@pytest.fixture
async def gateways(url: str, clock: Clock) -> AsyncIterator[Gateways]:
    """So many, on one database."""
    async with AsyncExitStack() as stack:

        def make(number: int) -> list[Quotas]:
            made = []
            for _ in range(number):
                database = Database(url, clock=clock, timeout_s=PATIENCE_S)
                stack.push_async_callback(database.close)
                quotas = Quotas(QuotaClient(SqlQuotaStore(database), clock=clock))
                stack.push_async_callback(quotas.close)
                made.append(quotas)
            return made

        yield make


async def flood(gateways: list[Quotas], tenant: Tenant, number: int, charge: dict[Resource, int]) -> list[Reservation]:
    """What was let in of so many requests at once, spread over the gateways."""
    asked = [gateways[each % len(gateways)].reserve(tenant, charge) for each in range(number)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    refused = [each for each in answers if isinstance(each, RateLimited | InsufficientQuota)]
    let_in = [each for each in answers if isinstance(each, Reservation)]
    assert len(refused) + len(let_in) == number, answers
    return let_in


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize(
    ("limits", "charge"),
    [
        (TenantLimits(requests_per_minute=50), {Resource.REQUESTS: 1}),
        (TenantLimits(concurrent_answers=50), {Resource.ANSWERS: 1}),
        (TenantLimits(tokens_per_day=5_000), {Resource.TOKENS: 100}),
        (TenantLimits(requests_per_minute=60, tokens_per_month=5_000), {Resource.REQUESTS: 1, Resource.TOKENS: 100}),
    ],
    ids=lambda each: "-".join(str(getattr(key, "value", key)) for key in each) if isinstance(each, dict) else "",
)
async def test_of_two_hundred_requests_at_once_exactly_as_many_are_let_in_as_the_limit_says(
    gateways: Gateways, number: int, limits: TenantLimits, charge: dict[Resource, int]
) -> None:
    assert len(await flood(gateways(number), Tenant("a", limits=limits), 200, charge)) == 50


async def test_the_limit_of_a_key_holds_beside_that_of_its_tenant(gateways: Gateways) -> None:
    tenant = Tenant("a", limits=TenantLimits(requests_per_minute=30))
    of_key = [replace(tenant, key=Key(each, limits=TenantLimits(requests_per_minute=20))) for each in ("one", "two")]
    three = gateways(3)
    assert len(await flood(three, of_key[0], 60, {Resource.REQUESTS: 1})) == 20
    assert len(await flood(three, of_key[1], 60, {Resource.REQUESTS: 1})) == 10


async def test_what_was_not_used_is_the_other_gateways(gateways: Gateways, clock: Clock) -> None:
    one, two = gateways(2)
    tenant = Tenant("a", limits=TenantLimits(tokens_per_day=1_000))
    with await one.reserve(tenant, {Resource.TOKENS: 1_000}) as reserved:
        with pytest.raises(InsufficientQuota):
            await two.reserve(tenant, {Resource.TOKENS: 1})
        reserved.settle({Resource.TOKENS: 100})
    await one.close()
    assert len(await flood([two], tenant, 20, {Resource.TOKENS: 100})) == 9


async def test_a_period_that_begins_has_its_own_budget(gateways: Gateways, clock: Clock) -> None:
    one, two = gateways(2)
    tenant = Tenant("a", limits=TenantLimits(requests_per_minute=10, tokens_per_day=100))
    charge = {Resource.REQUESTS: 1, Resource.TOKENS: 6}
    assert len(await flood([one, two], tenant, 20, charge)) == 10
    clock.now += 60
    assert len(await flood([one, two], tenant, 20, charge)) == 6  # of the day 40 are left
    clock.now += 86_400
    assert len(await flood([two], tenant, 20, charge)) == 10


async def test_seats_of_a_gateway_that_is_gone_are_free_again(gateways: Gateways, clock: Clock) -> None:
    dead, alive = gateways(2)
    tenant = Tenant("a", limits=TenantLimits(concurrent_answers=8))
    held = await flood([dead], tenant, 5, {Resource.ANSWERS: 1})
    assert len(await flood([alive], tenant, 9, {Resource.ANSWERS: 1})) == 3
    clock.now += SEATS_LIVE_S + 0.1
    assert len(await flood([alive], tenant, 9, {Resource.ANSWERS: 1})) == 5
    for each in held:
        each.release()


async def test_seats_are_kept_by_a_gateway_that_beats(gateways: Gateways, clock: Clock) -> None:
    busy, other = gateways(2)
    tenant = Tenant("a", limits=TenantLimits(concurrent_answers=8))
    held = await flood([busy], tenant, 8, {Resource.ANSWERS: 1})
    for _ in range(5):
        clock.now += 2
        await busy.beat()
        assert not await flood([other], tenant, 1, {Resource.ANSWERS: 1})
    for each in held:
        each.release()
    await busy.close()
    assert len(await flood([other], tenant, 9, {Resource.ANSWERS: 1})) == 8


async def test_with_a_lease_in_hand_a_request_asks_no_database(gateways: Gateways, url: str, clock: Clock) -> None:
    limits = TenantLimits(requests_per_minute=10_000, tokens_per_month=1_000_000, concurrent_answers=400)
    tenant = Tenant("a", limits=limits, key=Key(id="k", limits=TenantLimits(tokens_per_day=1_000_000)))
    charge = {Resource.REQUESTS: 1, Resource.ANSWERS: 1, Resource.TOKENS: 100}
    database = Database(url, clock=clock, timeout_s=PATIENCE_S)
    quotas = Quotas(QuotaClient(SqlQuotaStore(database), clock=clock))
    statements: list[str] = []
    event.listen(database._engine.sync_engine, "before_cursor_execute", lambda *args: statements.append(str(args[2])))
    try:
        (await quotas.reserve(tenant, charge)).release()
        assert statements
        statements.clear()
        for _ in range(100):
            with await quotas.reserve(tenant, charge) as reserved:
                await reserved.resize({Resource.TOKENS: 110})
                reserved.settle({Resource.REQUESTS: 1, Resource.TOKENS: 60})
            quotas.rate_limit(tenant, Resource.TOKENS)
        assert not statements
    finally:
        await quotas.close()
        await database.close()


async def test_of_files_that_come_together_as_many_are_kept_as_may_be(catalog: Catalog) -> None:
    """By number, and by bytes."""
    for name, limits in (("few", TenantLimits(documents=3)), ("small", TenantLimits(stored_bytes=30))):
        files = catalog.of(Tenant(name, limits=limits)).files
        added = [
            files.add(file_id=f"file-{name}{each}", filename="x", purpose="assistants", size=10, sha256="0")
            for each in range(8)
        ]
        answers = await asyncio.gather(*added, return_exceptions=True)
        assert sum(isinstance(each, InsufficientQuota) for each in answers) == 5, answers
        assert len((await files.page(PageQuery(limit=10))).items) == 3
        await files.delete((await files.page(PageQuery(limit=1))).items[0].id)
        await files.add(file_id=f"file-{name}-more", filename="x", purpose="assistants", size=10, sha256="0")


async def test_files_that_wait_to_be_read_are_bounded_over_all_stores(catalog: Catalog) -> None:
    own = catalog.of(Tenant("a", limits=TenantLimits(pending_ingestions=3)))
    stores = [(await own.stores.create(name="x")).id for _ in range(8)]
    for each in range(8):
        await own.files.add(file_id=f"file-{each}", filename="x", purpose="assistants", size=1, sha256="0")
    attached = [own.members.attach(store, [NewMember(file_id=f"file-{at}")]) for at, store in enumerate(stores)]
    answers = await asyncio.gather(*attached, return_exceptions=True)
    refused = [each for each in answers if isinstance(each, BaseException)]
    assert len(refused) == 5
    assert all(isinstance(each, RateLimited) and each.retry_after_s for each in refused), refused
