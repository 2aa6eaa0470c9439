"""The evidence is what its formula says, and never too much of it where there is nothing to find."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rollouts.sequential_test import evidence_above, evidence_below

PROPORTIONS = st.floats(0.01, 0.99)
TRIALS = st.integers(0, 60)


def binomial(hits: int, trials: int, proportion: float) -> float:
    return math.comb(trials, hits) * proportion**hits * (1 - proportion) ** (trials - hits)


@given(PROPORTIONS, TRIALS)
def test_under_the_null_its_mean_is_one(proportion: float, trials: int) -> None:
    mean = sum(
        binomial(hits, trials, proportion) * math.exp(evidence_above(hits, trials, proportion))
        for hits in range(trials + 1)
    )
    assert mean == pytest.approx(1, rel=1e-6)


@given(PROPORTIONS, TRIALS, st.floats(0, 1))
def test_below_the_null_its_mean_is_no_more(proportion: float, trials: int, lower: float) -> None:
    true = proportion * lower
    mean = sum(
        binomial(hits, trials, true) * math.exp(evidence_above(hits, trials, proportion)) for hits in range(trials + 1)
    )
    assert mean <= 1 + 1e-6


@given(PROPORTIONS, TRIALS, st.data())
def test_after_any_counts_the_next_trial_is_expected_to_leave_it(
    proportion: float, trials: int, data: st.DataObject
) -> None:
    """That is what makes it good at any time: a martingale."""
    hits = data.draw(st.integers(0, trials))
    now = evidence_above(hits, trials, proportion)
    hit, miss = (evidence_above(hits + one, trials + 1, proportion) for one in (1, 0))
    assert proportion * math.exp(hit - now) + (1 - proportion) * math.exp(miss - now) == pytest.approx(1, rel=1e-6)


@given(PROPORTIONS, TRIALS, st.data())
def test_below_is_above_seen_from_the_other_side(proportion: float, trials: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, trials))
    assert evidence_below(hits, trials, proportion) == evidence_above(trials - hits, trials, 1 - proportion)


@pytest.mark.parametrize("trials", [10_000, 1_000_000])
def test_large_counts_are_no_trouble(trials: int) -> None:
    assert evidence_above(trials // 50, trials, 0.01) > 10
    assert math.isfinite(evidence_above(0, trials, 0.5))
    assert evidence_below(trials // 200, trials, 0.01) > 10
