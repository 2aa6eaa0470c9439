"""Who sends a body fast enough is waited for, and nobody else."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.api.http_protocol import HttpLimits, ReadRate
from gateway.config import Settings

LIMITS = HttpLimits.of(Settings(body_min_bytes_s=1000, body_grace_s=10.0), 1000)
seconds = st.floats(0.01, 5)


@given(st.lists(seconds, max_size=50), st.floats(1.0, 100))
def test_who_keeps_to_the_rate_is_never_cut_off(pauses: list[float], factor: float) -> None:
    rate, now = ReadRate(LIMITS, 0.0), 0.0
    for pause in pauses:
        now += pause
        rate.received += int(pause * 1000 * factor) + 1
        assert not rate.too_slow(now, reading=True)


@given(st.integers(0, 10**9))
def test_who_stops_is_cut_off_after_the_grace_whatever_came_before(burst: int) -> None:
    rate = ReadRate(LIMITS, 0.0)
    rate.received = burst
    assert not rate.too_slow(1.0, reading=True)
    assert not rate.too_slow(9.5, reading=True)
    assert rate.too_slow(11.5, reading=True)


@given(st.floats(0.0, 0.9))
def test_who_is_always_slower_than_the_rate_is_cut_off(factor: float) -> None:
    rate, now = ReadRate(LIMITS, 0.0), 0.0
    while now < 200:
        now += 1
        rate.received += int(1000 * factor)
        if rate.too_slow(now, reading=True):
            return
    raise AssertionError("it is still waited for")


def test_while_we_do_not_read_no_time_passes() -> None:
    rate = ReadRate(LIMITS, 0.0)
    assert not any(rate.too_slow(float(now), reading=False) for now in range(1000))
    assert not rate.too_slow(1009.0, reading=True)


def test_connections_follow_from_the_descriptors() -> None:
    assert (LIMITS.max_connections, LIMITS.max_connections_per_address) == (800, 400)
    assert HttpLimits.of(Settings(max_connections=7), 1000).max_connections == 7
