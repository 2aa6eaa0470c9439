"""Dynamo's KV router: blocks to prefill plus blocks to keep, the lowest wins.

`cost = prefill_scale·max(active_prefill + incoming − overlap, 0) + active_decode + incoming`, in blocks, with
prefill_scale = 1 and temperature 0. Charged at dispatch; the prefill part is released at the first token, the rest
at the end. The overlap comes from the workers' KV events: here the true cache, at once. Routers do not share their
counts (`router_replica_sync` is off by default).
"""

from random import Random

from benchmarks.routing.peers.base import Peer
from benchmarks.routing.traces import BLOCK, Request
from benchmarks.routing.world import World

PREFILL_SCALE = 1.0


class Dynamo(Peer):
    """Keeps prefill and decode blocks per worker."""

    def __init__(self, world: World, gateway: int, rng: Random) -> None:
        super().__init__(world, gateway, rng)
        self._prefill = [0.0] * len(world.engines)
        self._decode = [0.0] * len(world.engines)
        self._charged: dict[tuple[Request, int], float] = {}

    def choose(self, now: float, request: Request, candidates: list[int]) -> int:
        """The lowest cost."""
        prompt, keys = request.prompt.tokens, request.prompt.keys
        incoming = prompt / BLOCK
        engines = self.world.engines
        overlap = {i: engines[i].cached_tokens(prompt, keys) / BLOCK for i in candidates}

        def cost(i: int) -> float:
            return PREFILL_SCALE * max(self._prefill[i] + incoming - overlap[i], 0.0) + self._decode[i] + incoming

        chosen = self.least(candidates, cost)
        charge = incoming - overlap[chosen]
        self._prefill[chosen] += charge
        self._decode[chosen] += incoming
        self._charged[request, chosen] = charge
        return chosen

    def answered(self, now: float, request: Request, instance: int) -> None:
        """Its prefill is done."""
        self._prefill[instance] -= self._charged.pop((request, instance), 0.0)

    def ended(self, now: float, request: Request, instance: int, *, ok: bool) -> None:
        """Its blocks are free."""
        super().ended(now, request, instance, ok=ok)
        self._prefill[instance] -= self._charged.pop((request, instance), 0.0)
        self._decode[instance] -= request.prompt.tokens / BLOCK
