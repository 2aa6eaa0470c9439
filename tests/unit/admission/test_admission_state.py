"""Places, refusals and how long they say to stay away. The time is in the test's hand."""

import random
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.admission.admission_state import AdmissionState, StartWait
from gateway.admission.fair_queue import Entry, Room
from gateway.errors import Overloaded


class Case:
    """A gate whose clock, grants and refusals the test sees."""

    def __init__(self, capacity: int = 2, limit: int = 4) -> None:
        self.now = 100.0
        self.granted: list[Entry] = []
        self.refused: list[tuple[Entry, Overloaded]] = []
        self.gate = AdmissionState(
            limit=limit,
            clock=lambda: self.now,
            on_grant=self.granted.append,
            on_refuse=lambda entry, error: self.refused.append((entry, error)),
            rng=random.Random(1),
        )
        self.gate.resize(capacity)

    def enter(self, tenant: str = "a", deadline_s: float = 30.0, **kind: float) -> Entry:
        entry = Entry(tenant, **kind)  # type: ignore[arg-type]
        self.gate.enter(entry, deadline_s)
        return entry

    def serve(self, seconds: float, times: int) -> None:
        """Fill all places again and again, each for `seconds`, so that the rate is known."""
        for _ in range(times):
            entries = [self.enter() for _ in range(self.gate.stats().capacity)]
            self.now += seconds
            for entry in entries:
                self.gate.leave(entry)


def test_places_first_then_the_queue() -> None:
    case = Case(capacity=2)
    assert [case.enter().granted for _ in range(4)] == [True, True, False, False]
    assert (case.gate.held, case.gate.waiting) == (2, 2)


def test_the_reserve_is_for_others_than_who_fills_the_rest() -> None:
    case = Case()
    case.gate.resize(4, tenant_limit=3)
    flood = [case.enter("a") for _ in range(5)]
    assert [entry.granted for entry in flood] == [True, True, True, False, False]
    assert case.enter("b").granted, "though others wait"
    waiting = case.enter("b")
    assert not waiting.granted, "there is no place left"
    case.gate.leave(flood[0])
    case.gate.leave(flood[1])
    assert case.granted == [flood[3], waiting], "in turns"
    case.gate.leave(waiting)
    assert flood[4].granted, "a is under its limit again"
    assert not case.enter("a").granted
    case.gate.resize(8)
    assert case.gate.waiting == 0, "without a limit all may be one tenant's"


@pytest.mark.parametrize("tenants", range(1, 6))
def test_however_many_tenants_flood_there_is_a_place_for_the_next(tenants: int) -> None:
    case = Case(capacity=0, limit=10_000)
    case.gate.resize(16, reserve=0.25)
    entries = [case.enter(f"flood-{number % tenants}") for number in range(200)]
    assert case.gate.held == {1: 12}.get(tenants, case.gate.held)
    for _ in range(60):  # answers end, the oldest first
        case.gate.leave(next(entry for entry in entries if entry.granted and not entry.over))
    assert 12 <= case.gate.held < 16, case.gate.stats().held_by_tenant
    assert case.enter("newcomer").granted


def test_a_tenant_without_a_place_gets_the_last_one_and_another_one_waits() -> None:
    case = Case(capacity=0, limit=100)
    case.gate.resize(4, reserve=0.25)
    first = [case.enter("a") for _ in range(4)]
    assert [entry.granted for entry in first] == [True, True, True, False]
    newcomer, waiting = case.enter("b"), case.enter("b")
    assert newcomer.granted
    assert not waiting.granted
    case.gate.leave(newcomer)
    assert waiting.granted
    assert not first[3].granted


def test_a_free_place_goes_to_the_next_in_turn() -> None:
    case = Case(capacity=1)
    first, second, third, fourth = case.enter(), case.enter(), case.enter(), case.enter("b")
    case.gate.leave(first)
    case.gate.leave(first)
    assert case.granted == [second]
    case.gate.leave(second)
    assert case.granted == [second, fourth]  # b's turn comes before a's next
    case.gate.leave(fourth)
    assert case.granted == [second, fourth, third]
    assert case.gate.held == 1


def test_leaving_the_queue() -> None:
    case = Case(capacity=1)
    first, second, third = case.enter(), case.enter(), case.enter()
    case.gate.leave(second)
    case.gate.leave(first)
    assert case.granted == [third]
    case.gate.leave(second)
    assert (case.gate.held, case.gate.waiting) == (1, 0)


def test_more_capacity_lets_in_and_less_throws_nobody_out() -> None:
    case = Case(capacity=0)
    entries = [case.enter() for _ in range(3)]
    assert not case.granted
    case.gate.resize(2)
    assert case.granted == entries[:2]
    case.gate.resize(1)
    assert case.gate.held == 2
    case.gate.leave(entries[0])
    assert case.granted == entries[:2]
    case.gate.leave(entries[1])
    assert case.granted == entries


