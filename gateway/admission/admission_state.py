"""The state of admission: who holds a place, who waits, who is turned away and for how long. Pure; the time is injected.

Whoever calls it acts on what it returns: `Admission` turns grants and refusals into futures.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from gateway.admission.drain_rate import DrainRate
from gateway.admission.fair_queue import Entry, FairQueue, QueueFull, Room
from gateway.config import Settings
from gateway.errors import Overloaded

LEAST_RETRY_S, MOST_RETRY_S = 1.0, 60.0
_UNKNOWN_RETRY_S = 5.0


@dataclass(frozen=True, slots=True)
class StartWait:
    """What may wait for a first instance, where whoever scales the fleet starts one for it."""

    wait_s: float
    room: Room

    @classmethod
    def from_settings(cls, settings: Settings) -> Self | None:
        """None where nobody starts one."""
        if not settings.start_wait_s:
            return None
        return cls(settings.start_wait_s, Room(settings.start_wait_requests, settings.start_wait_bytes))


@dataclass(frozen=True, slots=True)
class AdmissionStats:
    """Admission at one moment."""

    capacity: int
    held: int
    waiting: int
    held_by_tenant: dict[str, int]
    waiting_by_tenant: dict[str, int]
    drain_per_second: float | None
    """Places that become free per second when all are in use; None while nothing is known."""
    admitted: int
    refused: int
    """Since the start."""


class AdmissionState:
    """Places, the queue before them, and refusals.

    limit: requests that may wait. Raising it turns refusals into waiting, and costs memory for each.
    start: what may wait while there is no place at all, and how long; None: as otherwise.
    on_grant, on_refuse: called for entries that waited.
    """

    def __init__(
        self,
        *,
        limit: int,
        clock: Callable[[], float],
        on_grant: Callable[[Entry], None],
        on_refuse: Callable[[Entry, Overloaded], None],
        start: StartWait | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._queue = FairQueue(limit)
        self._usual_room, self._start = self._queue.room, start
        self._clock = clock
        self._on_grant = on_grant
        self._on_refuse = on_refuse
        self._rng = rng or random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._rate = DrainRate()
        self._capacity = self._tenant_limit = 0
        self._reserve = 0.0
        self._held: Counter[str] = Counter()
        self._in_use = 0
        self._admitted = self._refused = 0
        self._closed = ""

    @property
    def held(self) -> int:
        """Places in use."""
        return self._in_use

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._queue)

    @property
    def tenants(self) -> set[str]:
        """Who has a place or waits for one."""
        return {*self._held, *self._queue.tenants}

    def stats(self) -> AdmissionStats:
        """A picture of now."""
        return AdmissionStats(
            capacity=self._capacity,
            held=self._in_use,
            waiting=len(self._queue),
            held_by_tenant=dict(self._held),
            waiting_by_tenant=dict(self._queue.waiting()),
            drain_per_second=self._drain_rate(),
            admitted=self._admitted,
            refused=self._refused,
        )

    def enter(self, entry: Entry, deadline_s: float) -> None:
        """Grant a place (`entry.granted`) or let the entry wait. Raises Overloaded, at once when waiting has no prospect."""
        if entry.weight <= 0 or entry.cost <= 0:
            raise ValueError(f"weight and cost must be above 0, got {entry.weight} and {entry.cost}")
        if self._closed:
            raise self._refusal(self._closed, status=503, code="draining", retry_after_s=LEAST_RETRY_S)
        if self._in_use < self._capacity and self._may_hold_more(entry.tenant):  # who waits now, may not
            self._grant(entry)
            return
        expected_s = self._expected_s(self._queue.ahead(entry))
        if self._capacity > 0 and expected_s is not None and expected_s > deadline_s:
            words = f"The wait for a place would be about {expected_s:.0f} s, more than the {deadline_s:g} s allowed."
            # Not what is missing to the deadline: who comes back that soon finds the queue as long as it was. By then all who
            # wait now will have had their turn.
            raise self._refusal(words, status=429, retry_after_s=expected_s)
        self._queue.room = self._usual_room if self._start is None or self._capacity else self._start.room
        try:
            evicted = self._queue.push(entry)
        except QueueFull:
            raise self._crowded() from None
        for each in evicted:
            each.over = True
            self._on_refuse(each, self._crowded())

    def patience(self, deadline_s: float) -> float:
        """Seconds that a request which comes now may wait, where `deadline_s` is usual."""
        return deadline_s if self._start is None or self._capacity else max(deadline_s, self._start.wait_s)

    def leave(self, entry: Entry) -> None:
        """End an entry in whatever state it is: gives its place back, or takes it out of the queue. Idempotent."""
        if entry.over:
            return
        entry.over = True
        if not entry.granted:
            self._queue.remove(entry)
            return
        self._in_use -= 1
        self._held[entry.tenant] -= 1
        if not self._held[entry.tenant]:
            del self._held[entry.tenant]
        self._rate.update(self._in_use, self._clock(), released=1)
        self._dispatch()

    def resize(self, capacity: int, tenant_limit: int | None = None, reserve: float = 0.0) -> None:
        """The fleet has this many places now. Fewer than held: nobody is thrown out, nobody new comes in.

        tenant_limit: places that one tenant may hold, at least 1; None: all. What is above it is kept for whoever comes.
        reserve: share (0 to 1) of the places that one tenant leaves free, n tenants together about 1/n of it; 0: none.
        """
        self._capacity = max(0, capacity)
        self._tenant_limit = self._capacity if tenant_limit is None else max(1, tenant_limit)
        self._reserve = reserve
        self._dispatch()

    def close(self, reason: str) -> None:
        """Refuse all that is new and all that waits, with `reason`; held places live on."""
        self._closed = reason
        for entry in self._queue.drain():
            entry.over = True
            self._on_refuse(entry, self._refusal(reason, status=503, code="draining", retry_after_s=LEAST_RETRY_S))

    def expired(self, entry: Entry, deadline_s: float) -> Overloaded:
        """Take out an entry that waited for its whole deadline; the error to raise for it."""
        self.leave(entry)
        if not self._capacity:
            words = f"No instance became ready within {deadline_s:g} s."
            return self._refusal(words, status=503, code="unavailable", retry_after_s=_UNKNOWN_RETRY_S)
        words = f"No place became free within {deadline_s:g} s."
        return self._refusal(words, status=429, retry_after_s=self._expected_s(len(self._queue)))

    def _dispatch(self) -> None:
        while len(self._queue) and self._in_use < self._capacity:
            entry = self._queue.pop(self._may_hold_more)
            if entry is None:
                return
            self._grant(entry)
            self._on_grant(entry)

    def _may_hold_more(self, tenant: str) -> bool:
        """Dynamic thresholds (Choudhury and Hahne, 1998): a tenant holds at the most so many times what is free that alone it
        leaves the reserve. Each further one has its part of what is left, so that there is something for the next."""
        held = self._held[tenant]
        if held >= self._tenant_limit:
            return False
        left = self._capacity - self._in_use - 1
        return not held or (held + 1) * self._reserve <= (1 - self._reserve) * left or not self._reserve

    def _grant(self, entry: Entry) -> None:
        entry.granted = True
        self._in_use += 1
        self._held[entry.tenant] += 1
        self._admitted += 1
        self._rate.update(self._in_use, self._clock())

    def _expected_s(self, ahead: int) -> float | None:
        """Seconds until `ahead` others and one more have been given places, at the measured rate."""
        rate = self._drain_rate()
        return None if not rate else (ahead + 1) / rate

    def _drain_rate(self) -> float | None:
        """Places that become free per second when all are in use."""
        per_place = self._rate.per_place(self._clock())
        return None if per_place is None else per_place * self._capacity

    def _crowded(self) -> Overloaded:
        words = f"{len(self._queue)} requests are waiting already."
        if not self._capacity:
            return self._refusal(
                f"No instance is ready and {words}", status=503, code="unavailable", retry_after_s=_UNKNOWN_RETRY_S
            )
        return self._refusal(words, status=429, retry_after_s=self._expected_s(len(self._queue)))

    def _refusal(self, words: str, *, status: int, retry_after_s: float | None, code: str | None = None) -> Overloaded:
        """Retry-After is drawn up to a quarter longer, so that those refused together do not come back together."""
        self._refused += 1
        base = _UNKNOWN_RETRY_S if retry_after_s is None else retry_after_s
        spread = min(max(base, LEAST_RETRY_S), MOST_RETRY_S) * self._rng.uniform(1.0, 1.25)
        return Overloaded(words, status=status, code=code, retry_after_s=spread)
