"""Leases, drawn from and filled up by several gateways on one store, whatever happens in whatever order."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.errors import CatalogUnavailable, InsufficientQuota, RagfleetError, RateLimited
from gateway.tenants.budgets import Budget, BudgetCounter, Needs, Period, Resource
from gateway.tenants.leases import LEASE_SHARE, allot, most_in_hand
from gateway.tenants.limits import TenantLimits
from gateway.tenants.quota_client import QuotaClient
from gateway.tenants.quota_store import MemoryQuotaStore
from gateway.tenants.quotas import Quotas, Reservation
from gateway.tenants.tenant import Tenant

BUDGET = Budget(BudgetCounter("tenant/a", Resource.TOKENS, Period.DAY), 1000)


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Store(MemoryQuotaStore):
    """Can be away, can lose its answers, and counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.away = self.loses_answers = False
        self.takes = 0

    async def take(self, *args: object) -> object:  # type: ignore[override]  # handed on as it is
        self.takes += 1
        if self.away:
            raise CatalogUnavailable("away")
        taken = await super().take(*args)  # type: ignore[arg-type]
        if self.loses_answers:
            raise CatalogUnavailable("lost")
        return taken


@settings(deadline=None)
@given(
    cap=st.integers(0, 10_000),
    used=st.integers(0, 10_000),
    in_hand=st.integers(0, 500),
    needs=st.lists(st.integers(0, 2_000), max_size=20),
)
def test_what_is_taken_never_passes_the_cap_and_suffices_for_those_that_fit(
    cap: int, used: int, in_hand: int, needs: list[int]
) -> None:
    used = min(used, cap)
    in_hand = min(in_hand, used)
    budget = Budget(BUDGET.counter, cap)
    taken = allot([{budget: n} for n in needs], {budget: in_hand}, {budget: used})[budget]
    assert 0 <= taken <= cap - used
    hand = in_hand + taken
    for n in needs:
        hand -= n if n <= hand else 0
    assert hand <= max(in_hand, most_in_hand(cap, used)) <= max(in_hand, cap // LEASE_SHARE)


def test_a_need_that_is_refused_by_one_budget_takes_nothing_of_another() -> None:
    other = Budget(BudgetCounter("tenant/a", Resource.REQUESTS, Period.MINUTE), 5)
    needs: Sequence[Needs] = [{BUDGET: 100, other: 1}] * 10
    taken = allot(needs, {}, {BUDGET: 0, other: 4})
    assert taken[other] == 1
    assert taken[BUDGET] <= 100 + BUDGET.cap // LEASE_SHARE


@settings(deadline=None, max_examples=60)
@given(
    caps=st.fixed_dictionaries(
        {},
        optional={
            name: st.integers(1, LEASE_SHARE - 1)
            for name in ("requests_per_minute", "tokens_per_minute", "tokens_per_month", "concurrent_answers")
        },
    ),
    asked=st.lists(st.tuples(st.integers(0, 1), st.integers(1, 6)), max_size=30),
)
def test_a_refusal_names_a_limit_that_is_reached(caps: dict[str, int], asked: list[tuple[int, int]]) -> None:
    """Limits so small that nobody leases more than he needs, so that all is known; two gateways, and nothing ends."""
    store, clock, named = Store(), Clock(), list[str]()
    tenant = Tenant("a", limits=TenantLimits(**caps))
    gateways = [
        Quotas(QuotaClient(store, clock=clock), on_refusal=lambda _, limit: named.append(limit)) for _ in range(2)
    ]
    fields = {
        "tenant requests/minute": "requests_per_minute",
        "tenant tokens/minute": "tokens_per_minute",
        "tenant tokens/month": "tokens_per_month",
        "tenant answers/now": "concurrent_answers",
    }
    used = {name: 0 for name in fields if fields[name] in caps}

    async def ask() -> None:
        for gateway, tokens in asked:
            needs = {name: tokens if "tokens" in name else 1 for name in used}
            over = [name for name, n in needs.items() if used[name] + n > caps[fields[name]]]
            charge = {Resource.REQUESTS: 1, Resource.TOKENS: tokens, Resource.ANSWERS: 1}
            try:
                await gateways[gateway].reserve(tenant, charge)
            except (RateLimited, InsufficientQuota):
                assert named.pop() in over
            else:
                assert not over
                for name, n in needs.items():
                    used[name] += n

    asyncio.run(ask())


class Gateways(RuleBasedStateMachine):
    """Three on one store. What runs, and what was charged, is never more than the limits say."""

    LIMITS = TenantLimits(requests_per_minute=40, tokens_per_day=2_000, concurrent_answers=12)

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock, self.store = Clock(), Store()
        self.tenant = Tenant("a", limits=self.LIMITS)
        self.gateways = [Quotas(QuotaClient(self.store, clock=self.clock)) for _ in range(3)]
        self.running: list[tuple[Reservation, int]] = []
        self.charged = {"requests": 0, "tokens": 0}
        self.period = {"requests": 0, "tokens": 0}

    @rule(gateway=st.integers(0, 2), number=st.integers(1, 30), tokens=st.integers(0, 300))
    def ask(self, gateway: int, number: int, tokens: int) -> None:
        charge = {Resource.REQUESTS: 1, Resource.TOKENS: tokens, Resource.ANSWERS: 1}

        async def flood() -> list[Reservation | BaseException]:
            asked = [self.gateways[gateway].reserve(self.tenant, charge) for _ in range(number)]
            return await asyncio.gather(*asked, return_exceptions=True)

        for answer in self.loop.run_until_complete(flood()):
            if isinstance(answer, Reservation):
                self.running.append((answer, tokens))
            else:
                assert isinstance(answer, RateLimited | InsufficientQuota | CatalogUnavailable), answer

    @rule(share=st.floats(0, 1), which=st.integers(0, 100))
    def end(self, share: float, which: int) -> None:
        if not self.running:
            return
        reserved, tokens = self.running.pop(which % len(self.running))
        used = round(share * tokens)

        async def settle() -> None:
            reserved.settle({Resource.REQUESTS: 1, Resource.TOKENS: used})
            reserved.release()
            await asyncio.sleep(0)

        self.loop.run_until_complete(settle())
        self.charged["requests"] += 1
        self.charged["tokens"] += used

    @rule(which=st.integers(0, 100))
    def refuse_later(self, which: int) -> None:
        if self.running:

            async def release(reserved: Reservation) -> None:
                reserved.release()
                await asyncio.sleep(0)

            self.loop.run_until_complete(release(self.running.pop(which % len(self.running))[0]))

    @rule()
    def beat(self) -> None:
        async def beat() -> None:
            self.clock.now += 0.01
            for each in self.gateways:
                await each.beat()
            await asyncio.sleep(0)

        self.loop.run_until_complete(beat())

    @rule(lost=st.booleans(), away=st.booleans())
    def fault(self, lost: bool, away: bool) -> None:
        self.store.away, self.store.loses_answers = away, lost
        self.clock.now += 1.1  # whoever found it away asks again
        self.beat()

    @invariant()
    def never_more_than_the_limits(self) -> None:
        assert len(self.running) <= 12
        assert len(self.running) + self.charged["requests"] <= 40
        assert sum(tokens for _, tokens in self.running) + self.charged["tokens"] <= 2_000

    def teardown(self) -> None:
        async def end() -> None:
            for reserved, _ in self.running:
                reserved.release()
            for each in self.gateways:
                await each.close()

        self.store.away = self.store.loses_answers = False
        self.clock.now += 1.1
        self.loop.run_until_complete(end())
        assert not any(sum(each.values()) for each in self.store._seats.values())
        self.loop.close()


TestGateways = Gateways.TestCase
TestGateways.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def gateway(store: Store, clock: Clock) -> Callable[..., Quotas]:
    return lambda **more: Quotas(QuotaClient(store, clock=clock), **more)


async def test_a_request_with_a_lease_in_hand_asks_nobody(gateway: Callable[..., Quotas], store: Store) -> None:
    quotas, tenant = gateway(), Tenant("a", limits=TenantLimits(requests_per_minute=10_000))
    for _ in range(200):
        await quotas.reserve(tenant, {Resource.REQUESTS: 1})
    assert store.takes == 1


async def test_a_tenant_without_limits_asks_nobody(gateway: Callable[..., Quotas], store: Store) -> None:
    with await gateway().reserve(Tenant("a"), {Resource.REQUESTS: 1}) as reserved:
        await reserved.resize({Resource.TOKENS: 10**9})
    assert store.takes == 0


@pytest.mark.parametrize(
    ("limits", "charge", "kind", "words"),
    [
        (
            TenantLimits(requests_per_minute=1),
            {Resource.REQUESTS: 1},
            RateLimited,
            "1 requests per minute for the tenant a",
        ),
        (TenantLimits(tokens_per_minute=9), {Resource.TOKENS: 6}, RateLimited, "9 tokens per minute"),
        (TenantLimits(tokens_per_day=9), {Resource.TOKENS: 6}, InsufficientQuota, "renewed on 2023-11-15"),
        (TenantLimits(tokens_per_month=9), {Resource.TOKENS: 6}, InsufficientQuota, "renewed on 2023-12-01"),
        (TenantLimits(concurrent_answers=1), {Resource.ANSWERS: 1}, RateLimited, "1 answers at a time"),
    ],
)
async def test_a_refusal_says_which_limit_and_when_to_come_back(
    gateway: Callable[..., Quotas],
    limits: TenantLimits,
    charge: dict[Resource, int],
    kind: type[RagfleetError],
    words: str,
) -> None:
    quotas, tenant = gateway(), Tenant("a", limits=limits)
    await quotas.reserve(tenant, charge)
    with pytest.raises(kind) as refused:
        await quotas.reserve(tenant, charge)
    assert words in refused.value.message
    assert (refused.value.retry_after_s is not None) == (kind is RateLimited)


async def test_a_request_over_a_limit_by_itself_is_not_to_be_repeated(gateway: Callable[..., Quotas]) -> None:
    with pytest.raises(RateLimited, match="more than the limit") as refused:
        await gateway().reserve(Tenant("a", limits=TenantLimits(tokens_per_minute=9)), {Resource.TOKENS: 10})
    assert refused.value.retry_after_s is None


async def test_while_the_store_is_away_leases_are_used_and_then_the_setting_counts(
    gateway: Callable[..., Quotas], store: Store, clock: Clock
) -> None:
    tenant = Tenant("a", limits=TenantLimits(requests_per_minute=1_000))
    closed, opened = gateway(), gateway(open_without_store=True)
    for each in (closed, opened):
        await each.reserve(tenant, {Resource.REQUESTS: 1})
    store.away = True
    for _ in range(10):
        await closed.reserve(tenant, {Resource.REQUESTS: 1})
    asked = [closed.reserve(tenant, {Resource.REQUESTS: 1}) for _ in range(100)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(answers[-1], CatalogUnavailable)
    for _ in range(1_000):
        await opened.reserve(tenant, {Resource.REQUESTS: 1})
    store.away = False
    clock.now += 2
    await closed.reserve(tenant, {Resource.REQUESTS: 1})


async def test_after_a_failure_a_clock_that_is_put_back_shuts_nobody_out(
    gateway: Callable[..., Quotas], store: Store, clock: Clock
) -> None:
    one, tenant = gateway(), Tenant("a", limits=TenantLimits(concurrent_answers=10))
    store.away = True
    with pytest.raises(CatalogUnavailable):
        await one.reserve(tenant, {Resource.ANSWERS: 1})
    store.away = False
    clock.now -= 3_600
    (await one.reserve(tenant, {Resource.ANSWERS: 1})).release()


@given(st.floats(0, 4e9), st.sampled_from([Period.MINUTE, Period.DAY, Period.MONTH]))
def test_each_moment_is_in_one_period(now: float, period: Period) -> None:
    """Whatever the machine's own time zone does."""
    begin = period.begin(now)
    assert begin <= now < period.end(begin)
    assert period.begin(period.end(begin)) == period.end(begin)
    assert period.begin(begin) == begin
    assert begin % (60 if period is Period.MINUTE else 86_400) == 0


async def test_a_thousand_requests_that_are_cancelled_while_they_wait_hold_nothing(
    gateway: Callable[..., Quotas], store: Store
) -> None:
    quotas, tenant = gateway(), Tenant("a", limits=TenantLimits(concurrent_answers=500, requests_per_minute=100_000))

    async def ask(step: int) -> None:
        with await quotas.reserve(tenant, {Resource.REQUESTS: 1, Resource.ANSWERS: 1}):
            await asyncio.sleep(step % 3)

    tasks = [asyncio.create_task(ask(each)) for each in range(1_000)]
    for step in range(5):
        await asyncio.sleep(0)
        for task in tasks[step::5]:
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await quotas.close()
    assert sum(sum(each.values()) for each in store._seats.values()) == 0
    assert sum(used for _, used in store._used.values()) == 0


async def test_a_reservation_that_grows_is_refused_as_a_whole(gateway: Callable[..., Quotas]) -> None:
    quotas, tenant = gateway(), Tenant("a", limits=TenantLimits(tokens_per_day=100))
    with await quotas.reserve(tenant, {Resource.TOKENS: 60}) as reserved:
        with pytest.raises(InsufficientQuota), await quotas.reserve(tenant, {Resource.TOKENS: 30}) as other:
            await other.resize({Resource.TOKENS: 50})
        await reserved.resize({Resource.TOKENS: 100})
