"""SGLang's `cache_aware`: the worker that saw most of the prompt, unless the fleet is out of balance.

Out of balance when `max − min > 64` and `max > 1.5·min` of the gateway's own requests in flight: then the shortest
queue. Otherwise the worker with the longest match in an approximate prefix tree if the match is over 0.3 of the
prompt, else the worker with the smallest tree. The tree's bound (2^26 characters) is not reached here.
"""

from random import Random

from benchmarks.routing.peers.base import Peer
from benchmarks.routing.peers.tree import PrefixTree
from benchmarks.routing.traces import BLOCK, Request
from benchmarks.routing.world import World

THRESHOLD = 0.3
BALANCE_ABSOLUTE = 64
BALANCE_RELATIVE = 1.5


class Sglang(Peer):
    """One tree per gateway, of what it sent itself."""

    def __init__(self, world: World, gateway: int, rng: Random) -> None:
        super().__init__(world, gateway, rng)
        self._tree = PrefixTree(len(world.engines))

    def choose(self, now: float, request: Request, candidates: list[int]) -> int:
        """Affinity within balance."""
        loads = [self.in_flight[i] for i in candidates]
        most, fewest = max(loads), min(loads)
        keys = request.prompt.keys
        if most - fewest > BALANCE_ABSOLUTE and most > BALANCE_RELATIVE * fewest:
            chosen = self.least(candidates, lambda i: self.in_flight[i])
        else:
            depth, holders = self._tree.deepest(keys, set(candidates))
            if holders and depth * BLOCK > THRESHOLD * request.prompt.tokens:
                chosen = self.rng.choice(holders)
            else:
                chosen = self.least(candidates, lambda i: self._tree.size[i])
        self._tree.add(chosen, keys)
        return chosen

    def alive(self, now: float, instance: int, alive: bool) -> None:
        """A worker that leaves is taken out of the tree."""
        super().alive(now, instance, alive)
        if not alive:
            self._tree.remove(instance)
