"""The running quantile after which a context call is hedged."""

import random

import pytest

from gateway.dispatch.hedging import LatencyQuantile


def estimate(latency: LatencyQuantile) -> float:
    return latency.hedge_after_s / 2


@pytest.mark.parametrize("initial_s", [0.1, 2.0, 30.0])
def test_it_finds_the_quantile_from_wherever_it_starts(initial_s: float) -> None:
    rng = random.Random(1)
    latency = LatencyQuantile(initial_s=initial_s)
    for _ in range(5000):
        latency.record(rng.uniform(0, 10))
    tail = []
    for _ in range(2000):
        latency.record(rng.uniform(0, 10))
        tail.append(estimate(latency))
    assert 8.8 < sum(tail) / len(tail) < 10.0  # the 95th percentile is 9.5


def test_it_follows_a_change_of_speed() -> None:
    latency = LatencyQuantile(initial_s=0.1)
    for _ in range(100):
        latency.record(3.0)
    assert estimate(latency) > 2.9


def test_it_never_falls_under_its_floor() -> None:
    latency = LatencyQuantile(initial_s=1.0, floor_s=0.05)
    for _ in range(5000):
        latency.record(0.001)
    assert estimate(latency) == 0.05
