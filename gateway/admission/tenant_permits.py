"""Places of one gate for tenants: at each one's weight and priority, within a deadline; refusals are counted."""

from gateway.admission.permits import Admission, Permit
from gateway.admission.presence import Presence
from gateway.errors import Overloaded
from gateway.metrics import Metrics
from gateway.tenants.tenant import Tenant


class TenantPermits:
    """Answers have a gate, and what clients search and embed has another: neither waits for the other's.

    deadline_s: how long a place is waited for. presence: is told who asks, and of the gate.
    """

    def __init__(self, admission: Admission, deadline_s: float, metrics: Metrics, presence: Presence) -> None:
        presence.gates.append(admission)
        self._admission = admission
        self._presence = presence
        self._deadline_s = deadline_s
        self._metrics = metrics

    async def admit(self, tenant: Tenant, *, cost: float = 1.0, size: int = 0) -> Permit:
        """A place, after a fair wait. cost: what the tenant's share is charged with, in the same unit for all that use this gate.
        size: bytes that the request holds meanwhile. Raises Overloaded; the permit is to be released on every path."""
        try:
            return await self._acquire(tenant, cost, size)
        except Overloaded:
            self._metrics.refused.labels(tenant.name).inc()
            raise

    async def admit_further(self, tenant: Tenant, *, cost: float) -> Permit | None:
        """One more place for a request that has one. None where it would be refused, which refuses nobody."""
        try:
            return await self._acquire(tenant, cost)
        except Overloaded:
            return None

    async def _acquire(self, tenant: Tenant, cost: float, size: int = 0) -> Permit:
        self._presence.seen(tenant.name)
        return await self._admission.acquire(
            tenant.name,
            weight=tenant.weight,
            priority=tenant.priority,
            deadline_s=self._deadline_s,
            cost=cost,
            size=size,
        )
