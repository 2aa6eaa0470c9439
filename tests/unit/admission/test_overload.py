"""The gate under more than it can serve, in simulated time: what is served, how long it waited, who was refused."""

import heapq
import itertools
import random
from collections import Counter

import pytest

from gateway.admission.admission_state import AdmissionState
from gateway.admission.fair_queue import Entry
from gateway.errors import Overloaded

CAPACITY, SERVICE_S, DEADLINE_S, LIMIT = 20, 1.0, 5.0, 512
PEAK = CAPACITY / SERVICE_S


class Day:
    """Poisson arrivals of some tenants, exponential service, for so many seconds."""

    def __init__(
        self, offered: dict[str, float], seconds: float = 300.0, *, weights: dict[str, float] | None = None
    ) -> None:
        self.now = 0.0
        self.order = itertools.count()
        self.rng = random.Random(7)
        self.events: list[tuple[float, int, str, object]] = []
        self.waits: list[float] = []
        self.served: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.early = 0
        self.most_waiting = 0
        self.came: dict[Entry, float] = {}
        self.gate = AdmissionState(
            limit=LIMIT,
            clock=lambda: self.now,
            on_grant=self.granted,
            on_refuse=lambda entry, _: self.refused.update([entry.tenant]),
            rng=self.rng,
        )
        self.gate.resize(CAPACITY)
        self.weights = weights or {}
        for tenant, rate in offered.items():
            self.after(self.rng.expovariate(rate), "arrival", (tenant, rate))
        while self.events and self.now < seconds:
            self.now, _, kind, what = heapq.heappop(self.events)
            getattr(self, kind)(what)
            self.most_waiting = max(self.most_waiting, self.gate.waiting)

    def after(self, seconds: float, kind: str, what: object) -> None:
        heapq.heappush(self.events, (self.now + seconds, next(self.order), kind, what))

    def arrival(self, what: tuple[str, float]) -> None:
        tenant, rate = what
        self.after(self.rng.expovariate(rate), "arrival", what)
        entry = Entry(tenant, self.weights.get(tenant, 1.0))
        self.came[entry] = self.now
        try:
            self.gate.enter(entry, DEADLINE_S)
        except Overloaded:
            self.refused[tenant] += 1
            self.early += 1
            return
        if entry.granted:
            self.granted(entry)
        else:
            self.after(DEADLINE_S, "deadline", entry)

    def granted(self, entry: Entry) -> None:
        self.waits.append(self.now - self.came.pop(entry))
        self.after(self.rng.expovariate(1 / SERVICE_S), "departure", entry)

    def departure(self, entry: Entry) -> None:
        self.gate.leave(entry)
        self.served[entry.tenant] += 1

    def deadline(self, entry: Entry) -> None:
        if not entry.granted and not entry.over:
            self.gate.expired(entry, DEADLINE_S)
            self.refused[entry.tenant] += 1


@pytest.mark.parametrize("times", [1.5, 5.0, 20.0])
def test_goodput_stays_at_its_peak_and_waits_stay_bounded(times: float) -> None:
    day = Day({"a": times * PEAK})
    assert day.served.total() / 300 > 0.95 * PEAK
    assert max(day.waits) <= DEADLINE_S
    assert day.most_waiting <= LIMIT
    # Most of who cannot be served is told at once instead of after the deadline.
    assert day.early > 0.8 * day.refused.total()


def test_below_capacity_nobody_is_refused() -> None:
    day = Day({"a": 0.4 * PEAK, "b": 0.4 * PEAK})
    assert not day.refused


def test_a_tenant_within_its_share_does_not_feel_anothers_flood() -> None:
    day = Day({"flood": 5 * PEAK, "modest": 0.3 * PEAK})
    assert day.refused["modest"] <= 0.01 * day.served["modest"]
    assert day.served["flood"] / 300 > 0.6 * PEAK


def test_under_contention_the_served_are_shared_by_weight() -> None:
    day = Day({"light": 3 * PEAK, "heavy": 3 * PEAK}, weights={"heavy": 3.0})
    assert day.served["heavy"] / day.served["light"] == pytest.approx(3.0, rel=0.1)
