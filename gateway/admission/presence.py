"""Which tenants are there: one has the fleet to itself only while nobody else has asked for anything lately."""

import time
from collections.abc import Callable

from gateway.admission.permits import Admission

STAYS_S = 30.0
"""For so long after its last request a tenant is still there: who asks now and then shall not find the places taken each time."""


class Presence:
    """Told of each request for a place. Costs the same whatever the number of tenants. clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.gates: list[Admission] = []
        """Who holds a place in one of them, or waits for it, is there, too. They are refreshed when a second tenant comes."""
        self._clock = clock
        self._latest, self._latest_at = "", float("-inf")
        self._before_at = float("-inf")
        """When somebody else than the latest tenant has asked last."""

    def seen(self, tenant: str) -> None:
        """It asks for something."""
        now = self._clock()
        if tenant == self._latest:
            self._latest_at = now
            return
        since = now - STAYS_S
        second = self._latest_at >= since > self._before_at
        self._before_at, self._latest, self._latest_at = self._latest_at, tenant, now
        if second:
            for gate in self.gates:
                gate.refresh()

    @property
    def several(self) -> bool:
        """Whether more than one tenant is there."""
        if self._before_at >= self._clock() - STAYS_S:
            return True
        return len({tenant for gate in self.gates for tenant in gate.tenants}) > 1