def test_a_newcomer_does_not_overtake_who_waits() -> None:
    case = Case(capacity=1)
    first, second = case.enter(), case.enter()
    case.gate.resize(0)
    case.gate.leave(first)
    assert not case.enter("b").granted
    case.gate.resize(1)
    assert len(case.granted) == 1
    assert second in case.granted or case.granted[0].tenant == "b"


def test_a_full_queue_is_a_429_with_a_way_out() -> None:
    case = Case(capacity=1, limit=1)
    case.enter()
    case.enter()
    with pytest.raises(Overloaded) as caught:
        case.enter()
    assert caught.value.status == 429
    assert caught.value.retry_after_s is not None
    assert "1 requests are waiting" in caught.value.message


def test_retry_after_follows_the_measured_drain() -> None:
    case = Case(capacity=2, limit=9)
    case.serve(seconds=2.0, times=5)  # two places of 2 s each: one release a second
    for _ in range(11):
        case.enter()
    assert case.gate.stats().drain_per_second == pytest.approx(1.0)
    with pytest.raises(Overloaded) as caught:
        case.enter()
    assert 10 <= caught.value.retry_after_s <= 12.5  # type: ignore[operator]  # nine wait, and this one


def test_retry_after_of_who_would_wait_too_long_is_until_the_queue_has_drained() -> None:
    case = Case(capacity=2, limit=100)
    case.serve(seconds=2.0, times=5)  # one release a second
    for _ in range(11):
        case.enter()
    with pytest.raises(Overloaded) as caught:
        case.gate.enter(Entry("a"), deadline_s=8.0)
    assert caught.value.status == 429
    assert "about 10 s, more than the 8 s allowed" in caught.value.message
    assert 10 <= caught.value.retry_after_s <= 12.5  # type: ignore[operator]


def test_a_quiet_fleet_is_not_taken_for_a_slow_one() -> None:
    case = Case(capacity=100, limit=1000)
    for _ in range(5):
        entry = case.enter()
        case.now += 1.0
        case.gate.leave(entry)
        case.now += 1.0
    assert case.gate.stats().drain_per_second == pytest.approx(100.0)


def test_the_rate_forgets() -> None:
    case = Case(capacity=1)
    case.serve(seconds=1.0, times=5)
    assert case.gate.stats().drain_per_second == pytest.approx(1.0)
    case.now += 100
    assert case.gate.stats().drain_per_second is None
    assert case.gate.stats().admitted == 5


def test_a_stuck_fleet_slows_the_estimate_down_before_anything_is_released() -> None:
    case = Case(capacity=1)
    case.serve(seconds=1.0, times=2)
    case.enter()
    case.now += 6
    rate = case.gate.stats().drain_per_second
    assert rate is not None
    assert rate < 0.5


def test_waiting_in_vain_is_refused_at_once() -> None:
    case = Case(capacity=1, limit=100)
    case.serve(seconds=2.0, times=4)
    case.enter()
    for _ in range(5):
        case.enter(deadline_s=10)
    with pytest.raises(Overloaded, match="more than the 10 s allowed") as caught:
        case.enter(deadline_s=10)
    assert caught.value.status == 429
    assert not case.enter("b", deadline_s=10).granted  # its own share comes soon enough


def test_without_capacity_it_is_a_503() -> None:
    case = Case(capacity=0, limit=1)
    waiting = case.enter()
    with pytest.raises(Overloaded) as caught:
        case.enter()
    assert caught.value.status == 503
    expired = case.gate.expired(waiting, 3.0)
    assert (expired.status, expired.message) == (503, "No instance became ready within 3 s.")
    assert case.gate.waiting == 0


def test_an_expired_wait_is_a_429() -> None:
    case = Case(capacity=1)
    case.enter()
    error = case.gate.expired(case.enter(), 3.0)
    assert (error.status, error.message) == (429, "No place became free within 3 s.")
    assert (case.gate.held, case.gate.waiting) == (1, 0)


def test_a_flood_makes_room_for_another_tenant() -> None:
    case = Case(capacity=1, limit=2)
    case.enter()
    _, newest = case.enter(), case.enter()
    case.enter("b")
    ((evicted, error),) = case.refused
    assert evicted is newest
    assert error.status == 429
    case.gate.leave(newest)
    assert case.gate.waiting == 2


def test_closing_refuses_new_and_waiting_with_the_reason_but_keeps_the_held() -> None:
    case = Case(capacity=1)
    held, waiting = case.enter(), case.enter()
    case.gate.close("shutting down")
    assert [entry for entry, _ in case.refused] == [waiting]
    with pytest.raises(Overloaded, match="shutting down") as caught:
        case.enter()
    assert (caught.value.status, caught.value.code) == (503, "draining")
    assert case.gate.held == 1
    case.gate.leave(held)
    assert (case.gate.held, case.gate.waiting, case.granted) == (0, 0, [])


