"""Who is there: whoever has asked lately, holds a place or waits for one."""

import asyncio

from gateway.admission import Admission
from gateway.admission.presence import STAYS_S, Presence


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Gate(Admission):
    def __init__(self, clock: Clock) -> None:
        super().__init__(lambda: 1)
        self.told: list[float] = []
        self._now = clock

    def refresh(self) -> None:
        super().refresh()
        self.told.append(self._now())


def presence() -> tuple[Presence, Clock, list[float]]:
    clock = Clock()
    gate = Gate(clock)
    there = Presence(clock)
    there.gates = [gate]
    return there, clock, gate.told


def test_one_tenant_is_alone_however_often_it_asks() -> None:
    there, _, told = presence()
    assert not there.several
    for _ in range(3):
        there.seen("red")
    assert not there.several
    assert not told


def test_a_second_one_is_there_until_it_has_not_asked_for_a_while() -> None:
    there, clock, told = presence()
    there.seen("red")
    there.seen("blue")
    assert there.several
    assert told == [100.0]
    for _ in range(4):
        clock.now += STAYS_S / 2
        there.seen("red")
        there.seen("blue")
    assert there.several
    assert told == [100.0], "once, while both go on"
    clock.now += STAYS_S + 1
    there.seen("red")
    assert not there.several
    there.seen("blue")
    assert there.several
    assert told == [100.0, clock.now]


def test_the_one_that_asks_last_does_not_hide_those_before() -> None:
    there, clock, _ = presence()
    there.seen("red")
    there.seen("blue")
    clock.now += STAYS_S - 1
    there.seen("green")
    clock.now += STAYS_S - 1
    there.seen("green")
    assert not there.several, "only green has asked lately"


async def test_who_holds_a_place_or_waits_is_there_however_long() -> None:
    gate = Admission(lambda: 1)
    there, clock, _ = presence()
    there.gates = [gate]
    clock.now += 10 * STAYS_S
    with await gate.acquire("red", deadline_s=60):
        assert not there.several
        waiting = asyncio.ensure_future(gate.acquire("blue", deadline_s=60))
        while not gate.waiting:
            await asyncio.sleep(0)
        assert there.several
    with await waiting:
        assert not there.several
