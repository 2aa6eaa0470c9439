"""Who gets the next free place: a bounded queue, fair between tenants. Pure: no clock, no tasks.

Stride scheduling (Waldspurger and Weihl, 1995) on two levels. Each tenant has a *pass*, a virtual time; the waiting
tenant with the lowest pass gets the next place, and its pass then grows by cost / weight. So under contention places are
shared by weight, a tenant's own requests keep their order, and each waiting tenant's turn comes after a bounded number
of others. A tenant that comes back from idleness starts at the present virtual time: it neither saved up nor owes.
Priority classes share places in the same way, with the weight RATIO^priority: while both wait, a class gets RATIO
places for each one of the class below, and none starves.

When the queue is full, the newest request of whoever holds more of it than its share makes room (longest-queue drop, Suter
et al., 1998), so that one tenant's flood is refused and not the others' requests.

Cost of a step: O(tenants that wait), which the queue's limit bounds.
"""

from collections import Counter, deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

RATIO = 8.0
_PRUNE_AT = 1024

K = TypeVar("K", bound=Hashable)


def class_weight(priority: int) -> float:
    """The share of a priority class; priorities beyond ±20 are like ±20."""
    return RATIO ** max(-20, min(20, priority))


class QueueFull(Exception):
    """No room, and the asking tenant holds its share of the queue already."""


@dataclass(slots=True, eq=False)
class Entry:
    """One request on its way through admission."""

    tenant: str
    weight: float = 1.0
    priority: int = 0
    cost: float = 1.0
    granted: bool = False
    """Whether it holds a place now."""
    over: bool = False
    """Whether it has left, by any way."""


class _Stride(Generic[K]):
    """Virtual time over keys: the rule of one level."""

    def __init__(self) -> None:
        self.time = 0.0
        self._passes: dict[K, float] = {}
        self._prune_at = _PRUNE_AT

    def order(self, key: K) -> float:
        """The key's pass: lowest first."""
        return max(self._passes.get(key, 0.0), self.time)

    def charge(self, key: K, amount: float) -> None:
        """The key was served: time moves to its pass, and its next turn away by `amount`."""
        self.time = self.order(key)
        self._passes[key] = self.time + amount
        if len(self._passes) >= self._prune_at:  # who lies behind the present time is like one never seen
            self._passes = {k: p for k, p in self._passes.items() if p > self.time}
            self._prune_at = max(_PRUNE_AT, 2 * len(self._passes))


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
        self._limit = limit
        self._size = 0
        self._classes: dict[int, _Class] = {}
        self._turns: _Stride[int] = _Stride()

    def __len__(self) -> int:
        return self._size

    def push(self, entry: Entry) -> Entry | None:
        """Let an entry wait; gives back the one that had to make room for it, if any. Raises QueueFull."""
        group = self._classes.setdefault(entry.priority, _Class(entry.priority))
        evicted = self._make_room(entry, group) if self._size >= self._limit else None
        group.lines.setdefault(entry.tenant, deque()).append(entry)
        self._size += 1
        return evicted

    def pop(self) -> Entry:
        """The entry whose turn it is, charged. Raises IndexError when none waits."""
        if not self._size:
            raise IndexError("nobody waits")
        priority = min((p for p, g in self._classes.items() if g.lines), key=self._turns.order)
        group = self._classes[priority]
        line = group.lines[min(group.lines, key=group.turns.order)]
        entry = line[0]
        self.remove(entry)
        self.charge(entry)
        return entry

    def remove(self, entry: Entry) -> None:
        """Take out an entry that waits."""
        self._classes[entry.priority].drop(entry)
        self._size -= 1

    def charge(self, entry: Entry) -> None:
        """Account for a place; `pop` does it, who never had to wait is charged by the queue's user."""
        group = self._classes.setdefault(entry.priority, _Class(entry.priority))
        group.turns.charge(entry.tenant, entry.cost / entry.weight)
        self._turns.charge(entry.priority, entry.cost / group.weight)

    def drain(self) -> list[Entry]:
        """Take out everything, in order of the turns."""
        return [self.pop() for _ in range(self._size)]

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

    def _make_room(self, entry: Entry, group: _Class) -> Entry:
        """Evict the newest entry of the tenant furthest over its share, the asking one counted with what it asks for."""
        fullest = max((g for g in self._classes.values() if g.lines), key=lambda g: (g.size + (g is group)) / g.weight)

        def load(tenant: str) -> float:
            line = fullest.lines[tenant]
            return (len(line) + (fullest is group and tenant == entry.tenant)) / line[-1].weight

        tenant = max(fullest.lines, key=load)
        own = (len(group.lines.get(entry.tenant, ())) + 1) / entry.weight
        if fullest is group and (tenant == entry.tenant or load(tenant) <= own):
            raise QueueFull
        victim = fullest.lines[tenant][-1]
        self.remove(victim)
        return victim
