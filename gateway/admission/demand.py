"""What this gateway's traffic will need of the fleet, measured where requests ask for a place."""

import asyncio
import time
from collections.abc import Callable

from gateway.admission.permits import Admission
from gateway.fleet.autoscaling import AutoscalingOptions, DemandForecast

PERIOD_S = 5.0
"""Between two looks at the arrivals."""


class Demand:
    """`run` keeps the forecast; the sum over all gateways is the fleet's."""

    def __init__(
        self,
        admission: Admission,
        *,
        stay_s: Callable[[], float],
        options: AutoscalingOptions | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """stay_s: seconds that a request usually stays in an instance. clock: monotonic seconds."""
        self._admission = admission
        self._stay_s = stay_s
        self._options = options or AutoscalingOptions()
        self._forecast = DemandForecast(self._options)
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(PERIOD_S)

    def look(self) -> None:
        """Once."""
        self._forecast.observe(self._clock(), self._admission.asked)

    @property
    def requests(self) -> float:
        """At the same time, when an instance that is started now would serve."""
        return self._forecast.demand(stay_s=self._stay_s(), waiting=self._admission.waiting)

    def instances(self, slots: float) -> float:
        """The same in instances of so many slots, filled as far as they should be; a fraction, to be added up."""
        return self.requests / (max(1.0, slots) * self._options.fill)
