"""What the peers' routers share: who is alive, the last samples, the requests in flight."""

from collections.abc import Callable, Collection
from random import Random

from benchmarks.routing.router import Sample
from benchmarks.routing.traces import Request
from benchmarks.routing.world import World


class Peer:
    """A router that counts its own requests in flight. Subclasses choose."""

    def __init__(self, world: World, gateway: int, rng: Random) -> None:
        self.world = world
        self.rng = rng
        size = len(world.engines)
        self.up = [True] * size
        self.samples: list[Sample | None] = [None] * size
        self.in_flight = [0] * size

    def scraped(self, now: float, instance: int, sample: Sample) -> None:
        """Keep the last sample."""
        self.samples[instance] = sample

    def alive(self, now: float, instance: int, alive: bool) -> None:
        """Keep who is alive; what an absent one last said is dropped."""
        self.up[instance] = alive
        if not alive:
            self.samples[instance] = None

    def candidates(self, exclude: Collection[int]) -> list[int]:
        """Alive and not tried yet."""
        return [i for i, up in enumerate(self.up) if up and i not in exclude]

    def pick(self, now: float, request: Request, exclude: Collection[int]) -> int | None:
        """Choose among the candidates and count the dispatch."""
        candidates = self.candidates(exclude)
        if not candidates:
            return None
        chosen = self.choose(now, request, candidates)
        self.in_flight[chosen] += 1
        return chosen

    def choose(self, now: float, request: Request, candidates: list[int]) -> int:
        """The peer's formula."""
        raise AssertionError("a peer must choose")

    def answered(self, now: float, request: Request, instance: int) -> None:
        """The first token came."""

    def ended(self, now: float, request: Request, instance: int, *, ok: bool) -> None:
        """The dispatch is over."""
        self.in_flight[instance] -= 1

    def least(self, candidates: list[int], score: Callable[[int], float]) -> int:
        """The lowest score; ties at random."""
        scores = [score(i) for i in candidates]
        low = min(scores)
        ties = [i for i, s in zip(candidates, scores, strict=True) if s <= low]
        return ties[int(self.rng.random() * len(ties))] if len(ties) > 1 else ties[0]
