"""Short calls of idempotent models: repeated where they fail, doubled where they are slow.

A failed attempt goes to another instance, and a slow one is hedged: past the delay within which most calls answer, a second
instance is asked, and the first answer wins.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from opentelemetry.trace import Span, SpanKind

from gateway.config import Settings
from gateway.dispatch.attempts import Attempts
from gateway.dispatch.dispatcher import Dispatch, Dispatcher
from gateway.errors import DeadlineExceeded, Unavailable
from gateway.metrics import Metrics
from gateway.telemetry import OFF, Tracing, traceparent
from gateway.triton.connection import Pool
from gateway.triton.errors import Cause, InstanceError
from gateway.triton.infer import Tensor, infer

T = TypeVar("T")

LARGE = 200_000
"""Characters. A call with more is slow by itself."""
LARGE_PATIENCE = 3
"""Times the deadline of other calls."""

Read = Callable[[str, Mapping[str, list[Any]]], T]
"""A model's name and its outputs → what they say. Raises InstanceError where they cannot be read."""


class HedgedCalls:
    """Calls of one kind, which take about as long as each other.

    hedge: whether slow ones are doubled. large: characters from which on a call is slow by itself: it waits behind the others,
    has more time, and where that is not enough neither blames the instance nor asks another.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        pool: Pool,
        settings: Settings,
        metrics: Metrics,
        *,
        hedge: bool = True,
        large: int = LARGE,
        tracing: Tracing = OFF,
    ) -> None:
        self._dispatcher = dispatcher
        self._pool = pool
        self._limit = settings.attempts
        self._deadline_s = settings.context_deadline_s
        self._metrics = metrics
        self._tracing = tracing
        self._hedge = hedge
        self._large = large
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

        Raises RequestRefused where the model refuses the request, Unavailable, Overloaded or GenerationFailed; DeadlineExceeded
        where a large request is not answered in time: that is its own fault, and it would keep the next instance as busy.
        """
        hedge = (size := _characters(inputs)) <= self._large and self._hedge
        attempts = Attempts(self._limit)
        asked: set[str] = set()
        running: dict[asyncio.Task[T], bool] = {}
        hedged = False
        unavailable: Unavailable | None = None

        async def attempt() -> T:
            dispatch = self._dispatcher.place_call(frozenset(asked), embedding_model=embedding_model)
            asked.add(dispatch.instance.name)
            try:
                with self._span(name, dispatch):
                    answer = read(name, await self._infer(dispatch, name, inputs, request_id, size))
            except InstanceError as error:
                attempts.fail(dispatch, error)
                self._metrics.retries.labels(name, error.cause).inc()
                raise
            else:
                dispatch.succeeded()
            finally:
                dispatch.cancelled()  # harmless where it has ended otherwise
            return answer

        try:
            for number in range(self._limit):
                task = asyncio.create_task(attempt())
                hedged |= bool(running)
                running[task] = bool(running)
                wait_s = self._latency.hedge_after_s if hedge and number + 1 < self._limit else None
                while running:
                    done, _ = await asyncio.wait(running, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
                    if not done:
                        break  # slow: ask one more
                    task = done.pop()
                    is_hedge = running.pop(task)
                    try:
                        answer = task.result()
                    except InstanceError:
                        unavailable = None
                    except Unavailable as error:  # nobody else to ask; who was asked before may still answer
                        unavailable = error
                    else:
                        if hedged:
                            self._metrics.hedges.labels("1" if is_hedge else "0").inc()
                        return answer
                if not running and not attempts.exhausted:
                    await attempts.pause()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        raise unavailable or attempts.error()

    def _span(self, name: str, dispatch: Dispatch) -> AbstractContextManager[Span]:
        attributes = dispatch.attributes if self._tracing.records else None
        return self._tracing.span(f"dispatch {name}", kind=SpanKind.CLIENT, attributes=attributes)

    async def _infer(
        self, dispatch: Dispatch, name: str, inputs: Mapping[str, Tensor], request_id: str, size: int
    ) -> Mapping[str, list[Any]]:
        started = time.monotonic()
        host, port = dispatch.instance.address, dispatch.instance.http_port
        large = size > self._large
        deadline_s = self._deadline_s * (LARGE_PATIENCE if large else 1)
        try:
            outputs = await infer(
                self._pool,
                host,
                port,
                name,
                inputs,
                request_id=request_id,
                deadline_s=deadline_s,
                patient=large,
                traceparent=traceparent() if self._tracing.is_on else "",
            )
        except InstanceError as error:
            if large and error.cause is Cause.STALL:
                raise DeadlineExceeded(f"{size} characters were not read within {deadline_s:g} s.") from error
            raise
        self._latency.record(time.monotonic() - started)
        return outputs


def _characters(inputs: Mapping[str, Tensor]) -> int:
    return sum(len(value) for _, _, data in inputs.values() for value in data if isinstance(value, str))


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
