"""What this gateway's traffic will need of the fleet, measured where requests ask for a place."""

import asyncio
import time
from collections.abc import Callable, Sequence

from gateway.admission.permits import Admission
from gateway.fleet.autoscaling import AutoscalingOptions, DemandForecast

PERIOD_S = 5.0
"""Between two looks at the arrivals."""
LEAST_REQUESTS = 0.01
"""Of a gateway that has been used lately: some instance is to be there, and gateways add theirs up."""


class Demand:
    """`run` keeps the forecast; the sum over all gateways is the fleet's."""

    def __init__(
        self,
        admission: Admission,
        *,
        stay_s: Callable[[], float],
        others: Sequence[Admission] = (),
        serves: Callable[[], bool] = lambda: True,
        works: Callable[[], bool] = lambda: False,
        idle_s: float = float("inf"),
        options: AutoscalingOptions | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """admission: of answers, whose arrivals are forecast. others: of what else wants an instance.

        stay_s: seconds that a request usually stays in an instance; serves: whether any instance does; works: whether something
        that no client waits for wants one, as files to be embedded; idle_s: seconds after which a gateway that nobody uses needs
        none; clock: monotonic seconds.
        """
        self._admission = admission
        self._all = (admission, *others)
        self._stay_s = stay_s
        self._serves, self._works = serves, works
        self._idle_s = idle_s
        self._options = options or AutoscalingOptions()
        self._forecast = DemandForecast(self._options)
        self._clock = clock
        self._asked = 0
        self._served = False
        self._used_at = float("-inf")
        self._lacking_since: float | None = None

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(PERIOD_S)

    def look(self) -> None:
        """Once."""
        now, serves = self._clock(), self._serves()
        self._forecast.observe(now, self._admission.asked)
        asked = sum(each.asked for each in self._all)
        # An instance that has just come is there for a reason, be it a person's.
        if asked != self._asked or self._in_use or (serves and not self._served):
            self._used_at = now
        self._asked, self._served = asked, serves
        if serves or not self._wanted:
            self._lacking_since = None
        elif self._lacking_since is None:
            self._lacking_since = now

    @property
    def _wanted(self) -> bool:
        """Whether something waits for an instance."""
        return any(each.waiting for each in self._all) or self._works()

    @property
    def _in_use(self) -> bool:
        return self._wanted or any(each.held for each in self._all)

    @property
    def lacking_s(self) -> float:
        """Seconds that something has been waiting while nothing serves; 0 while it does not."""
        return 0.0 if self._lacking_since is None else self._clock() - self._lacking_since

    @property
    def requests(self) -> float:
        """At the same time, when an instance that is started now would serve. 0 means that none is needed."""
        if not self._in_use and self._clock() - self._used_at >= self._idle_s:
            return 0.0
        forecast = self._forecast.demand(stay_s=self._stay_s(), waiting=self._admission.waiting)
        return max(LEAST_REQUESTS, forecast)

    def instances(self, slots: float) -> float:
        """The same in instances of so many slots (0: not known), filled as far as they should be; a fraction, to be added up, but
        not below 1 where something waits and nothing serves."""
        requests = self.requests
        found = requests / (slots * self._options.fill) if slots else min(1.0, requests)
        return max(1.0, found) if self._wanted and not self._serves() else found
