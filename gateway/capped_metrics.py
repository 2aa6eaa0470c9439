"""Prometheus's metrics with a bound on their series: labels may hold what others choose, such as names of tenants."""

from typing import Any, Self, cast

import prometheus_client

SERIES = 1000
"""Of one metric. A series costs about 1 KB here, a histogram's ten times that, and as much again in Prometheus."""
OTHER = "other"
OPEN = frozenset({"tenant", "tenant_class", "model", "instance", "gen_ai_request_model", "code"})
"""Labels with values that nobody knows beforehand; past the bound they are told as `other`."""


class _Capped(prometheus_client.metrics.MetricWrapperBase):
    def labels(self, *values: Any, **by_name: Any) -> Self:
        if (
            known := self._metrics.get(values)
        ) is not None:  # by far the most often, and prometheus_client takes a lock
            return cast("Self", known)
        if by_name:
            values = tuple(by_name[name] for name in self._labelnames)
        if len(self._metrics) >= SERIES and tuple(map(str, values)) not in self._metrics:
            values = tuple(
                OTHER if name in OPEN else value for name, value in zip(self._labelnames, values, strict=True)
            )
        return super().labels(*values)


class Counter(_Capped, prometheus_client.Counter):
    """See prometheus_client."""


class Gauge(_Capped, prometheus_client.Gauge):
    """See prometheus_client."""


class Histogram(_Capped, prometheus_client.Histogram):
    """See prometheus_client."""