@pytest.mark.parametrize("kind", [{"weight": 0.0}, {"weight": -1.0}, {"cost": 0.0}])
def test_nonsense_is_refused_in_words(kind: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Case().enter(**kind)


def test_stats_by_tenant() -> None:
    case = Case(capacity=2)
    case.enter("a")
    case.enter("b")
    case.enter("b")
    stats = case.gate.stats()
    assert (stats.held_by_tenant, stats.waiting_by_tenant) == ({"a": 1, "b": 1}, {"b": 1})
    assert (stats.capacity, stats.held, stats.waiting, stats.admitted, stats.refused) == (2, 2, 1, 2, 0)


def refusal(act: Callable[[], None]) -> Overloaded | None:
    try:
        act()
    except Overloaded as error:
        return error
    return None


class Machine(RuleBasedStateMachine):
    """Any order of arrivals, departures and resizes against a plain model."""

    def __init__(self) -> None:
        super().__init__()
        self.case = Case(capacity=2, limit=5)
        self.capacity = 2
        self.alive: list[Entry] = []
        self.arrived: dict[tuple[str, int], list[Entry]] = {}
        self.seen = 0

    @rule(
        tenant=st.sampled_from("abc"),
        weight=st.sampled_from([0.5, 1.0, 4.0]),
        priority=st.integers(0, 2),
        cost=st.sampled_from([1.0, 100.0]),
        deadline_s=st.sampled_from([0.01, 5.0, 1000.0]),
    )
    def enter(self, tenant: str, weight: float, priority: int, cost: float, deadline_s: float) -> None:
        entry = Entry(tenant, weight, priority, cost)
        free = self.case.gate.held < self.capacity
        waiting = self.case.gate.waiting
        error = refusal(lambda: self.case.gate.enter(entry, deadline_s))
        if error is not None:
            assert not free or waiting
            assert 1 <= (error.retry_after_s or 0) <= 75
            return
        assert entry.granted == free
        self.alive.append(entry)
        if not entry.granted:
            self.arrived.setdefault((tenant, priority), []).append(entry)

    @precondition(lambda self: self.alive)
    @rule(data=st.data(), twice=st.booleans())
    def leave(self, data: st.DataObject, twice: bool) -> None:
        entry = data.draw(st.sampled_from(self.alive))
        self.case.gate.leave(entry)
        if twice:
            self.case.gate.leave(entry)

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.alive))
        if not entry.granted:
            self.case.gate.expired(entry, 1.0)

    @rule(capacity=st.integers(0, 4))
    def resize(self, capacity: int) -> None:
        self.capacity = capacity
        self.case.gate.resize(capacity)

    @rule(seconds=st.floats(0.001, 20))
    def wait(self, seconds: float) -> None:
        self.case.now += seconds

    @invariant()
    def nothing_leaks(self) -> None:
        self.alive = [e for e in self.alive if not e.over]
        held = [e for e in self.alive if e.granted]
        waiting = [e for e in self.alive if not e.granted]
        stats = self.case.gate.stats()
        assert (stats.held, stats.waiting) == (len(held), len(waiting))
        assert sum(stats.held_by_tenant.values()) == len(held)
        assert sum(stats.waiting_by_tenant.values()) == len(waiting)
        assert len(waiting) <= 5
        assert all(count > 0 for count in stats.held_by_tenant.values())

    @invariant()
    def no_place_is_idle_while_somebody_waits(self) -> None:
        assert not (self.case.gate.waiting and self.case.gate.held < self.capacity)

    @invariant()
    def grants_never_exceed_the_capacity_of_their_moment(self) -> None:
        new, self.seen = len(self.case.granted) - self.seen, len(self.case.granted)
        if new:
            assert self.case.gate.held <= self.capacity

    @invariant()
    def first_come_first_served_within_a_tenant(self) -> None:
        for line in self.arrived.values():
            open_ = [e.granted for e in line if not e.over or e.granted]
            assert open_ == sorted(open_, reverse=True)

    def teardown(self) -> None:
        self.case.gate.resize(100)
        for entry in self.alive:
            assert entry.over or entry.granted  # with room for all, nobody is forgotten
            self.case.gate.leave(entry)
        assert (self.case.gate.held, self.case.gate.waiting) == (0, 0)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)


def test_while_there_is_no_place_at_all_less_may_wait_and_longer() -> None:
    refused: list[Entry] = []
    gate = AdmissionState(
        limit=100,
        clock=lambda: 0.0,
        on_grant=lambda entry: None,
        on_refuse=lambda entry, error: refused.append(entry),
        start=StartWait(120.0, Room(2, 1000)),
    )
    assert gate.patience(30.0) == 120.0
    waiting = [Entry("a"), Entry("a")]
    for entry in waiting:
        gate.enter(entry, 120.0)
    with pytest.raises(Overloaded) as error:
        gate.enter(Entry("a"), 120.0)
    assert (error.value.status, error.value.retry_after_s is not None) == (503, True)
    gate.enter(Entry("b"), 120.0)
    assert refused == [waiting[1]]
    assert gate.expired(waiting[0], 120.0).status == 503
    gate.resize(1)
    assert gate.patience(30.0) == 30.0
    for _ in range(50):
        gate.enter(Entry("a"), 30.0)
    assert gate.waiting == 50
