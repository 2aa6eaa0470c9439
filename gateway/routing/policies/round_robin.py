"""Round robin: the next instance of the pool, whatever it carries.

Cost: O(1). Rival: none; it is the baseline. It is fair in requests and blind to their size, to slow instances and
to every cache, so it loses wherever requests or instances differ.
"""

from random import Random

from gateway.routing.candidates import Candidates
from gateway.routing.instance_load import InstanceLoad
from gateway.routing.types import Choice, PlacementRequest


class RoundRobin:
    """Starts at a random position, so that several gateways do not march in step."""

    grain = 1.0

    def __init__(self, rng: Random) -> None:
        self._next = rng.randrange(1 << 30)

    def standing(self, account: InstanceLoad, now: float) -> float:
        """Every account is alike."""
        return 0.0

    def choose(self, candidates: Candidates, job: PlacementRequest) -> Choice | None:
        """The next eligible instance."""
        account = candidates.at(self._next)
        self._next += 1
        return Choice(account.instance, "next in turn") if account else None
