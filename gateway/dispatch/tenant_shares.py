"""How much of the fleet one tenant may have, so that a newcomer is served at once beside the others' answers."""

import sys
from math import ceil

from gateway.admission.presence import Presence
from gateway.config import Settings
from gateway.fleet.fleet_state import FleetState
from gateway.fleet.models import ServedModels
from gateway.routing import Placer
from gateway.tenants.directory import Directory


class TenantShares:
    """The bounds of an `Admission`, as they are now. With a single tenant there are none: there is nobody to wait behind."""

    def __init__(
        self, settings: Settings, tenants: Directory, store: FleetState, models: ServedModels, placer: Placer
    ) -> None:
        self.presence = Presence()
        """To be told who asks, and where."""
        self._searches = settings.retrieval_places * settings.retrieval_tenant_share
        self._reserve = settings.admission_reserve
        self._prefill = settings.admission_prefill
        self._tenants = tenants
        self._store = store
        self._models = models
        self._placer = placer

    def answers(self) -> int | None:
        """Answers that one tenant may have at a time: some engine slots stay free for whoever else comes."""
        if not self._tenants.several:
            return None
        return int(self._models.slots * (1 - self._reserve))

    def reserve(self) -> float:
        """Of any places, what is left free for a tenant that has none yet."""
        return self._reserve if self._tenants.several else 0.0

    def searches(self) -> int | None:
        """Searches, or passes of embeddings, of one tenant at a time while another one is there: an instance computes them on
        the processors that its answers need. They are short, so that there need not be room for whoever has yet to come."""
        if not self.presence.several:
            return None
        return max(1, round(self._searches * len(self._store.view.serving)))

    def free_slots(self) -> int:
        """Engine slots for this gateway's answers."""
        slots, averages = self._models.slots, self._placer.averages
        if not slots or not self._tenants.several:
            return sys.maxsize
        # What the samples show beyond ours is other gateways', or was ours and is being cancelled. Where that leaves nothing, we
        # take turns with the other gateways in the engines' queues.
        others = max(0, averages.sampled_total - averages.sampled_ours)
        return max(slots - others, ceil(slots * self._reserve), 1)

    def prefills(self) -> int | None:
        """Prompts of one tenant that are read at a time: a newcomer's would wait for all of them."""
        if not self._prefill or not self._tenants.several:
            return None
        return max(len(self._store.view.serving), int(self._models.slots * self._prefill))
