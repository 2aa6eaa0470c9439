"""Who decides how many instances there are: ours, and what is published, written from its documents.

- HPA: desired = ⌈instances × value / target⌉, no change within 10 % of the target, a look each 15 s, at most doubled (or 4 more)
  in 15 s, down to the highest of the last 300 s (kubernetes.io, "Horizontal Pod Autoscaling").
- KEDA: the same by HPA with a queue's sum over its target for each instance; polled each 30 s (keda.sh, "Scaling Deployments").
- Dynamo's planner, throughput mode: each adjustment interval (180 s; also tried at 60 s) the load of the next one is predicted
  (its predictor "constant": as in the last one; ARIMA, Kalman and Prophet are not written here), and instances =
  ⌈tokens / interval / an instance's profiled throughput⌉ (docs.nvidia.com/dynamo, "Planner Design").
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Protocol

from gateway.fleet.autoscaling import Autoscaler, AutoscalingOptions, DemandForecast


@dataclass(frozen=True, slots=True)
class Sight:
    """What a policy may look at."""

    now: float
    arrivals: int
    """In all."""
    tokens: int
    """Of those: the answers' tokens that were given by now."""
    inside: int
    """Requests in instances."""
    waiting: int
    instances: int
    """That serve or start."""
    stay_s: float
    """That a request stayed in an instance, on average of late."""
    slots: int


class Policy(Protocol):
    """Asked each `period_s`."""

    period_s: float

    def wanted(self, sight: Sight) -> int:
        """Instances."""


class Ours:
    """gateway.fleet.autoscaling."""

    period_s = 5.0

    def __init__(self, options: AutoscalingOptions, *, most: int) -> None:
        self._forecast = DemandForecast(options)
        self._scaler = Autoscaler(options, least=1, most=most)

    def wanted(self, sight: Sight) -> int:
        self._forecast.observe(sight.now, sight.arrivals)
        demand = self._forecast.demand(stay_s=sight.stay_s, waiting=sight.waiting)
        return self._scaler.instances(sight.now, demand, sight.slots)


class Hpa:
    """On a value that is summed over the fleet, with a target for each instance."""

    def __init__(
        self,
        value: Callable[[Sight], float],
        target: float,
        *,
        most: int,
        period_s: float = 15.0,
        down_s: float = 300.0,
    ) -> None:
        self.period_s = period_s
        self._value, self._target, self._most, self._down_s = value, target, most, down_s
        self._asked: deque[tuple[float, int]] = deque()

    def wanted(self, sight: Sight) -> int:
        ratio = self._value(sight) / (sight.instances * self._target)
        desired = sight.instances if abs(ratio - 1) <= 0.1 else ceil(sight.instances * ratio - 1e-9)
        desired = min(desired, max(2 * sight.instances, sight.instances + 4), self._most)
        desired = max(1, desired)
        self._asked.append((sight.now, desired))
        while self._asked[0][0] < sight.now - self._down_s:
            self._asked.popleft()
        return max(each for _, each in self._asked) if desired < sight.instances else desired


class Dynamo:
    """The planner with the constant predictor. capacity: answer tokens a second of one instance within the SLO."""

    def __init__(self, capacity: float, *, most: int, period_s: float) -> None:
        self.period_s = period_s
        self._capacity, self._most = capacity, most
        self._before = (0, 0)

    def wanted(self, sight: Sight) -> int:
        requests, tokens = sight.arrivals - self._before[0], sight.tokens - self._before[1]
        self._before = (sight.arrivals, sight.tokens)
        if not tokens:
            return sight.instances
        return min(self._most, max(1, ceil(tokens / self.period_s / self._capacity))) if requests else 1


def all_policies(most: int, slots: int) -> dict[str, Callable[[], Policy]]:
    """By name; of those with a target several, of which the best counts."""
    found: dict[str, Callable[[], Policy]] = {"ours": lambda: Ours(AutoscalingOptions(), most=most)}
    for target in (1, 2, 4):
        found[f"HPA on waiting requests, {target}"] = lambda t=target: Hpa(lambda s: s.waiting, t, most=most)  # type: ignore[misc]
    for share in (0.5, 0.65, 0.8):
        found[f"KEDA on requests, {share:.0%} of slots"] = lambda s=share: Hpa(  # type: ignore[misc]
            lambda sight: sight.inside + sight.waiting, s * slots, most=most, period_s=30.0
        )
    for period in (60.0, 180.0):
        for capacity in (350.0, 450.0, 550.0):
            found[f"Dynamo's planner, {period:.0f} s, {capacity:.0f} tokens/s"] = lambda c=capacity, p=period: Dynamo(  # type: ignore[misc]
                c, most=most, period_s=p
            )
    return found
