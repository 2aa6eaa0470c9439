"""Least loaded: the fewest requests, ours counted live and the others' from the last sample.

Cost: O(1) in large pools, by the order that is kept as requests come and go; ties are drawn at random. Rival: plain
least-requests on scraped metrics (Envoy, LiteLLM), which sends a whole scrape interval's arrivals to one instance.
It does not see that requests differ in size, nor any prefix cache.
"""

from random import Random

from gateway.routing.candidates import Candidates
from gateway.routing.instance_load import InstanceLoad
from gateway.routing.types import Choice, PlacementRequest


class LeastLoaded:
    """Where an instance's metrics are missing, all are compared by our own requests alone."""

    grain = 1.0

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def standing(self, account: InstanceLoad, now: float) -> float:
        """Requests in the instance."""
        return account.requests(now)

    def choose(self, candidates: Candidates, job: PlacementRequest) -> Choice | None:
        """The eligible instance with the fewest requests."""
        accounts = candidates.few(self._rng)
        if not accounts:
            return None
        lit = all(a.knows_queue for a in accounts)
        now = candidates.now
        counts = [a.requests(now) if lit else float(a.ours) for a in accounts]
        least = min(counts)
        best = [a for a, count in zip(accounts, counts, strict=True) if count - least < 0.5]
        account = best[int(self._rng.random() * len(best))]
        return Choice(account.instance, f"fewest requests: {least:.0f}" if lit else f"fewest of ours: {account.ours}")
