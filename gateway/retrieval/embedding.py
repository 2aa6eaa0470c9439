"""Texts become vectors for clients, on whichever instances serve the model."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.admission.tenant_admission import TenantAdmission
from gateway.config import Settings
from gateway.dispatch.dispatcher import Dispatcher
from gateway.dispatch.hedging import HedgedCalls
from gateway.errors import ContextLengthExceeded, GenerationFailed, NotFound, Unavailable
from gateway.fleet.models import ServedModels
from gateway.knowledge.text_windows import Windows
from gateway.metrics import Metrics
from gateway.retrieval.embedding_tokenizer import EmbeddingTokenizer
from gateway.telemetry import OFF, Tracing
from gateway.tenants.budgets import Resource
from gateway.tenants.cache_salt import CacheSalts
from gateway.tenants.ledger import Ledger, LedgerEntry
from gateway.tenants.quotas import Quotas
from gateway.tenants.tenant import Tenant
from gateway.tenants.usage import EMBEDDINGS
from gateway.triton.connection import Pool
from gateway.triton.errors import Cause, InstanceError, RequestRefused
from gateway.triton.infer import Tensor, cache_salt

MAX_BATCH = 64
"""The `max_batch_size` of the model."""

LARGE = 4_000
"""Characters of a batch that takes an instance a while."""
GROUP = 20_000
"""Characters, or tokens, that are tokenized in one job, some tens of milliseconds."""

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
        models: ServedModels,
        dispatcher: Dispatcher,
        pool: Pool,
        quotas: Quotas,
        ledger: Ledger,
        places: TenantAdmission,
        text: EmbeddingTokenizer | None,
        threads: Executor,
        metrics: Metrics,
        tracing: Tracing = OFF,
    ) -> None:
        """text: None where this host does not have the model's tokenizer. threads: to tokenize in."""
        self._settings = settings
        self._models = models
        self._quotas = quotas
        self._ledger = ledger
        self._places = places
        self._text = text
        self._threads = threads
        self._salts = CacheSalts(shared=settings.share_caches)
        self._calls = HedgedCalls(dispatcher, pool, settings, metrics, hedge=False, large=LARGE, tracing=tracing)

    async def embed(
        self, tenant: Tenant, model: str, inputs: Sequence[str | Sequence[int]], *, request_id: str
    ) -> Embedded:
        """Texts, or token ids of the model's own tokenizer. What is longer than its window is embedded in pieces.

        Raises NotFound for an unknown model, ContextLengthExceeded, BadRequest for unknown ids, Unavailable, Overloaded,
        RateLimited, GenerationFailed.
        """
        self._check(model)
        if self._text is None:
            raise Unavailable(
                "This gateway does not have the embedding model's tokenizer: set RAGFLEET_EMBEDDING_DIR to its folder."
            )
        least = sum(self._text.check_size(each, self._settings.embedding_max_tokens) for each in inputs)
        with await self._quotas.reserve(tenant, {Resource.REQUESTS: 1, Resource.EMBEDDING_TOKENS: least}) as reserved:
            with await self._places.admit(tenant):
                windows, tokens = await self._prepared(self._text, inputs)
                charge = {Resource.REQUESTS: 1, Resource.EMBEDDING_TOKENS: tokens}
                await reserved.resize(charge)
                vectors = await self._batch(tenant, model, windows.pieces[:MAX_BATCH], f"{request_id}/0")
            if len(windows.pieces) > MAX_BATCH:
                vectors += await self._others(tenant, model, windows.pieces, request_id)
            reserved.settle(charge)
        entry = LedgerEntry.of(tenant, request_id=request_id, route=EMBEDDINGS, model=model, reserved=tokens)
        entry.prompt, entry.outcome = tokens, "completed"
        self._ledger.open(entry)
        await self._ledger.settle(entry)
        return Embedded(windows.join(np.array(vectors, np.float32)), tokens)

    def _check(self, model: str) -> None:
        known = self._models.embedding
        if model in known:
            return
        if not self._models.generating:
            raise Unavailable("No instance is ready.", retry_after_s=2)
        raise NotFound(
            f"The embedding model '{model}' does not exist. There are: {', '.join(known) or 'none'}.",
            param="model",
            code="model_not_found",
        )

    async def _prepared(self, text: EmbeddingTokenizer, inputs: Sequence[str | Sequence[int]]) -> tuple[Windows, int]:
        """All inputs cut, in short jobs: others' take turns with them, and none begins for a client that has left."""
        loop, settings = asyncio.get_running_loop(), self._settings
        pieces: list[str] = []
        counts: list[int] = []
        tokens = 0
        for group in _groups(inputs):
            cut = loop.run_in_executor(self._threads, _cut, text, group, settings.embedding_max_tokens)
            windows, found = await cut
            pieces += windows.pieces
            counts += windows.counts
            tokens += found
            if tokens > settings.embedding_request_tokens:
                limit = f"of all inputs together at most {settings.embedding_request_tokens}"
                raise ContextLengthExceeded.of(tokens, settings.embedding_request_tokens, param="input", why=limit)
        return Windows(pieces, counts), tokens

    async def _others(self, tenant: Tenant, model: str, texts: Sequence[str], request_id: str) -> list[Sequence[float]]:
        """The vectors of all but the first batch."""
        slots = asyncio.Semaphore(self.CONCURRENCY)

        async def batch(first: int) -> list[Sequence[float]]:
            async with slots:
                with await self._places.admit(tenant):
                    return await self._batch(tenant, model, texts[first : first + MAX_BATCH], f"{request_id}/{first}")

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(batch(first)) for first in range(MAX_BATCH, len(texts), MAX_BATCH)]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [vector for task in tasks for vector in task.result()]

    async def _batch(self, tenant: Tenant, model: str, texts: Sequence[str], request_id: str) -> list[Sequence[float]]:
        inputs: dict[str, Tensor] = {
            "text": ("BYTES", [len(texts), 1], list(texts)),
            **cache_salt(self._salts.of(tenant), len(texts)),
        }

        def read(_: str, outputs: Mapping[str, list[Any]]) -> list[Sequence[float]]:
            return _rows(outputs, len(texts))

        try:
            return await self._calls.call("embedding", inputs, request_id=request_id, read=read, embedding_model=model)
        except RequestRefused as refused:  # this model has no reason to
            raise GenerationFailed(f"The embedding model refused the texts: {refused.reason}.") from refused


