"""Who gets the next free place: a bounded queue, fair between tenants. Pure: no clock, no tasks.

Stride scheduling (Waldspurger and Weihl, 1995) on two levels. Each tenant has a *pass*, a virtual time; the waiting
tenant with the lowest pass gets the next place, and its pass then grows by cost / weight. So under contention places are
shared by weight, a tenant's own requests keep their order, and each waiting tenant's turn comes after a bounded number
of others. A tenant that comes back from idleness starts at the present virtual time: it neither saved up nor owes. When
nobody waits any more, all is forgotten: what was had without contention is no debt.
Priority classes share places in the same way, with the weight RATIO^priority: while both wait, a class gets RATIO
places for each one of the class below, and none starves.

When the queue is full, the newest request of whoever holds more of it than its share makes room (longest-queue drop, Suter
et al., 1998), so that one tenant's flood is refused and not the others' requests.

What waits may be bounded in bytes as well; a tenant's share is then the larger of its two (dominant resource fairness, Ghodsi et
al., 2011).

Cost of a step: O(tenants that wait), which the queue's limit bounds; where bytes are bounded and the queue is full, O(entries).
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeVar

RATIO = 8.0

K = TypeVar("K", bound=Hashable)


def class_weight(priority: int) -> float:
    """The share of a priority class; priorities beyond ±20 are like ±20."""
    return RATIO ** max(-20, min(20, priority))


class QueueFull(Exception):
    """No room, and the asking tenant holds its share of the queue already."""


@dataclass(frozen=True, slots=True)
class Room:
    """How much may wait."""

    requests: int
    size: float = inf
    """Bytes of all of them."""


@dataclass(slots=True, eq=False)
class Entry:
    """One request on its way through admission."""

    tenant: str
    weight: float = 1.0
    priority: int = 0
    cost: float = 1.0
    size: int = 0
    """Bytes that it holds while it waits."""
    granted: bool = False
    """Whether it holds a place now."""
    over: bool = False
    """Whether it has left, by any way."""


class _Stride(Generic[K]):
    """Virtual time over keys: the rule of one level."""

    def __init__(self) -> None:
        self.time = 0.0
        self._passes: dict[K, float] = {}

    def order(self, key: K) -> float:
        """The key's pass: lowest first."""
        return max(self._passes.get(key, 0.0), self.time)

    def charge(self, key: K, amount: float) -> None:
        """The key was served: time moves to its pass, and its next turn away by `amount`."""
        self.time = self.order(key)
        self._passes[key] = self.time + amount


class _Class:
    """The tenants of one priority that wait, and their turns."""

    def __init__(self, priority: int) -> None:
        self.weight = class_weight(priority)
        self.turns: _Stride[str] = _Stride()
        self.lines: dict[str, deque[Entry]] = {}

    @property
    def size(self) -> int:
        return sum(map(len, self.lines.values()))

    def drop(self, entry: Entry) -> None:
        line = self.lines[entry.tenant]
        line.remove(entry)
        if not line:
            del self.lines[entry.tenant]


