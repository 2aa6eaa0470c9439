"""Power of two choices: two eligible instances at random, the less loaded of them.

Cost: O(1). Rival: least loaded, which is better with fresh metrics and herds with stale ones; two random choices
keep the gateways apart whatever the age (Mitzenmacher 2001). Like for like: if either sample lacks the counts, both
are compared by our own requests.
"""

from random import Random

from gateway.routing.candidates import Candidates
from gateway.routing.instance_load import InstanceLoad
from gateway.routing.types import Choice, PlacementRequest


class PowerOfTwo:
    """Counts requests as `LeastLoaded` does."""

    grain = 1.0

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def standing(self, account: InstanceLoad, now: float) -> float:
        """Every account is alike: nothing is read from the order."""
        return 0.0

    def choose(self, candidates: Candidates, job: PlacementRequest) -> Choice | None:
        """The less loaded of two."""
        one = candidates.one(self._rng)
        if one is None:
            return None
        two = candidates.one(self._rng, but=one)
        if two is None:
            return Choice(one.instance, "the only one")
        lit = one.knows_queue and two.knows_queue
        now = candidates.now
        first, second = (one.requests(now), two.requests(now)) if lit else (float(one.ours), float(two.ours))
        if second < first:
            one, two, first, second = two, one, second, first
        return Choice(one.instance, f"{first:.0f} requests against {second:.0f} at {two.name}")