def _groups(inputs: Sequence[str | Sequence[int]]) -> Iterator[list[str | Sequence[int]]]:
    """The inputs in lists of some ten thousand characters or tokens, or one input."""
    group: list[str | Sequence[int]] = []
    size = 0
    for each in inputs:
        if group and size + len(each) > GROUP:
            yield group
            group, size = [], 0
        group.append(each)
        size += len(each)
    if group:
        yield group


def _cut(text: EmbeddingTokenizer, inputs: Sequence[str | Sequence[int]], limit: int) -> tuple[Windows, int]:
    """The inputs in pieces that the model can read, and how many tokens they have. Raises ContextLengthExceeded."""
    texts = [each if isinstance(each, str) else text.decode(each) for each in inputs]
    counts = [text.count(each, limit) for each in texts]
    if (most := max(counts)) > limit:
        raise ContextLengthExceeded.of(most, limit, param="input")
    return Windows.of(texts, lambda each: text.count(each, text.window), text.window), sum(counts)


def _rows(outputs: Mapping[str, list[Any]], count: int) -> list[Sequence[float]]:
    flat = outputs.get("embedding")
    if not isinstance(flat, list) or not flat or len(flat) % count:
        raise InstanceError(Cause.ENGINE, f"embedding gave no vectors for {count} texts")
    width = len(flat) // count
    return [flat[at : at + width] for at in range(0, len(flat), width)]
