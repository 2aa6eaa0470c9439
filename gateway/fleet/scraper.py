"""Reads every member's metrics, each in its own cadence, so that a dead host delays nobody.

A member that cannot be read keeps its last load for `stale_after_s`; after that its load is None, which placement knows
how to handle. It is asked less and less often then, up to `slowest_s`, so that its return is noticed within that time.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable

from gateway.fleet.exposition import Exposition
from gateway.fleet.fleet_state import Clock, FleetState
from gateway.fleet.view import FleetView, Instance

log = logging.getLogger(__name__)

Fetch = Callable[[str, int, str, float], Awaitable[bytes]]
"""(address, port, path, deadline_s) → the body of a 200 answer; any exception means that it could not be read."""
OnScrape = Callable[[str, bool], None]
"""(name, answered): called after each scrape, for placement and outlier detection."""


class MetricsScraper:
    """Keeps the loads in a store fresh while `run` runs.

    period_s: seconds from the start of one reading to the start of the next. Lower: fresher loads, more work on both sides.
    deadline_s: seconds for one reading. Lower: a hung instance is known sooner; too low: a busy one looks hung.
    stale_after_s: seconds for which the last load stands in for a missing one. Default: a deadline, two periods and an idle one.
    slowest_s: the longest pause between two attempts at a member that does not answer.
    idle, idle_period_s: while `idle()`, a member with nothing to do is read only so often; when that ends, within a period.
    """

    def __init__(
        self,
        store: FleetState,
        fetch: Fetch,
        *,
        period_s: float = 0.25,
        deadline_s: float = 1.0,
        stale_after_s: float | None = None,
        slowest_s: float = 1.0,
        idle: Callable[[], bool] = lambda: False,
        idle_period_s: float = 0.0,
        path: str = "/metrics",
        on_scrape: OnScrape | None = None,
        clock: Clock = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._store = store
        self._fetch = fetch
        self._period_s = period_s
        self._deadline_s = deadline_s
        self._idle = idle
        self._idle_period_s = max(idle_period_s, period_s)
        usual = deadline_s + 2 * period_s + self._idle_period_s
        self._stale_after_s = usual if stale_after_s is None else stale_after_s
        self._slowest_s = max(slowest_s, period_s)
        self._path = path
        self._on_scrape = on_scrape
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - spreads the cadences, guards nothing
        self._exposition = Exposition()
        self._tasks: dict[tuple[str, str, int], asyncio.Task[None]] = {}
        self._failure: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Scrape until cancelled. Raises what a reading's own loop raised, should it ever end by an error of ours."""
        self._failure = asyncio.get_running_loop().create_future()
        unsubscribe = self._store.subscribe(self._follow)
        try:
            await self._failure
        finally:
            unsubscribe()
            tasks, self._tasks = list(self._tasks.values()), {}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _follow(self, view: FleetView) -> None:
        """One task for each member; one that moved to another port is another."""
        wanted = {(name, m.instance.address, m.instance.metrics_port): m.instance for name, m in view.members.items()}
        for key in self._tasks.keys() - wanted.keys():
            self._tasks.pop(key).cancel()
        for key, instance in wanted.items():
            if key not in self._tasks and instance.metrics_port > 0:
                task = asyncio.create_task(self._read_on(instance), name=f"scrape {instance.name}")
                task.add_done_callback(self._ended)
                self._tasks[key] = task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self._failure is None or self._failure.done():
            return
        if (error := task.exception()) is not None:
            self._failure.set_exception(error)

    async def _read_on(self, instance: Instance) -> None:
        await asyncio.sleep(self._rng.uniform(0, self._period_s))  # a whole fleet that comes at once is spread out
        misses = 0
        while True:
            started = self._clock()
            problem = await self._read(instance)
            if problem is None:
                if misses:
                    log.info("%s: metrics are readable again", instance.name)
                misses = 0
            else:
                misses += 1
                if misses == 1:
                    log.warning("%s: metrics cannot be read: %s", instance.name, problem)
                age = self._store.load_age(instance.name)
                if age is not None and age > self._stale_after_s:
                    self._store.set_load(instance.name, None)
            if self._on_scrape is not None:
                self._on_scrape(instance.name, problem is None)
            pause = min(self._period_s * 2 ** min(max(misses - 2, 0), 16), self._slowest_s)
            await asyncio.sleep(max(0.0, started + pause * self._rng.uniform(0.9, 1.1) - self._clock()))
            while misses == 0 and self._clock() - started < self._idle_period_s and self._rests(instance.name):  # noqa: ASYNC110 - who sends something has no time to tell us
                await asyncio.sleep(self._period_s)

    def _rests(self, name: str) -> bool:
        """Whether nothing runs at this member and we are about to send nothing."""
        load = self._store.load(name)
        return load is not None and not load.active and not load.waiting and self._idle()

    async def _read(self, instance: Instance) -> str | None:
        """One reading into the store; None, or what went wrong in words."""
        try:
            async with asyncio.timeout(self._deadline_s):
                body = await self._fetch(instance.address, instance.metrics_port, self._path, self._deadline_s)
        except TimeoutError:
            return f"no answer within {self._deadline_s:g} s"
        except Exception as error:  # noqa: BLE001 - the fetch is injected: whatever it raises, this member is dark
            return str(error) or repr(error)
        self._store.set_load(instance.name, self._exposition.read(body, self._clock()))
        return None
