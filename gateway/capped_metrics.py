"""Prometheus's metrics with a bound on their series: labels may hold what others choose, such as names of tenants."""

from bisect import bisect_left
from typing import Any, Self

import prometheus_client

SERIES = 1000
"""Of one metric. A series costs about 1 KB here, a histogram's ten times that, and as much again in Prometheus."""
OTHER = "other"
OPEN = frozenset({"tenant", "tenant_class", "model", "instance", "gen_ai_request_model", "code"})
"""Labels with values that nobody knows beforehand; past the bound they are told as `other`."""


class _Capped(prometheus_client.metrics.MetricWrapperBase):
    def labels(self, *values: Any, **by_name: Any) -> Self:
        known = self._metrics.get(values)
        if known is not None:  # by far the most often, and prometheus_client takes a lock
            return known  # type: ignore[return-value]  # each is made by super().labels
        if by_name:
            values = tuple(by_name[name] for name in self._labelnames)
        if len(self._metrics) >= SERIES and tuple(map(str, values)) not in self._metrics:
            values = tuple(
                OTHER if name in OPEN else value for name, value in zip(self._labelnames, values, strict=True)
            )
        return super().labels(*values)


class CappedCounter(_Capped, prometheus_client.Counter):
    """See prometheus_client."""

    def inc(self, amount: float = 1, exemplar: dict[str, str] | None = None) -> None:
        """See prometheus_client, whose checks are three calls for each of a request's dozen counts."""
        if amount < 0 or exemplar is not None:
            super().inc(amount, exemplar)
        else:
            self._value.inc(amount)


class Gauge(_Capped, prometheus_client.Gauge):
    """See prometheus_client."""


class Histogram(_Capped, prometheus_client.Histogram):
    """See prometheus_client."""

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """See prometheus_client, which looks at the buckets one by one."""
        if exemplar is not None:
            super().observe(amount, exemplar)
        else:
            self._sum.inc(amount)
            self._buckets[bisect_left(self._upper_bounds, amount)].inc(1)
