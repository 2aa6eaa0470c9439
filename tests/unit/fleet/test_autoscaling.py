"""Forecasts of demand, and instances by it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fleet.autoscaling import Autoscaler, AutoscalingOptions, DemandForecast

OPTIONS = AutoscalingOptions()


def forecast(rates: list[float], period_s: float = 5.0) -> DemandForecast:
    made, arrivals = DemandForecast(OPTIONS), 0.0
    made.observe(0.0, 0.0)
    for at, rate in enumerate(rates, 1):
        arrivals += rate * period_s
        made.observe(at * period_s, arrivals)
    return made


def test_without_traffic_nothing_is_needed() -> None:
    assert DemandForecast(OPTIONS).demand(stay_s=4, waiting=0) == 0
    assert forecast([0.0] * 50).demand(stay_s=4, waiting=0) == 0


@given(st.floats(0.1, 100), st.floats(0.1, 30))
def test_of_steady_traffic_it_is_littles_law_and_its_root(rate: float, stay_s: float) -> None:
    steady = rate * stay_s
    expected = steady + OPTIONS.deviations * steady**0.5
    assert forecast([rate] * 100).demand(stay_s=stay_s, waiting=0) == pytest.approx(expected, rel=0.02)


def test_what_grows_is_met_where_it_will_be() -> None:
    growing = [step * 0.1 for step in range(120)]  # requests a second, 0.02 more each second
    then = growing[-1] + 0.02 * OPTIONS.start_s
    steady = then * 4
    assert forecast(growing).demand(stay_s=4, waiting=0) == pytest.approx(steady + steady**0.5, rel=0.15)


def test_what_waits_is_to_be_gone_when_help_is_there() -> None:
    quiet = forecast([1.0] * 50)
    more = quiet.demand(stay_s=4, waiting=90) - quiet.demand(stay_s=4, waiting=0)
    assert more == pytest.approx(90 * 4 / OPTIONS.start_s)


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=50), st.integers(1, 5), st.integers(0, 5))
def test_it_stays_within_its_bounds(demands: list[float], least: int, more: int) -> None:
    scaler = Autoscaler(OPTIONS, least=least, most=least + more)
    for at, demand in enumerate(demands):
        assert least <= scaler.instances(at * 5.0, demand, 16) <= least + more


def test_up_at_once_and_down_when_less_was_needed_for_long_enough() -> None:
    scaler = Autoscaler(OPTIONS, least=1, most=9)
    slots = 10 / OPTIONS.fill
    assert scaler.instances(0, 5, slots) == 1
    assert scaler.instances(5, 35, slots) == 4
    assert scaler.instances(5 + OPTIONS.hold_s, 5, slots) == 4
    assert scaler.instances(6 + OPTIONS.hold_s, 5, slots) == 1


def test_any_demand_at_all_keeps_one_and_none_lets_it_rest() -> None:
    scaler = Autoscaler(OPTIONS, least=0, most=3)
    scaler.begin(0, 2)
    assert scaler.instances(5, 0, 16) == 2
    assert scaler.instances(6 + OPTIONS.hold_s, 1e-300, 16) == 1
    assert scaler.instances(7 + OPTIONS.hold_s, 50, 0) == 1
    assert scaler.instances(8 + 2 * OPTIONS.hold_s, 0, 0) == 0
