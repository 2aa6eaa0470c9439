"""What a gateway needs of the fleet, from its first request to its rest and back. The time is in the test's hand."""

import asyncio
from types import SimpleNamespace

import pytest

from gateway.admission import Admission, Room, StartWait
from gateway.admission.demand import LEAST_REQUESTS, PERIOD_S, Demand
from gateway.fleet.autoscaling import Autoscaler, AutoscalingOptions

START_S, IDLE_S, SLOTS = 40.0, 300.0, 4


class Case:
    """A gateway's gates over a fleet whose number of instances the test sets."""

    def __init__(self) -> None:
        self.now, self.instances, self.files = 1000.0, 0, 0
        gate = {"clock": lambda: self.now, "start": StartWait(120.0, Room(100))}
        self.answers = Admission(lambda: self.instances * SLOTS, **gate)  # type: ignore[arg-type]
        self.searches = Admission(lambda: self.instances, **gate)  # type: ignore[arg-type]
        self.demand = Demand(
            self.answers,
            stay_s=lambda: 2.0,
            others=[self.searches],
            serves=lambda: self.instances > 0,
            works=lambda: self.files > 0,
            idle_s=IDLE_S,
            clock=lambda: self.now,
        )
        self.demand.look()

    def pass_by(self, seconds: float) -> None:
        for _ in range(int(seconds / PERIOD_S)):
            self.now += PERIOD_S
            self.demand.look()
            self.answers.refresh()
            self.searches.refresh()


def test_a_gateway_that_nobody_asked_needs_nothing() -> None:
    case = Case()
    case.pass_by(1000)
    assert (case.demand.requests, case.demand.instances(SLOTS), case.demand.lacking_s) == (0, 0, 0)


@pytest.mark.parametrize("kind", ["answers", "searches", "files"])
async def test_whatever_waits_wants_an_instance_at_once(kind: str) -> None:
    case = Case()
    waiting = None
    if kind == "files":
        case.files = 1
    else:
        waiting = asyncio.create_task(getattr(case, kind).acquire("a", deadline_s=1.0))
        await asyncio.sleep(0)
    assert case.demand.requests > 0
    assert case.demand.instances(SLOTS) == case.demand.instances(0) == 1
    case.pass_by(50)
    assert case.demand.lacking_s == 45
    if waiting is not None:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    case.files = 0
    case.pass_by(IDLE_S)
    assert case.demand.requests == case.demand.lacking_s == 0


async def test_it_rests_after_the_idle_time_and_not_while_something_runs() -> None:
    case = Case()
    case.instances = 1
    case.pass_by(10)
    permit = await case.answers.acquire("a", deadline_s=1.0)
    case.pass_by(2 * IDLE_S)
    assert case.demand.requests >= LEAST_REQUESTS
    permit.release()
    case.pass_by(IDLE_S - PERIOD_S)
    assert case.demand.requests >= LEAST_REQUESTS
    case.pass_by(2 * PERIOD_S)
    assert case.demand.requests == 0


async def test_from_none_to_some_and_back_to_none() -> None:
    """The autoscaler beside it, over a fleet whose instances take START_S to start."""
    case, options = Case(), AutoscalingOptions()
    scaler = Autoscaler(options, least=0, most=4)
    scaler.begin(case.now, 0)
    fleet = SimpleNamespace(wanted=0, since=case.now)
    seen: list[int] = []

    def run(seconds: float) -> None:
        for _ in range(int(seconds / PERIOD_S)):
            case.pass_by(PERIOD_S)
            wanted = scaler.instances(case.now, case.demand.requests, SLOTS)
            if wanted != fleet.wanted:
                fleet.wanted, fleet.since = wanted, case.now
            if case.now - fleet.since >= START_S or wanted < case.instances:
                case.instances = wanted
            seen.append(wanted)
            case.answers.refresh()

    run(600)
    assert set(seen) == {0}
    waiting = [asyncio.create_task(case.answers.acquire(tenant, deadline_s=1.0)) for tenant in "aab"]
    await asyncio.sleep(0)
    run(START_S + 2 * PERIOD_S)
    assert case.instances >= 1
    for permit in await asyncio.gather(*waiting):
        permit.release()
    run(IDLE_S - 2 * PERIOD_S)
    assert case.instances >= 1
    run(4 * PERIOD_S + options.hold_s)
    assert case.instances == 0
