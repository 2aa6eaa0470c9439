"""The instances and the time: what an oracle may look at, and no other router."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.routing.engine import Engine, Run
from benchmarks.routing.traces import Request
from llm_engine.scheduler import Spec


@dataclass(slots=True, eq=False)
class Live:
    """A request on its way."""

    request: Request
    gateway: int
    instance: int = -1
    first_at: float = -1.0
    attempts: int = 0
    before: int = 0
    """Answer tokens given by instances that were lost."""
    cached: int = 0
    tried: set[int] = field(default_factory=set)
    run: Run | None = None


class World:
    """Who is there, in which state, at what time."""

    def __init__(self, specs: Sequence[Spec]) -> None:
        self.engines = [Engine(spec) for spec in specs]
        self.up = [True] * len(specs)
        self.now = 0.0
        self.live: dict[Request, Live] = {}
        """Dispatched and not ended."""

    def lose(self, instance: int) -> list[Run]:
        """The process of an instance dies: everything in it is lost, the cache too."""
        engine = self.engines[instance]
        lost = engine.everyone()
        self.engines[instance] = Engine(engine.spec)
        self.up[instance] = False
        return lost

    def produced(self, request: Request) -> int:
        """Answer tokens that the gateway has streamed of this dispatch so far."""
        live = self.live[request]
        assert live.run is not None
        engine = self.engines[live.instance]
        engine.settle(self.now)
        return live.run.produced(engine.iteration)
