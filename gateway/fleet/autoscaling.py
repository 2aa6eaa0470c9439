"""How many instances the traffic will need when one that is started now can serve. Pure: the time is an argument.

Requests in service are arrivals × the time that each stays (Little's law). Arrivals are forecast by Holt's linear method (level
and trend, each with a time constant) to the moment at which a new instance would be ready; what chance adds is covered by the
square root of it (square-root staffing: S. Halfin and W. Whitt, "Heavy-Traffic Limits for Queues with Many Exponential Servers",
1981). What waits already is to be gone within the same time.
"""

from collections import deque
from dataclasses import dataclass
from math import ceil, exp, sqrt


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoscalingOptions:
    """How careful it is."""

    start_s: float = 45.0
    """Seconds from the decision for an instance until it serves."""
    level_s: float = 40.0
    """Time constant of the rate of arrivals. Lower: quicker, and more shaken by chance."""
    trend_s: float = 120.0
    """Time constant of its change."""
    deviations: float = 1.0
    """Of the square root, so many are held ready. More: fewer requests that wait, more instances."""
    fill: float = 0.85
    """Share of an instance's slots that may be in use on average."""
    hold_s: float = 60.0
    """An instance is given back when it was not needed for so long."""


class DemandForecast:
    """Requests in service at the same time, as they will be."""

    def __init__(self, options: AutoscalingOptions) -> None:
        self._options = options
        self._at: float | None = None
        self._arrivals = 0.0
        self._rate = 0.0
        self._trend = 0.0
        self._primed = 0.0
        """Seconds that were seen so far."""

    def observe(self, now: float, arrivals: float) -> None:
        """So many requests came by `now` (monotonic seconds), in all."""
        options = self._options
        if self._at is None:
            self._at, self._arrivals = now, arrivals
            return
        passed = now - self._at
        if passed <= 0:
            return
        rate = max(0.0, arrivals - self._arrivals) / passed
        self._at, self._arrivals = now, arrivals
        # In the beginning the mean of what was seen, so that it does not begin at zero.
        self._primed += passed
        gain = max(1 - exp(-passed / options.level_s), passed / self._primed)
        before = self._rate
        self._rate += self._trend * passed * (self._primed > passed)
        self._rate = max(0.0, self._rate + gain * (rate - self._rate))
        if self._primed > options.level_s:
            slope = (self._rate - before) / passed
            self._trend += (1 - exp(-passed / options.trend_s)) * (slope - self._trend)

    def demand(self, *, stay_s: float, waiting: float) -> float:
        """Requests at the same time when an instance that is started now serves. stay_s: seconds that one stays in an instance;
        waiting: those that wait for a place now."""
        options = self._options
        rate = max(0.0, self._rate + max(0.0, self._trend) * options.start_s)
        steady = rate * stay_s
        return steady + options.deviations * sqrt(steady) + waiting * stay_s / options.start_s


class Autoscaler:
    """From demand to a number of instances, with a memory: down only when less was needed for `hold_s`."""

    def __init__(self, options: AutoscalingOptions, *, least: int, most: int) -> None:
        """least: 0 lets the fleet rest where there is no demand at all."""
        self._options = options
        self._least, self._most = least, most
        self._wanted: deque[tuple[float, int]] = deque()

    def begin(self, now: float, present: int) -> None:
        """So many are there: they stay for `hold_s` at the least."""
        self._wanted.append((now, min(self._most, present)))

    def instances(self, now: float, demand: float, slots: float) -> int:
        """How many there should be. slots: of one instance; 0: not known, and one will tell."""
        wanted = ceil(demand / max(1.0, slots * self._options.fill) - 1e-9) if slots else 0
        wanted = min(self._most, max(self._least, wanted, int(demand > 0)))
        self._wanted.append((now, wanted))
        while self._wanted[0][0] < now - self._options.hold_s:
            self._wanted.popleft()
        return max(each for _, each in self._wanted)
