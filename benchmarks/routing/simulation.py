"""The simulated fleet: gateways, instances and a clock that jumps from event to event.

Every gateway scrapes all instances each `age` seconds, at a phase of its own, and hands arrivals to its router. What is the
gateway's work and not the policy's is the same for all: a refused or lost dispatch goes elsewhere at once, with the tokens
it has as part of its prompt, and an instance that refused is left out until the health check says that it is back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf
from random import Random

from benchmarks.routing.engine import Run
from benchmarks.routing.router import Router, sample
from benchmarks.routing.traces import Request
from benchmarks.routing.world import Live, World

REFUSED_S = 0.002
"""Seconds to learn that nobody listens."""
DETECT_S = 1.0
"""Seconds until the health check sees that an instance is gone or back."""
DOWN_S = 8.0
"""Seconds that a failed instance stays away."""
LOOK_S = 1.0
"""How often the fleet's imbalance is looked at."""


@dataclass(slots=True)
class Done:
    """How one request went. Times in seconds from its arrival."""

    request: Request
    ttft: float
    total: float
    instance: int
    cached: int
    attempts: int


class Simulation:
    """Runs one trace through one fleet. `make(world, gateway, rng)` builds each gateway's router."""

    def __init__(
        self,
        world: World,
        trace: Sequence[Request],
        make: Callable[[World, int, Random], Router],
        *,
        gateways: int,
        age: float,
        seed: int,
        failures: bool = False,
    ) -> None:
        self.world = world
        rng = Random(seed)
        self.routers = [make(world, g, Random(rng.getrandbits(64))) for g in range(gateways)]
        self.done: list[Done] = []
        self.imbalance: list[float] = []
        """At each look: requests in the fullest instance over the mean of all."""
        self._age = age
        self._serial = 0
        self._due: list[float] = [inf] * len(world.engines)
        self._left = len(trace)
        self._alive = [[True] * len(world.engines) for _ in range(gateways)]
        self._events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        for request in trace:
            self._add(request.at, self._arrive, Live(request, rng.randrange(gateways)))
        for gateway in range(gateways):
            self._add(rng.random() * min(age, 0.05), self._scrape, gateway)
        self._end = trace[-1].at if trace else 0.0
        self._add(LOOK_S, self._look)
        if failures:  # one after the other, half of the fleet in all
            order = rng.sample(range(len(world.engines)), len(world.engines) // 2)
            for number, instance in enumerate(order):
                self._add((number + 0.5) * self._end / (len(order) + 1), self._die, instance)

    def run(self) -> list[Done]:
        """Run until every request has ended; each is in the result once."""
        events, world = self._events, self.world
        while self._left:
            at, _, action, arguments = heappop(events)
            world.now = at
            action(at, *arguments)
        return self.done

    def _add(self, at: float, action: Callable[..., None], *arguments: object) -> None:
        self._serial += 1
        heappush(self._events, (at, self._serial, action, arguments))

    # requests

    def _arrive(self, now: float, live: Live) -> None:
        router, request = self.routers[live.gateway], live.request
        instance = router.pick(now, request, live.tried)
        if instance is None:
            live.tried.clear()
            self._add(now + 0.1, self._arrive, live)
            return
        live.attempts += 1
        live.instance = instance
        if not self.world.up[instance]:
            live.tried.add(instance)
            self._add(now + REFUSED_S, self._refuse, live, instance)
            return
        prompt, answer = request.prompt.tokens + live.before, request.answer - live.before
        live.run = Run(live, prompt, answer, request.max_tokens - live.before, request.prompt.keys, request.whole)
        self.world.live[request] = live
        self.world.engines[instance].submit(now, live.run)
        self._wake(instance)

    def _refuse(self, now: float, live: Live, instance: int) -> None:
        self.routers[live.gateway].ended(now, live.request, instance, ok=False)
        self._tell(now, live.gateway, instance, alive=False)
        self._arrive(now, live)

    def _wake(self, instance: int) -> None:
        """Be there when the instance next changes by itself."""
        due = self.world.engines[instance].next_event()
        if due != self._due[instance]:
            self._due[instance] = due
            if due != inf:
                self._add(due, self._fire, instance)

    def _fire(self, now: float, instance: int) -> None:
        if now != self._due[instance]:
            return  # something came in between, and another time was set
        self._due[instance] = inf
        started, ended = self.world.engines[instance].fire(now)
        for run in started:
            live = _owner(run)
            if live.first_at < 0:
                live.first_at = now
                live.cached = run.cached
            self.routers[live.gateway].answered(now, live.request, instance)
        for run in ended:
            live = _owner(run)
            request = live.request
            self.routers[live.gateway].ended(now, request, instance, ok=True)
            ttft, total = live.first_at - request.at, now - request.at
            self.done.append(Done(request, ttft, total, instance, live.cached, live.attempts))
            del self.world.live[request]
            self._left -= 1
        self._wake(instance)

    # the fleet

    def _scrape(self, now: float, gateway: int) -> None:
        router, alive = self.routers[gateway], self._alive[gateway]
        for instance, engine in enumerate(self.world.engines):
            if alive[instance] and self.world.up[instance]:
                router.scraped(now, instance, sample(engine, now))
        self._add(now + self._age, self._scrape, gateway)

    def _look(self, now: float) -> None:
        inside = [len(e.waiting) + e.active for e in self.world.engines]
        if sum(inside) and now < self._end:
            self.imbalance.append(max(inside) * len(inside) / sum(inside))
        self._add(now + LOOK_S, self._look)

    def _tell(self, now: float, gateway: int, instance: int, *, alive: bool) -> None:
        if self._alive[gateway][instance] is not alive:
            self._alive[gateway][instance] = alive
            self.routers[gateway].alive(now, instance, alive)

    def _die(self, now: float, instance: int) -> None:
        """The process is gone: its streams break at once, and their gateways know."""
        engine = self.world.engines[instance]
        engine.settle(now)
        iteration = engine.iteration
        lost = [(_owner(run), run.produced(iteration)) for run in self.world.lose(instance)]
        self._due[instance] = inf
        for live, produced in lost:
            live.before += produced
            live.tried.add(instance)
            del self.world.live[live.request]
            self.routers[live.gateway].ended(now, live.request, instance, ok=False)
        for live, _ in lost:
            self._tell(now, live.gateway, instance, alive=False)
        for live, _ in lost:
            self._arrive(now, live)
        self._add(now + DETECT_S, self._detect, instance, False)
        self._add(now + DOWN_S, self._return, instance)

    def _return(self, now: float, instance: int) -> None:
        self.world.up[instance] = True
        self._add(now + DETECT_S, self._detect, instance, True)

    def _detect(self, now: float, instance: int, alive: bool) -> None:
        for gateway in range(len(self.routers)):
            self._tell(now, gateway, instance, alive=alive)


def _owner(run: Run) -> Live:
    assert isinstance(run.owner, Live)
    return run.owner
