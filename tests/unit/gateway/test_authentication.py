"""Keys become tenants; whoever guesses keys waits."""

import asyncio
from typing import Any

import pytest

from gateway.api import authentication
from gateway.api.authentication import FORGET_S, FREE_FAILURES, LONGEST_S, WAITING, Authenticator
from gateway.errors import Overloaded, Unauthenticated
from gateway.metrics import Metrics
from gateway.tenants.directory import Directory
from gateway.tenants.tenant import Tenant


class Times:
    """A clock and a sleep that takes no time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self.may_wake = asyncio.Event()
        self.may_wake.set()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.may_wake.wait()


@pytest.fixture
def times() -> Times:
    return Times()


@pytest.fixture
def authenticator(times: Times) -> Authenticator:
    directory = Directory({"right": Tenant("acme")})
    return Authenticator(directory, Metrics(), clock=lambda: times.now, sleep=times.sleep)


def scope(address: str = "10.0.0.1", **headers: str) -> dict[str, Any]:
    found = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"headers": found, "client": (address, 1)}


async def wrong(authenticator: Authenticator, address: str = "10.0.0.1") -> None:
    with pytest.raises(Unauthenticated):
        await authenticator.tenant_of(scope(address, authorization="Bearer wrong"))


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer right"},
        {"authorization": "bearer  right "},
        {"api_key": "right"},
        {"authorization": "Basic x", "api_key": "right"},
        {"authorization": "Bearer", "api_key": " right"},
    ],
)
async def test_a_key_comes_in_either_header(authenticator: Authenticator, headers: dict[str, str]) -> None:
    assert (await authenticator.tenant_of(scope(**headers))).name == "acme"


@pytest.mark.parametrize(
    "headers",
    [{}, {"api_key": ""}, {"api_key": "wrong"}, {"authorization": "Bearer wrong", "api_key": "right"}],
)
async def test_without_the_key_nobody_comes_in(authenticator: Authenticator, headers: dict[str, str]) -> None:
    with pytest.raises(Unauthenticated):
        await authenticator.tenant_of(scope(**headers))


async def test_refusals_come_later_and_later_and_a_right_key_never_waits(
    authenticator: Authenticator, times: Times
) -> None:
    for _ in range(FREE_FAILURES):
        await wrong(authenticator)
    assert times.slept == []
    for _ in range(20):
        await wrong(authenticator)
    assert times.slept == sorted(times.slept)
    assert (times.slept[0], times.slept[-1]) == (0.1, LONGEST_S)
    before = len(times.slept)
    await authenticator.tenant_of(scope(authorization="Bearer right"))
    await wrong(authenticator, "10.0.0.2")
    assert len(times.slept) == before, "others do not wait"
    times.now += FORGET_S + 1
    await wrong(authenticator)
    assert len(times.slept) == before, "it is forgotten"


async def test_no_more_than_some_refusals_of_an_address_wait(authenticator: Authenticator, times: Times) -> None:
    for _ in range(FREE_FAILURES):
        await wrong(authenticator)
    times.may_wake.clear()
    waiting = [asyncio.ensure_future(wrong(authenticator)) for _ in range(WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await authenticator.tenant_of(scope(authorization="Bearer wrong"))
    times.may_wake.set()
    await asyncio.gather(*waiting)
    await wrong(authenticator)


async def test_what_is_remembered_is_bounded(
    authenticator: Authenticator, times: Times, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "ADDRESSES", 3)
    for number in range(FREE_FAILURES + 1):
        for address in range(5):
            await wrong(authenticator, f"10.0.{number}.{address}")
    assert len(authenticator._failures) == 3
