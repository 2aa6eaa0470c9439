"""Short calls of idempotent models: repeated where they fail, doubled where they are slow.

A failed attempt goes to another instance, and a slow one is hedged: past the delay within which most calls answer, a second
instance is asked, and the first answer wins.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from gateway.config import Settings
from gateway.errors import Unavailable
from gateway.metrics import Metrics
from gateway.serving.engines import Engines, Placed, exhausted
from gateway.triton.connection import Pool
from gateway.triton.errors import InstanceError
from gateway.triton.infer import Tensor, infer

T = TypeVar("T")

Read = Callable[[str, Mapping[str, list[Any]]], T]
"""A model's name and its outputs → what they say. Raises InstanceError where they cannot be read."""


class HedgedCalls:
    """Calls of one kind, which take about as long as each other."""

    def __init__(self, engines: Engines, pool: Pool, settings: Settings, metrics: Metrics) -> None:
        self._engines = engines
        self._pool = pool
        self._settings = settings
        self._metrics = metrics
        self._latency = LatencyQuantile(initial_s=settings.context_deadline_s / 4)

    async def call(
        self,
        name: str,
        inputs: Mapping[str, Tensor],
        *,
        request_id: str,
        read: Read[T],
        embedding_model: str = "",
    ) -> T:
        """Attempts on distinct instances, one after the other, each hedged by the next when it is slow.

        With `embedding_model` only instances that serve this one are asked.

        Raises RequestRefused where the model refuses the request, Unavailable, Overloaded or GenerationFailed.
        """
        tried: set[str] = set()

        def place() -> Placed:
            placed = self._engines.place_context(frozenset(tried), embedding_model=embedding_model)
            tried.add(placed.instance.name)
            return placed

        running: dict[asyncio.Task[T], bool] = {}
        hedged = False
        last: InstanceError | Unavailable | None = None
        try:
            for attempt in range(self._settings.attempts):
                task = asyncio.create_task(self._once(place, name, inputs, request_id=request_id, read=read))
                hedged |= bool(running)
                running[task] = bool(running)
                wait_s = self._latency.hedge_after_s if attempt + 1 < self._settings.attempts else None
                while running:
                    done, _ = await asyncio.wait(running, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
                    if not done:
                        break  # slow: ask one more
                    task = done.pop()
                    is_hedge = running.pop(task)
                    try:
                        answer = task.result()
                    except InstanceError as error:
                        last = error
                        self._metrics.retries.labels(name, error.cause).inc()
                    except Unavailable as error:  # nobody else to ask; who was asked before may still answer
                        last = error
                    else:
                        if hedged:
                            self._metrics.hedges.labels("1" if is_hedge else "0").inc()
                        return answer
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        assert last is not None
        if isinstance(last, Unavailable):
            raise last
        raise exhausted(last, f"Instances asked for {name}: {', '.join(sorted(tried))}.")

    async def _once(
        self,
        place: Callable[[], Placed],
        name: str,
        inputs: Mapping[str, Tensor],
        *,
        request_id: str,
        read: Read[T],
    ) -> T:
        placed = place()
        instance = placed.instance
        started = time.monotonic()
        try:
            outputs = await infer(
                self._pool,
                instance.address,
                instance.http_port,
                name,
                inputs,
                request_id=request_id,
                deadline_s=self._settings.context_deadline_s,
            )
            answer = read(name, outputs)
        except InstanceError as error:
            placed.failed(error)
            raise
        else:
            placed.done()
        finally:
            placed.cancelled()  # harmless where it has ended otherwise
        self._latency.record(time.monotonic() - started)
        return answer


class LatencyQuantile:
    """A running estimate of a high quantile of latency, by stochastic approximation (Robbins-Monro on the quantile).

    Each value over the estimate raises it by `step·q`, each under it lowers it by `step·(1−q)`, the step being relative to the
    estimate itself. No history is kept.
    """

    def __init__(self, *, initial_s: float, quantile: float = 0.95, step: float = 0.05, floor_s: float = 0.05) -> None:
        self._estimate_s = initial_s
        self._quantile = quantile
        self._step = step
        self._floor_s = floor_s

    def record(self, value_s: float) -> None:
        """Count one latency."""
        move = self._quantile if value_s > self._estimate_s else self._quantile - 1
        self._estimate_s = max(self._floor_s, self._estimate_s * (1 + self._step * move))

    @property
    def hedge_after_s(self) -> float:
        """Twice the quantile: a hedge is for what is wrong, not for the usual tail."""
        return 2 * self._estimate_s
