"""Admission: a bounded, fair wait for one of the fleet's places, which yields a `Permit`.

A permit is an argument of whatever uses an engine, so that nothing runs unadmitted. `AdmissionState` decides; this is its asyncio
side.
"""

import asyncio
import random
import time
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Self

from gateway.admission.admission_state import AdmissionState, AdmissionStats, StartWait
from gateway.admission.fair_queue import Entry
from gateway.errors import Overloaded


class Permit:
    """One place in the fleet. Release it on every path, or use it as a context manager; releasing twice is harmless."""

    __slots__ = ("_entry", "_gate", "waited_s")

    def __init__(self, gate: AdmissionState, entry: Entry, waited_s: float) -> None:
        self._gate = gate
        self._entry = entry
        self.waited_s = waited_s
        """Seconds from asking to getting."""

    @property
    def tenant(self) -> str:
        """Whose it is."""
        return self._entry.tenant

    def release(self) -> None:
        """Give the place back; the next in turn gets it before this returns."""
        self._gate.leave(self._entry)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __del__(self) -> None:
        if not self._entry.over:
            self.release()
            warnings.warn(f"a permit of {self.tenant!r} was dropped without release", ResourceWarning, stacklevel=1)


class Admission:
    """Hands out permits, as many at a time as the fleet has places.

    capacity: how many requests may be in the engines at once. It is read again at each `refresh`, when it was read more
        than `recheck_s` ago, and every `recheck_s` while somebody waits (an ejection that runs out tells nobody).
    tenant_limit: how many of them one tenant may hold, read with it; None: all.
    reserve: share of them (0 to 1) that one tenant leaves free for others, and several together some of; read with it.
    limit, start: what may wait; see `AdmissionState`.
    recheck_s: seconds. Lower: places that appear silently are used sooner; higher: `capacity` is called less.
    """

    def __init__(
        self,
        capacity: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
        *,
        tenant_limit: Callable[[], int | None] = lambda: None,
        reserve: Callable[[], float] = lambda: 0.0,
        limit: int = 512,
        start: StartWait | None = None,
        recheck_s: float = 0.1,
        rng: random.Random | None = None,
    ) -> None:
        self._capacity = capacity
        self._tenant_limit = tenant_limit
        self._reserve = reserve
        self._clock = clock
        self._recheck_s = recheck_s
        self._read_at = float("-inf")
        self.asked = 0
        """Requests that wanted a place, in all."""
        self._futures: dict[Entry, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._gate = AdmissionState(
            limit=limit, clock=clock, on_grant=self._granted, on_refuse=self._refused, start=start, rng=rng
        )

    async def acquire(
        self,
        tenant_name: str,
        *,
        weight: float = 1.0,
        priority: int = 0,
        deadline_s: float,
        cost: float = 1.0,
        size: int = 0,
    ) -> Permit:
        """A place, waited for up to `deadline_s` seconds, or as long as a first instance may take to start where there is none.

        weight: the tenant's share under contention, above 0. priority: a class gets 8 places for each one of the class
        below while both wait. cost: what the request is charged for in its tenant's share, for example its tokens.
        size: bytes that it holds while it waits.
        Raises Overloaded with status 429 (too much is asked for) or 503 (nothing can serve, or the gateway shuts down).
        """
        self.asked += 1
        asked = self._clock()
        if asked - self._read_at >= self._recheck_s:
            self.refresh()
        entry = Entry(tenant_name, weight, priority, cost, size)
        deadline_s = self._gate.patience(deadline_s)
        self._gate.enter(entry, deadline_s)
        if not entry.granted:
            await self._wait(entry, deadline_s)
        return Permit(self._gate, entry, self._clock() - asked)

    def refresh(self) -> None:
        """Read the capacity now; whoever fits in is let in. To be called when the fleet changes."""
        self._read_at = self._clock()
        self._gate.resize(self._capacity(), self._tenant_limit(), self._reserve())

    def drain(self, reason: str = "The gateway is shutting down; send the request again.") -> None:
        """Refuse what is new and what waits, from now on, with a 503 that says `reason`; permits given stay good."""
        self._gate.close(reason)

    @property
    def held(self) -> int:
        """Permits given and not released."""
        return self._gate.held

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return self._gate.waiting

    @property
    def tenants(self) -> set[str]:
        """Who holds a permit or waits for one."""
        return self._gate.tenants

    def stats(self) -> AdmissionStats:
        """Admission now, by tenant."""
        return self._gate.stats()

    async def _wait(self, entry: Entry, deadline_s: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._futures[entry] = future
        self._watch()
        try:
            async with asyncio.timeout(deadline_s):
                await future
        except TimeoutError:
            if not entry.granted:  # else it was granted in the same moment
                raise self._gate.expired(entry, deadline_s) from None
        except BaseException:  # cancelled: the client is gone; or refused, where leave has nothing to do
            self._gate.leave(entry)
            raise
        finally:
            del self._futures[entry]
            if future.done() and not future.cancelled():
                future.exception()  # a refusal that a cancellation overtook counts as seen

    def _granted(self, entry: Entry) -> None:
        future = self._futures[entry]
        if not future.done():
            future.set_result(None)

    def _refused(self, entry: Entry, error: Overloaded) -> None:
        future = self._futures[entry]
        if not future.done():
            future.set_exception(error)

    def _watch(self) -> None:
        """Look at the capacity now and then while somebody waits."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._recheck_s, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._futures:
            self.refresh()
            self._watch()
