"""What every policy is: a choice among candidates, with its reason."""

from typing import Protocol

from gateway.routing.candidates import Candidates
from gateway.routing.instance_load import InstanceLoad
from gateway.routing.types import Choice, PlacementRequest


class Policy(Protocol):
    """Pure: no I/O, no clock, no metrics. Time comes with the candidates, randomness with the constructor."""

    @property
    def grain(self) -> float:
        """Width of a bucket of the pool's order, in the unit of `standing`; differences below it do not matter."""

    def standing(self, account: InstanceLoad, now: float) -> float:
        """How loaded an account is before any job: what a large pool is ordered by."""

    def choose(self, candidates: Candidates, job: PlacementRequest) -> Choice | None:
        """The instance for the job and why; None when no candidate is eligible."""
