"""The classics: round robin, least requests, power of two choices."""

from random import Random

from benchmarks.routing.peers.base import Peer
from benchmarks.routing.traces import Request
from benchmarks.routing.world import World


class RoundRobin(Peer):
    """The next one, whatever it carries (every proxy's default). Each gateway starts somewhere else."""

    def __init__(self, world: World, gateway: int, rng: Random) -> None:
        super().__init__(world, gateway, rng)
        self._next = rng.randrange(len(world.engines))

    def choose(self, now: float, request: Request, candidates: list[int]) -> int:
        """The next candidate in turn."""
        self._next += 1
        return candidates[self._next % len(candidates)]


class LeastRequests(Peer):
    """The fewest requests of this gateway in flight (LiteLLM's least-busy, Envoy's full scan)."""

    def choose(self, now: float, request: Request, candidates: list[int]) -> int:
        """By the gateway's own count."""
        return self.least(candidates, lambda i: self.in_flight[i])


class PowerOfTwo(Peer):
    """Of two at random, the one with less load; like for like: own counts where either has no sample (vllm-router)."""

    def choose(self, now: float, request: Request, candidates: list[int]) -> int:
        """Load: what the samples say is in the instance, and what was sent since is not known."""
        if len(candidates) == 1:
            return candidates[0]
        one, two = self.rng.sample(candidates, 2)
        first, second = self.samples[one], self.samples[two]
        if first is None or second is None:
            return one if self.in_flight[one] <= self.in_flight[two] else two
        return one if first.waiting + first.running <= second.waiting + second.running else two
