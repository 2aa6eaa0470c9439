"""Texts become vectors for clients, on whichever instances serve the model."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.config import Settings
from gateway.errors import NotFound, Unavailable
from gateway.fleet.store import FleetStore
from gateway.knowledge.windows import Windows
from gateway.metrics import Metrics
from gateway.retrieval.admission import RetrievalAdmission
from gateway.retrieval.embedding_tokenizer import EmbeddingTokenizer
from gateway.serving.engines import Engines, Placed, exhausted
from gateway.tenants.tenant import Tenant
from gateway.triton.connection import Pool
from gateway.triton.errors import Cause, InstanceError, RequestRefused
from gateway.triton.infer import infer

MAX_BATCH = 64
"""The `max_batch_size` of the model."""

Vector = NDArray[np.float32]
"""(dimension,), of length 1."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """What was embedded."""

    vectors: NDArray[np.float32]
    """(inputs, dimension), each row of length 1."""
    tokens: int
    """Of all inputs together."""


class EmbeddingService:
    """Embeds. One for the life of the application."""

    CONCURRENCY = 4
    """Batches of one request that are under way at the same time: more would only wait in an instance's queue."""

    def __init__(
        self,
        *,
        settings: Settings,
        store: FleetStore,
        engines: Engines,
        pool: Pool,
        places: RetrievalAdmission,
        text: EmbeddingTokenizer | None,
        metrics: Metrics,
    ) -> None:
        """text: None where this host does not have the model's tokenizer."""
        self._settings = settings
        self._store = store
        self._engines = engines
        self._pool = pool
        self._places = places
        self._text = text
        self._metrics = metrics

    def models(self) -> list[str]:
        """Embedding models that some serving instance has, sorted."""
        return sorted({m.instance.embedding_model for m in self._store.view.serving if m.instance.embedding_model})

    async def embed(
        self, tenant: Tenant, model: str, inputs: Sequence[str | Sequence[int]], *, request_id: str
    ) -> Embedded:
        """Texts, or token ids of the model's own tokenizer. What is longer than its window is embedded in pieces.

        Raises NotFound for an unknown model, BadRequest for unknown ids, Unavailable, Overloaded, GenerationFailed.
        """
        self._check(model)
        if self._text is None:
            raise Unavailable(
                "This gateway does not have the embedding model's tokenizer: set RAGFLEET_EMBEDDING_DIR to its folder."
            )
        with await self._places.admit(tenant):
            # Megabytes take seconds to count: not in the thread that streams answers, and in the tenant's turn.
            windows, tokens = await asyncio.to_thread(_prepared, self._text, inputs)
            vectors = await self._batch(model, windows.pieces[:MAX_BATCH], f"{request_id}/0")
        if len(windows.pieces) > MAX_BATCH:
            vectors += await self._others(tenant, model, windows.pieces, request_id)
        return Embedded(windows.join(np.array(vectors, np.float32)), tokens)

    def _check(self, model: str) -> None:
        known = self.models()
        if model in known:
            return
        if not self._store.view.serving:
            raise Unavailable("No instance is ready.", retry_after_s=2)
        raise NotFound(
            f"The embedding model '{model}' does not exist. There are: {', '.join(known) or 'none'}.",
            param="model",
            code="model_not_found",
        )

    async def _others(self, tenant: Tenant, model: str, texts: Sequence[str], request_id: str) -> list[Sequence[float]]:
        """The vectors of all but the first batch."""
        slots = asyncio.Semaphore(self.CONCURRENCY)

        async def batch(first: int) -> list[Sequence[float]]:
            async with slots:
                with await self._places.admit(tenant):
                    return await self._batch(model, texts[first : first + MAX_BATCH], f"{request_id}/{first}")

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(batch(first)) for first in range(MAX_BATCH, len(texts), MAX_BATCH)]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [vector for task in tasks for vector in task.result()]

    async def _batch(self, model: str, texts: Sequence[str], request_id: str) -> list[Sequence[float]]:
        """Attempts on distinct instances, one after the other."""
        inputs = {"text": ("BYTES", [len(texts), 1], list(texts))}
        tried: set[str] = set()
        last: InstanceError | None = None
        for attempt in range(self._settings.attempts):
            placed = self._place(model, tried)
            instance = placed.instance
            tried.add(instance.name)
            try:
                outputs = await infer(
                    self._pool,
                    instance.address,
                    instance.http_port,
                    "embedding",
                    inputs,
                    request_id=request_id,
                    deadline_s=self._settings.context_deadline_s,
                )
                vectors = _rows(outputs, len(texts))
            except InstanceError as error:
                placed.failed(error)
                self._metrics.retries.labels("embedding", error.cause).inc()
                last = error
                if error.cause is Cause.BUSY:
                    await asyncio.sleep(0.02 * 2**attempt)
            except RequestRefused as refused:  # this model has no reason to
                last = InstanceError(Cause.ENGINE, refused.reason)
                placed.failed(last)
            else:
                placed.done()
                return vectors
            finally:
                placed.cancelled()  # harmless where it has ended otherwise
        assert last is not None
        raise exhausted(last, f"Instances asked to embed: {', '.join(sorted(tried))}.")

    def _place(self, model: str, tried: set[str]) -> Placed:
        """An instance with this model, one that was not tried if there is any."""
        serving = {m.instance.name: m.instance.embedding_model for m in self._store.view.serving}
        others = {name for name, its in serving.items() if its != model}
        if not serving.keys() - others - tried:
            tried.clear()
        placed = self._engines.place_context(frozenset(others | tried))
        if placed.instance.embedding_model != model:
            placed.cancelled()
            raise Unavailable(f"No instance with the embedding model '{model}' is trusted now.", retry_after_s=2)
        return placed


def _prepared(text: EmbeddingTokenizer, inputs: Sequence[str | Sequence[int]]) -> tuple[Windows, int]:
    """The inputs in pieces that the model can read, and how many tokens they have."""
    texts = [each if isinstance(each, str) else text.decode(each) for each in inputs]
    return Windows.of(texts, text.count, text.window), sum(map(text.count, texts))


def _rows(outputs: Mapping[str, list[Any]], count: int) -> list[Sequence[float]]:
    flat = outputs.get("embedding")
    if not isinstance(flat, list) or not flat or len(flat) % count:
        raise InstanceError(Cause.ENGINE, f"embedding gave no vectors for {count} texts")
    width = len(flat) // count
    return [flat[at : at + width] for at in range(0, len(flat), width)]
