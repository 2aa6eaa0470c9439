"""Places for what clients search and embed, apart from those of answers: neither waits for the other's.

A place is taken for each call of a model, not for each request: a request with a thousand texts takes turns with the others',
and the bound is one on what waits at the instances, where the questions of chats want to be embedded, too.
"""

import time

from gateway.admission import Admission, Permit
from gateway.config import Settings
from gateway.errors import Overloaded
from gateway.fleet.store import FleetStore
from gateway.metrics import Metrics
from gateway.tenants.tenant import Tenant


class RetrievalAdmission:
    """`settings.retrieval_places` at each serving instance, shared fairly between tenants. One for the application's life."""

    def __init__(self, settings: Settings, store: FleetStore, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self.admission = Admission(
            lambda: settings.retrieval_places * len(store.view.serving), time.monotonic, limit=settings.retrieval_queue
        )
        store.subscribe(lambda _: self.admission.refresh())

    async def admit(self, tenant: Tenant) -> Permit:
        """A place for one call, after a fair wait. Raises Overloaded; the permit is to be released on every path."""
        return await place_for(tenant, self.admission, self._settings.admission_deadline_s, self._metrics)


async def place_for(tenant: Tenant, admission: Admission, deadline_s: float, metrics: Metrics) -> Permit:
    """A place of one gate for a tenant, at its weight and priority; a refusal is counted. Raises Overloaded."""
    try:
        return await admission.acquire(
            tenant.name, weight=tenant.weight, priority=tenant.priority, deadline_s=deadline_s
        )
    except Overloaded:
        metrics.refused.labels(tenant.name).inc()
        raise
