"""smg's `least_load`: seconds of queued work, and a penalty for a full KV cache.

`score = (queued_tokens + inflight_tokens) / throughput + λ·k/(1−k)`, argmin; λ = 0.15 s, throughput 2,000 tokens/s,
k = KV use; inflight_tokens are those dispatched since the last poll. A worker without a sample is scored by all that
is in flight to it; with no sample at all, the shortest queue is joined.
"""

from random import Random

from benchmarks.routing.peers.base import Peer
from benchmarks.routing.router import Sample
from benchmarks.routing.traces import Request
from benchmarks.routing.world import World

THROUGHPUT = 2000.0
LAMBDA_S = 0.15


class Smg(Peer):
    """Tokens dispatched since the last poll are added to what it said."""

    def __init__(self, world: World, gateway: int, rng: Random) -> None:
        super().__init__(world, gateway, rng)
        self._since = [0] * len(world.engines)
        self._tokens = [0] * len(world.engines)

    def scraped(self, now: float, instance: int, sample: Sample) -> None:
        """A poll settles what was dispatched before it."""
        super().scraped(now, instance, sample)
        self._since[instance] = 0

    def choose(self, now: float, request: Request, candidates: list[int]) -> int:
        """By the formula."""
        if all(self.samples[i] is None for i in candidates):
            chosen = self.least(candidates, lambda i: self.in_flight[i])
        else:
            chosen = self.least(candidates, self._score)
        self._since[chosen] += request.prompt.tokens
        self._tokens[chosen] += request.prompt.tokens
        return chosen

    def _score(self, instance: int) -> float:
        sample = self.samples[instance]
        if sample is None:
            return self._tokens[instance] / THROUGHPUT
        k = min(sample.kv, 0.99)
        return (sample.queued_tokens + self._since[instance]) / THROUGHPUT + LAMBDA_S * k / (1 - k)

    def ended(self, now: float, request: Request, instance: int, *, ok: bool) -> None:
        """Its tokens are no longer in flight."""
        super().ended(now, request, instance, ok=ok)
        self._tokens[instance] -= request.prompt.tokens
