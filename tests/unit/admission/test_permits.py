"""Permits over asyncio: waiting, deadlines, clients that leave, and shutdown."""

import asyncio
import gc
import random
from collections import Counter

import pytest

from gateway.admission import Admission, Permit
from gateway.errors import Overloaded


class Fleet:
    """A capacity that the test changes."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.read = 0

    def __call__(self) -> int:
        self.read += 1
        return self.places


def admission(places: int = 1, **overrides: object) -> tuple[Admission, Fleet]:
    fleet = Fleet(places)
    return Admission(fleet, **overrides), fleet  # type: ignore[arg-type]


async def take(gate: Admission, tenant: str = "a", deadline_s: float = 10.0, **kind: float) -> Permit:
    return await gate.acquire(tenant, deadline_s=deadline_s, **kind)  # type: ignore[arg-type]


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_permit_is_a_place_until_released() -> None:
    gate, _ = admission(2)
    first, second = await take(gate), await take(gate, "b")
    assert (gate.held, first.tenant) == (2, "a")
    first.release()
    first.release()
    assert gate.held == 1
    with second as same:
        assert same is second
    assert gate.held == 0


async def test_a_context_manager_releases_on_errors() -> None:
    gate, _ = admission()
    with pytest.raises(LookupError), await take(gate):
        raise LookupError
    assert gate.held == 0


async def test_a_waiter_gets_the_place_that_becomes_free() -> None:
    gate, _ = admission()
    first = await take(gate)
    waiting = asyncio.create_task(take(gate, "b"))
    await settled()
    assert (gate.waiting, waiting.done()) == (1, False)
    first.release()
    with await waiting as permit:
        assert permit.tenant == "b"
        assert permit.waited_s >= 0
    assert (gate.held, gate.waiting) == (0, 0)


async def test_the_deadline_ends_the_wait() -> None:
    gate, _ = admission()
    with await take(gate):
        with pytest.raises(Overloaded) as caught:
            await take(gate, deadline_s=0.01)
        assert caught.value.status == 429
        assert (gate.held, gate.waiting) == (1, 0)


async def test_nothing_to_serve_is_a_503_after_the_deadline() -> None:
    gate, _ = admission(0)
    with pytest.raises(Overloaded) as caught:
        await take(gate, deadline_s=0.01)
    assert caught.value.status == 503


async def test_a_client_that_leaves_while_waiting_leaks_nothing() -> None:
    gate, _ = admission()
    first = await take(gate)
    waiting = [asyncio.create_task(take(gate)) for _ in range(3)]
    await settled()
    waiting[0].cancel()
    await asyncio.gather(waiting[0], return_exceptions=True)
    assert gate.waiting == 2
    first.release()
    with await waiting[1]:
        assert gate.held == 1
    (await waiting[2]).release()
    assert (gate.held, gate.waiting) == (0, 0)


async def test_a_client_that_leaves_in_the_moment_of_the_grant_leaks_nothing() -> None:
    gate, _ = admission()
    first = await take(gate)
    leaving, next_one = asyncio.create_task(take(gate)), asyncio.create_task(take(gate))
    await settled()
    first.release()  # grants `leaving`, which has not run yet
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    with await next_one:
        assert gate.held == 1
    assert gate.held == 0


async def test_a_refusal_that_meets_a_cancellation_is_quiet() -> None:
    gate, _ = admission()
    with await take(gate):
        leaving = asyncio.create_task(take(gate))
        await settled()
        gate.drain()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        del leaving
        gc.collect()
    assert (gate.held, gate.waiting) == (0, 0)


async def test_new_capacity_wakes_waiters_when_told() -> None:
    gate, fleet = admission(0, recheck_s=1000.0)
    waiting = [asyncio.create_task(take(gate)) for _ in range(2)]
    await settled()
    fleet.places = 2
    gate.refresh()
    for permit in await asyncio.gather(*waiting):
        permit.release()


async def test_new_capacity_is_found_without_being_told() -> None:
    gate, fleet = admission(0, recheck_s=0.005)
    waiting = asyncio.create_task(take(gate))
    await settled()
    fleet.places = 1
    (await waiting).release()


async def test_capacity_is_not_read_for_each_request() -> None:
    now = 0.0
    gate, fleet = admission(10, clock=lambda: now, recheck_s=0.1)
    for _ in range(50):
        (await take(gate)).release()
    assert fleet.read == 1
    now = 0.2
    (await take(gate)).release()
    assert fleet.read == 2


async def test_nothing_runs_when_nobody_waits() -> None:
    gate, fleet = admission(1, recheck_s=0.001)
    first = await take(gate)
    waiting = asyncio.create_task(take(gate))
    await settled()
    first.release()
    (await waiting).release()
    async with asyncio.timeout(60):
        while gate._timer is not None:
            await asyncio.sleep(0.001)
    read = fleet.read
    await asyncio.sleep(0.005)
    assert fleet.read == read


async def test_draining_refuses_new_and_waiting_and_keeps_the_running() -> None:
    gate, _ = admission()
    running = await take(gate)
    waiting = asyncio.create_task(take(gate))
    await settled()
    gate.drain("The gateway is going away.")
    for refused in (waiting, asyncio.create_task(take(gate))):
        with pytest.raises(Overloaded, match="going away") as caught:
            await refused
        assert caught.value.status == 503
    assert gate.held == 1
    running.release()
    assert gate.held == 0


async def test_a_flood_is_refused_and_not_the_other_tenant() -> None:
    gate, _ = admission(1, limit=3)
    with await take(gate, "flood"):
        flood = [asyncio.create_task(take(gate, "flood")) for _ in range(3)]
        await settled()
        other = asyncio.create_task(take(gate, "other"))
        await settled()
        with pytest.raises(Overloaded):
            await flood[2]
        assert gate.stats().waiting_by_tenant == {"flood": 2, "other": 1}
    order: list[str] = []
    for waiting in asyncio.as_completed([other, *flood[:2]]):
        with await waiting as permit:
            order.append(permit.tenant)
    assert order == ["flood", "other", "flood"]


async def test_a_dropped_permit_gives_its_place_back_and_says_so() -> None:
    gate, _ = admission()
    permit = await take(gate)
    with pytest.warns(ResourceWarning, match="dropped without release"):
        permit.__del__()
    assert gate.held == 0
    del permit  # released: quiet


async def test_overload_is_bounded_fair_and_clean() -> None:
    """Two tenants of weight 1 and 3 at many times the capacity: places never exceed it, shares follow the weights."""
    gate, fleet = admission(4, limit=40, rng=random.Random(1))
    served: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    most = 0

    async def client(tenant: str, weight: float) -> None:
        nonlocal most
        while sum(served.values()) < 800:
            try:
                with await gate.acquire(tenant, weight=weight, deadline_s=5.0):
                    most = max(most, gate.held)
                    await asyncio.sleep(0)
                    served[tenant] += 1
            except Overloaded:
                refused[tenant] += 1
                await asyncio.sleep(0)

    async with asyncio.timeout(60):
        await asyncio.gather(
            *(client("light", 1.0) for _ in range(40)),
            *(client("heavy", 3.0) for _ in range(40)),
        )
    assert most == fleet.places
    assert 2.4 < served["heavy"] / served["light"] < 3.6
    assert refused["light"]
    assert (gate.held, gate.waiting) == (0, 0)
    assert gate.stats().held_by_tenant == {}
