"""Instances that come and go under a trace: the engines are those of benchmarks/routing, each request goes to the emptiest."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from math import inf
from random import Random

from benchmarks.autoscaling.policies import Policy, Sight
from benchmarks.autoscaling.traffic import Asked
from benchmarks.routing.engine import Engine, Run
from llm_engine.scheduler import Spec

START_S = 45.0
"""From the decision until an instance serves."""
SLO_TTFT_S = 2.0
SLO_TOKEN_S = 0.05
STAYS = 200
"""Requests over which the mean stay is taken."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one run."""

    requests: int
    good: int
    """Within the SLO."""
    instance_hours: float
    """From each instance's start to its end."""

    @property
    def goodput(self) -> float:
        """Good requests for each instance-hour."""
        return self.good / self.instance_hours


class _Instance:
    __slots__ = ("began", "draining", "due", "engine", "serves")

    def __init__(self, now: float, *, serves: bool) -> None:
        self.engine = Engine(Spec(max_context=16384))
        self.began, self.serves, self.draining, self.due = now, serves, False, inf

    @property
    def inside(self) -> int:
        return self.engine.active + len(self.engine.waiting)


class _Owner:
    __slots__ = ("asked", "first_at", "sent_at")

    def __init__(self, asked: Asked) -> None:
        self.asked, self.first_at, self.sent_at = asked, -1.0, -1.0


class Simulation:
    """One trace through one policy, beginning with one instance."""

    def __init__(self, trace: Sequence[Asked], policy: Policy) -> None:
        self._trace, self._policy = trace, policy
        self._rng = Random(1)
        self._serial = count()
        self._events: list[tuple[float, int, str, object]] = []
        self._instances = [_Instance(0.0, serves=True)]
        self._waiting: deque[_Owner] = deque()
        self._stays: deque[float] = deque([3.0], maxlen=STAYS)
        self._arrived = self._ended = self._good = self._tokens = 0
        self._hours = 0.0

    def run(self) -> Outcome:
        """Until every request has ended."""
        for asked in self._trace:
            self._add(asked.at, "ask", _Owner(asked))
        self._add(0.0, "look", None)
        now = 0.0
        while self._ended < len(self._trace):
            now, _, what, subject = heappop(self._events)
            if what == "ask":
                self._arrived += 1
                assert isinstance(subject, _Owner)
                self._waiting.append(subject)
                self._dispatch(now)
            elif what == "look":
                self._look(now)
            else:
                assert isinstance(subject, _Instance)
                (self._ready if what == "ready" else self._fire)(now, subject)
        self._hours += sum(now - each.began for each in self._instances) / 3600
        return Outcome(len(self._trace), self._good, self._hours)

    def _add(self, at: float, what: str, subject: object) -> None:
        heappush(self._events, (at, next(self._serial), what, subject))

    def _dispatch(self, now: float) -> None:
        while self._waiting:
            open_ones = [each for each in self._instances if each.serves and not each.draining]
            least = min(open_ones, key=lambda each: each.inside, default=None)
            if least is None or least.inside >= least.engine.spec.slots:
                return
            owner = self._waiting.popleft()
            owner.sent_at = now
            asked = owner.asked
            keys = [self._rng.getrandbits(60) for _ in range(asked.prompt // 32)]
            least.engine.submit(now, Run(owner, asked.prompt, asked.answer, asked.answer, keys, keys))
            self._wake(least)

    def _wake(self, instance: _Instance) -> None:
        due = instance.engine.next_event()
        if due != instance.due:
            instance.due = due
            if due != inf:
                self._add(due, "fire", instance)

    def _fire(self, now: float, instance: _Instance) -> None:
        if now != instance.due:
            return
        instance.due = inf
        started, ended = instance.engine.fire(now)
        for run in started:
            assert isinstance(run.owner, _Owner)
            run.owner.first_at = now
        for run in ended:
            owner = run.owner
            assert isinstance(owner, _Owner)
            asked = owner.asked
            self._ended += 1
            self._tokens += asked.answer
            self._stays.append(now - owner.sent_at)
            in_time = owner.first_at - asked.at <= SLO_TTFT_S
            self._good += in_time and now - owner.first_at <= SLO_TOKEN_S * max(asked.answer - 1, 1)
        self._wake(instance)
        if instance.draining and not instance.inside:
            self._leave(now, instance)
        self._dispatch(now)

    def _look(self, now: float) -> None:
        kept = [each for each in self._instances if not each.draining]
        sight = Sight(
            now,
            self._arrived,
            self._tokens,
            sum(each.inside for each in self._instances),
            len(self._waiting),
            len(kept),
            sum(self._stays) / len(self._stays),
            kept[0].engine.spec.slots,
        )
        wanted = self._policy.wanted(sight)
        for _ in range(wanted - len(kept)):
            made = _Instance(now, serves=False)
            self._instances.append(made)
            self._add(now + START_S, "ready", made)
        # Those that do not serve yet go first, then the emptiest.
        for instance in sorted(kept, key=lambda each: (each.serves, each.inside))[: max(0, len(kept) - wanted)]:
            instance.draining = True
            if not instance.inside:
                self._leave(now, instance)
        self._add(now + self._policy.period_s, "look", None)

    def _ready(self, now: float, instance: _Instance) -> None:
        instance.serves = True
        self._dispatch(now)

    def _leave(self, now: float, instance: _Instance) -> None:
        self._instances.remove(instance)
        self._hours += (now - instance.began) / 3600
