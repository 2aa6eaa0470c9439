"""Random: any eligible instance, each with the same chance.

Cost: O(1). Rival: round robin, which is more even; random needs no state and never herds.
"""

from random import Random

from gateway.routing.candidates import Candidates
from gateway.routing.instance_load import InstanceLoad
from gateway.routing.types import Choice, PlacementRequest


class RandomChoice:
    """Draws with the candidates' generator."""

    grain = 1.0

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def standing(self, account: InstanceLoad, now: float) -> float:
        """Every account is alike."""
        return 0.0

    def choose(self, candidates: Candidates, job: PlacementRequest) -> Choice | None:
        """One eligible instance."""
        account = candidates.one(self._rng)
        return Choice(account.instance, "drawn at random") if account else None
