"""llm-d's endpoint picker (EPP): a weighted sum of scores between 0 and 1, the highest wins.

Weights: queue 2, KV 2, prefix 3; `queue = (max − q)/(max − min)` over the scraped waiting queues, 1 for all when they
are equal; `kv = 1 − usage`; `prefix = matched/total` blocks by an index of what this picker sent (31,250 blocks of 64
characters a worker and 256 blocks of a prompt, which is half as many of our 32-token blocks). It keeps no count of
its own in flight.
"""

from random import Random

from benchmarks.routing.peers.base import Peer
from benchmarks.routing.peers.tree import PrefixTree
from benchmarks.routing.traces import Request
from benchmarks.routing.world import World

QUEUE, KV, PREFIX = 2.0, 2.0, 3.0
BOUND = 31_250 // 2
LONGEST = 256 // 2


class Epp(Peer):
    """The metrics are those of the last scrape."""

    def __init__(self, world: World, gateway: int, rng: Random) -> None:
        super().__init__(world, gateway, rng)
        self._tree = PrefixTree(len(world.engines), BOUND)

    def choose(self, now: float, request: Request, candidates: list[int]) -> int:
        """The highest weighted score."""
        queues = {i: s.waiting if (s := self.samples[i]) else 0 for i in candidates}
        most, fewest = max(queues.values()), min(queues.values())
        keys = request.prompt.keys[:LONGEST]
        depths = self._tree.depths(keys, LONGEST)
        total = max(len(keys), 1)

        def score(i: int) -> float:
            sample = self.samples[i]
            queue = (most - queues[i]) / (most - fewest) if most > fewest else 1.0
            kv = 1 - sample.kv if sample else 0.0
            return -(QUEUE * queue + KV * kv + PREFIX * depths.get(i, 0) / total)

        chosen = self.least(candidates, score)
        self._tree.add(chosen, keys)
        return chosen

    def alive(self, now: float, instance: int, alive: bool) -> None:
        """A worker that leaves is taken out of the index."""
        super().alive(now, instance, alive)
        if not alive:
            self._tree.remove(instance)