class FairQueue:
    """Holds at most `limit` waiting entries and says whose turn it is."""

    def __init__(self, limit: int) -> None:
        self.room = Room(limit)
        """May be changed at any time; what waits already stays."""
        self._size = 0
        self._bytes = 0
        self._classes: dict[int, _Class] = {}
        self._turns: _Stride[int] = _Stride()

    def __len__(self) -> int:
        return self._size

    def push(self, entry: Entry) -> list[Entry]:
        """Let an entry wait; gives back those that had to make room for it. Raises QueueFull, and then all stays as it was.

        Where the room has become smaller than what waits, no more goes than comes.
        """
        evicted: list[Entry] = []
        held = self._bytes
        try:
            while (not evicted and self._size >= self.room.requests) or (
                self._bytes + entry.size > max(self.room.size, held)
            ):
                evicted.append(self._make_room(entry))
        except QueueFull:
            for each in reversed(evicted):  # each was the newest of its tenant
                self._add(each)
            raise
        self._add(entry)
        return evicted

    def _add(self, entry: Entry) -> None:
        group = self._classes.setdefault(entry.priority, _Class(entry.priority))
        group.lines.setdefault(entry.tenant, deque()).append(entry)
        self._size += 1
        self._bytes += entry.size

    def pop(self, eligible: Callable[[str], bool] = lambda _: True) -> Entry | None:
        """The entry whose turn it is among those of eligible tenants, charged; None where none of them waits."""
        groups = {
            priority: lines
            for priority, group in self._classes.items()
            if (lines := [tenant for tenant in group.lines if eligible(tenant)])
        }
        if not groups:
            return None
        priority = min(groups, key=self._turns.order)
        group = self._classes[priority]
        entry = group.lines[min(groups[priority], key=group.turns.order)][0]
        group.turns.charge(entry.tenant, entry.cost / entry.weight)
        self._turns.charge(priority, entry.cost / group.weight)
        self.remove(entry)
        return entry

    def remove(self, entry: Entry) -> None:
        """Take out an entry that waits."""
        self._classes[entry.priority].drop(entry)
        self._size -= 1
        self._bytes -= entry.size
        if not self._size:
            self._classes.clear()
            self._turns = _Stride()

    def drain(self) -> list[Entry]:
        """Take out everything."""
        entries = [entry for group in self._classes.values() for line in group.lines.values() for entry in line]
        for entry in entries:
            self.remove(entry)
        return entries

    @property
    def tenants(self) -> set[str]:
        """Of which entries wait."""
        return {tenant for group in self._classes.values() for tenant in group.lines}

    def waiting(self) -> Counter[str]:
        """Entries waiting, by tenant."""
        lines = (item for group in self._classes.values() for item in group.lines.items())
        counts: Counter[str] = Counter()
        for tenant, line in lines:
            counts[tenant] += len(line)
        return counts

    def ahead(self, entry: Entry) -> int:
        """About how many places are given before a new entry of this kind gets one, if nobody else comes."""
        group = self._classes.get(entry.priority)
        own = 1 + (len(group.lines.get(entry.tenant, ())) if group else 0)
        before = 0.0
        for priority, other in self._classes.items():
            for tenant, line in other.lines.items():
                if (priority, tenant) == (entry.priority, entry.tenant):
                    before += own - 1
                    continue
                share = line[0].weight / entry.weight * other.weight / class_weight(entry.priority)
                before += min(len(line), own * share)
        return round(before)

    def _make_room(self, entry: Entry) -> Entry:
        """Evict the newest entry of the tenant furthest over its share, the asking one counted with what it asks for."""
        if not self._size:
            raise QueueFull
        sizes = {priority: self._filled(*group.lines.values()) for priority, group in self._classes.items()}
        own = self._classes.get(entry.priority)
        sizes[entry.priority] = self._filled(*(own.lines.values() if own else ()), [entry])
        fullest = max(sizes, key=lambda priority: sizes[priority] / class_weight(priority))
        if fullest not in self._classes:
            raise QueueFull
        lines = self._classes[fullest].lines
        loads = {tenant: self._filled(line) / line[-1].weight for tenant, line in lines.items()}
        if fullest == entry.priority:
            loads[entry.tenant] = self._filled(lines.get(entry.tenant, ()), [entry]) / entry.weight
        tenant = max(loads, key=lambda name: (loads[name], name == entry.tenant))
        if fullest == entry.priority and tenant == entry.tenant:
            raise QueueFull
        victim = lines[tenant][-1]
        self.remove(victim)
        return victim

    def _filled(self, *lines: Collection[Entry]) -> float:
        """How much of the room these fill, by number or by size, whichever is more; in requests."""
        count = sum(map(len, lines))
        if self.room.size == inf:
            return count
        size = sum(each.size for line in lines for each in line)
        return max(count, size / self.room.size * self.room.requests)
