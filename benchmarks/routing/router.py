"""What the simulation asks of whoever places requests: one gateway's worth of decisions and what it gets to know."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from benchmarks.routing.engine import Engine
from benchmarks.routing.traces import Request


@dataclass(frozen=True, slots=True)
class Sample:
    """One scrape of an instance: the metrics that the engines publish."""

    at: float
    waiting: int
    running: int
    queued_tokens: int
    """Prompt tokens of the waiting ones (SGLang's load endpoint has it; `nv_trt_llm_*` has not)."""
    kv_used: int
    kv_max: int
    block_tokens: int

    @property
    def kv(self) -> float:
        """KV use, 0–1."""
        return self.kv_used / self.kv_max


def sample(engine: Engine, now: float) -> Sample:
    """Scrape an instance."""
    spec = engine.spec
    return Sample(
        at=now,
        waiting=len(engine.waiting),
        running=engine.active,
        queued_tokens=sum(run.prompt for run in engine.waiting),
        kv_used=engine.pool.used,
        kv_max=spec.kv_blocks,
        block_tokens=spec.tokens_per_block,
    )


class Router(Protocol):
    """One gateway's placement. Instances are numbers; `alive` tells which may be chosen."""

    def scraped(self, now: float, instance: int, sample: Sample) -> None:
        """A scrape of the instance was answered."""

    def alive(self, now: float, instance: int, alive: bool) -> None:
        """The instance joined or left the fleet, as far as this gateway knows."""

    def pick(self, now: float, request: Request, exclude: Collection[int]) -> int | None:
        """Choose, and count the dispatch. None: nobody left."""

    def answered(self, now: float, request: Request, instance: int) -> None:
        """The first token of a dispatch came."""

    def ended(self, now: float, request: Request, instance: int, *, ok: bool) -> None:
        """A dispatch is over."""
