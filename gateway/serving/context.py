"""From a conversation to token ids: the `prompt` model, or the whole `context` ensemble where retrieval is on.

Both are idempotent, so a failed attempt goes to another instance, and a slow one is hedged: past the delay within
which most calls answer, a second instance is asked, and the first answer wins.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.config import Settings
from gateway.errors import (
    BadRequest,
    ContextLengthExceeded,
    KnowledgeUnavailable,
    NotFound,
    RagfleetError,
    Unavailable,
)
from gateway.metrics import Metrics
from gateway.serving.engines import Engines, exhausted
from gateway.triton.connection import Pool
from gateway.triton.errors import Cause, InstanceError, RequestRefused
from gateway.triton.infer import Tensor, boolean, fp32, infer, int32, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """Where and how to look for passages."""

    store: str
    """What the client called it; for messages."""
    filter: str
    """A Milvus expression made by gateway/knowledge, never by a client."""
    top_k: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A prompt that is ready for an engine, with the passages that are in it."""

    input_ids: Sequence[int]
    sources: Sequence[Mapping[str, Any]] = field(default_factory=tuple)


class ContextBuilder:
    """Builds prompts on the fleet."""

    def __init__(self, engines: Engines, pool: Pool, settings: Settings, metrics: Metrics) -> None:
        self._engines = engines
        self._pool = pool
        self._settings = settings
        self._metrics = metrics
        self._latency = LatencyQuantile(initial_s=settings.context_deadline_s / 4)

    async def build(
        self, *, request_id: str, messages: bytes, question: str, retrieval: Retrieval | None, max_prompt_tokens: int
    ) -> Context:
        """Token ids for `messages` (OpenAI's list as JSON). Raises BadRequest, KnowledgeUnavailable, Unavailable."""
        inputs: dict[str, Tensor] = {
            "messages": text(messages.decode()),
            "max_prompt_tokens": int32(max_prompt_tokens),
            "grounded": boolean(retrieval is not None),
        }
        if retrieval is None:
            inputs["passages"] = text("[]")
        else:
            inputs |= {
                "query": text(question),
                "collection": text(self._settings.rag_collection),
                "filter": text(retrieval.filter),
                "top_k": int32(retrieval.top_k),
                "min_score": fp32(self._settings.rag_min_score),
            }
        name = "prompt" if retrieval is None else "context"
        started = time.monotonic()
        try:
            context = await self._call(name, inputs, request_id)
        except RequestRefused as refused:
            raise _translate(refused, retrieval) from refused
        self._metrics.context_duration.labels("1" if retrieval else "0").observe(time.monotonic() - started)
        return context

    async def _call(self, name: str, inputs: Mapping[str, Tensor], request_id: str) -> Context:
        """Attempts on distinct instances, one after the other, each hedged by the next when it is slow."""
        tried: set[str] = set()
        running: dict[asyncio.Task[Context], bool] = {}
        hedged = False
        last: InstanceError | Unavailable | None = None
        try:
            for attempt in range(self._settings.attempts):
                task = asyncio.create_task(self._once(name, inputs, request_id, tried))
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
                        context = task.result()
                    except InstanceError as error:
                        last = error
                        self._metrics.retries.labels(name, error.cause).inc()
                    except Unavailable as error:  # nobody else to ask; who was asked before may still answer
                        last = error
                    else:
                        if hedged:
                            self._metrics.hedges.labels("1" if is_hedge else "0").inc()
                        return context
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        assert last is not None
        if isinstance(last, Unavailable):
            raise last
        raise exhausted(last, f"Instances asked to build the prompt: {', '.join(sorted(tried))}.")

    async def _once(self, name: str, inputs: Mapping[str, Tensor], request_id: str, tried: set[str]) -> Context:
        placed = self._engines.place_context(frozenset(tried))
        instance = placed.instance
        tried.add(instance.name)
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
            context = _read(name, outputs)
        except InstanceError as error:
            placed.failed(error)
            raise
        else:
            placed.done()
        finally:
            placed.cancelled()  # harmless where it has ended otherwise
        self._latency.record(time.monotonic() - started)
        return context


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


def _read(name: str, outputs: Mapping[str, list[Any]]) -> Context:
    try:
        return Context(input_ids=outputs["input_ids"], sources=orjson.loads(outputs["used"][0]))
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise InstanceError(Cause.ENGINE, f"unreadable answer of {name}: {error!r}") from error


def _translate(refused: RequestRefused, retrieval: Retrieval | None) -> RagfleetError:
    if refused.kind == "too long":
        return ContextLengthExceeded(
            f"The messages do not fit into the model's context: {refused.reason}.", param="messages"
        )
    if refused.kind == "bad messages":
        return BadRequest(f"Invalid 'messages': {refused.reason}.", param="messages", code="invalid_value")
    if refused.kind == "retrieval unavailable":
        return KnowledgeUnavailable(f"The knowledge base does not answer: {refused.reason}.", retry_after_s=2)
    if refused.kind == "not found":
        name = retrieval.store if retrieval else "?"
        return NotFound(
            f"There is no knowledge yet for the store '{name}'. Add some with `ragfleet ingest`.", param="model"
        )
    return BadRequest(refused.reason, code="invalid_value")
