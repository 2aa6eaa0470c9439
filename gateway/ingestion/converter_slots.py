"""Whose file is converted next, and which one has to make room. No I/O."""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

HALF_LIFE_S = 60.0
"""After so long a second of conversion counts half against its tenant."""
RECHECK_S = 10.0
"""A tenant over its budget is looked at again after so long at the latest: the budget may have been raised."""


@dataclass(slots=True, eq=False)
class Slot:
    """A place at a converter, had or waited for. Its holder works under `scope`, which ends it early where it must make room."""

    tenant: str
    slice_s: float
    """After so long others come first."""
    number: int
    granted: asyncio.Event = field(default_factory=asyncio.Event)
    scope: asyncio.Timeout = field(default_factory=lambda: asyncio.timeout(None))
    begun: float = math.inf
    must_end: bool = False
    used_up: bool = False
    """Its slice was over; otherwise it only had more places than others."""


class ConverterSlots:
    """`count` places at converters, for files of many tenants.

    A tenant may have all of them while no other waits. Where another does and has none, the place that was taken last by a
    tenant with several is given up at once. A file that has had its slice makes room for whatever waits. Of those that wait the
    next is of the tenant with the fewest places, then of the one that used the least time of late.

    slices: seconds for a file that was stopped never, once, … because its slice was over; then there is no end but the deadline.
    budgets: seconds of converters that a tenant may use in a minute, where it has such a limit. A minute's worth may be used at
    once; then its files wait until what was used has come back.
    """

    def __init__(self, count: int, slices: Sequence[float], budgets: Mapping[str, float] | None = None) -> None:
        self._count = count
        self._slices = slices
        self._budgets = {} if budgets is None else budgets
        self._spent: dict[str, tuple[float, float]] = {}
        self._waiting: list[Slot] = []
        self._running: list[Slot] = []
        self._used: dict[str, tuple[float, float]] = {}
        self._number = 0
        self._alarm: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def take(self, tenant: str, stops: int) -> AsyncIterator[Slot]:
        """Wait for a place; it is given back when the block ends. `stops`: how often the file's slice was over before."""
        self._number += 1
        slot = Slot(tenant, self._slices[stops] if stops < len(self._slices) else math.inf, self._number)
        self._waiting.append(slot)
        self._arrange()
        try:
            await slot.granted.wait()
            yield slot
        finally:
            if slot in self._waiting:
                self._waiting.remove(slot)
            else:
                self._running.remove(slot)
                took, now = self._now() - slot.begun, self._now()
                self._used[tenant] = (self._seconds(tenant) + took, now)
                if tenant in self._budgets:
                    self._spent[tenant] = (self._over(tenant) + took, now)
            self._arrange()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _seconds(self, tenant: str) -> float:
        seconds, at = self._used.get(tenant, (0.0, 0.0))
        return seconds * math.exp2((at - self._now()) / HALF_LIFE_S)

    def _over(self, tenant: str) -> float:
        """Seconds of its budget that have not come back yet."""
        seconds, at = self._spent.get(tenant, (0.0, 0.0))
        return max(0.0, seconds - (self._now() - at) * self._budgets.get(tenant, math.inf) / 60)

    def _waits_s(self, tenant: str) -> float:
        """Until its next file may begin."""
        budget = self._budgets.get(tenant)
        if budget is None:
            return 0.0
        return max(0.0, self._over(tenant) - budget) * 60 / budget if budget > 0 else math.inf

    def _arrange(self) -> None:
        """Give what is free; ask for what is not."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        waits = {tenant: self._waits_s(tenant) for tenant in {slot.tenant for slot in self._waiting}}
        ready = [slot for slot in self._waiting if not waits[slot.tenant]]
        while ready and len(self._running) < self._count:
            held = Counter(slot.tenant for slot in self._running)
            used = {slot.tenant: self._seconds(slot.tenant) for slot in ready}
            slot = min(ready, key=lambda s: (held[s.tenant], used[s.tenant], s.number))
            ready.remove(slot)
            self._waiting.remove(slot)
            self._running.append(slot)
            slot.begun = self._now()
            slot.granted.set()
        if not self._waiting:
            self._used = {tenant: used for tenant, used in self._used.items() if self._seconds(tenant) > 0.1}
            return
        self._make_room(ready)
        ends = [slot.begun + slot.slice_s for slot in self._running if ready and not slot.must_end]
        ends += [self._now() + min(wait, RECHECK_S) for wait in waits.values() if wait]
        if (soonest := min(ends, default=math.inf)) < math.inf:
            self._alarm = asyncio.get_running_loop().call_at(soonest, self._arrange)

    def _make_room(self, waiting: Sequence[Slot]) -> None:
        held = Counter(slot.tenant for slot in self._running)
        ending = sum(slot.must_end for slot in self._running)
        newcomers = {slot.tenant for slot in waiting if not held[slot.tenant]}
        for slot in sorted(self._running, key=lambda s: -s.begun):
            if ending < len(newcomers) and held[slot.tenant] > 1 and not slot.must_end:
                held[slot.tenant] -= 1
                ending += 1
                self._end(slot)
        now = self._now()
        for slot in self._running:
            if ending < len(waiting) and now >= slot.begun + slot.slice_s and not slot.must_end:
                ending += 1
                slot.used_up = True
                self._end(slot)

    def _end(self, slot: Slot) -> None:
        slot.must_end = True
        with suppress(RuntimeError):  # its work is over by now, or has not begun: then the holder looks at `must_end`
            slot.scope.reschedule(self._now())
