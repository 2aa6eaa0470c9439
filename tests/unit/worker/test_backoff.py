"""How long the worker waits before it starts a dying Triton again."""

from hypothesis import given
from hypothesis import strategies as st

from worker.backoff import Backoff


def test_waits_double_up_to_the_longest() -> None:
    backoff = Backoff(first=0.5, longest=4.0)
    assert [backoff.failed(now) for now in range(5)] == [0.5, 1.0, 2.0, 4.0, 4.0]


def test_a_long_run_starts_over() -> None:
    backoff = Backoff(first=0.5, longest=30.0, settled=60.0)
    for _ in range(4):
        backoff.started(0.0)
        backoff.failed(1.0)
    backoff.started(100.0)
    assert backoff.failed(160.0) == 0.5


def test_a_short_run_does_not() -> None:
    backoff = Backoff(first=0.5, settled=60.0)
    backoff.failed(0.0)
    backoff.started(1.0)
    assert backoff.failed(60.9) == 1.0


@given(st.integers(0, 5000))
def test_never_longer_than_the_longest_however_often_it_failed(failures: int) -> None:
    assert Backoff(longest=30.0, failures=failures).failed(0.0) <= 30.0
