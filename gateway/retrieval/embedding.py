"""Texts become vectors for clients, on whichever instances serve the model."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from sys import getsizeof
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.admission.tenant_permits import TenantPermits
from gateway.config import Settings
from gateway.dispatch.dispatcher import Dispatcher
from gateway.dispatch.hedging import HedgedCalls
from gateway.errors import ContextLengthExceeded, GenerationFailed, NotFound, Unavailable
from gateway.fleet.models import ServedModels
from gateway.knowledge.text_windows import Windows
from gateway.metrics import Metrics
from gateway.retrieval.embedding_account import EmbeddingAccount
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

LARGE = 1_000
"""Characters of a pass that lets others' single texts go before."""
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
    """Passes of one request that are under way at the same time: more would only wait in an instance's queue."""

    def __init__(
        self,
        *,
        settings: Settings,
        models: ServedModels,
        dispatcher: Dispatcher,
        pool: Pool,
        quotas: Quotas,
        ledger: Ledger,
        places: TenantPermits,
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
        charge = {Resource.REQUESTS: 1, Resource.EMBEDDING_TOKENS: least}
        entry = LedgerEntry.of(tenant, request_id=request_id, route=EMBEDDINGS, model=model, reserved=least)
        with await self._quotas.reserve(tenant, charge) as reserved:
            place = await self._places.admit(tenant, size=sum(map(getsizeof, inputs)))
            with place, EmbeddingAccount(self._ledger, entry, reserved) as account:
                windows, tokens = await self._prepared(self._text, inputs)
                await account.begin(tokens, windows.counts)

                async def embed(part: range) -> list[Sequence[float]]:
                    texts = windows.pieces[part.start : part.stop]
                    vectors = await self._pass(tenant, model, texts, f"{request_id}/{part.start}")
                    account.computed(part)
                    return vectors

                first, *others = passes(windows.pieces, self._settings.embedding_pass_chars)
                vectors = await embed(first)
                place.release()
                vectors += await self._others(tenant, others, embed)
                await account.complete()
        return Embedded(windows.join(np.array(vectors, np.float32)), sum(tokens))

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

    async def _prepared(
        self, text: EmbeddingTokenizer, inputs: Sequence[str | Sequence[int]]
    ) -> tuple[Windows, list[int]]:
        """All inputs cut, and the tokens of each.

        In short jobs: others' take turns with them, and none begins for a client that has left.
        """
        loop, settings = asyncio.get_running_loop(), self._settings
        pieces: list[str] = []
        counts: list[int] = []
        tokens: list[int] = []
        for group in _groups(inputs):
            cut = loop.run_in_executor(self._threads, _cut, text, group, settings.embedding_max_tokens)
            windows, found = await cut
            pieces += windows.pieces
            counts += windows.counts
            tokens += found
            if (total := sum(tokens)) > settings.embedding_request_tokens:
                limit = f"of all inputs together at most {settings.embedding_request_tokens}"
                raise ContextLengthExceeded.of(total, settings.embedding_request_tokens, param="input", why=limit)
        return Windows(pieces, counts), tokens

    async def _others(
        self, tenant: Tenant, parts: Sequence[range], embed: Callable[[range], Awaitable[list[Sequence[float]]]]
    ) -> list[Sequence[float]]:
        """The vectors of all but the first pass, each of which takes a place of its own."""
        slots = asyncio.Semaphore(self.CONCURRENCY)

        async def placed(part: range) -> list[Sequence[float]]:
            async with slots:
                with await self._places.admit(tenant):
                    return await embed(part)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(placed(part)) for part in parts]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [vector for task in tasks for vector in task.result()]

    async def _pass(self, tenant: Tenant, model: str, texts: Sequence[str], request_id: str) -> list[Sequence[float]]:
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


def passes(pieces: Sequence[str], most_chars: int) -> list[range]:
    """The pieces in passes of at most so many characters and MAX_BATCH pieces, or of one piece; in their order."""
    found: list[range] = []
    start = size = 0
    for at, piece in enumerate(pieces):
        if at > start and (size + len(piece) > most_chars or at - start == MAX_BATCH):
            found.append(range(start, at))
            start, size = at, 0
        size += len(piece)
    return [*found, range(start, len(pieces))]


def _cut(text: EmbeddingTokenizer, inputs: Sequence[str | Sequence[int]], limit: int) -> tuple[Windows, list[int]]:
    """The inputs in pieces that the model can read, and how many tokens each has. Raises ContextLengthExceeded."""
    texts = [each if isinstance(each, str) else text.decode(each) for each in inputs]
    counts = [text.count(each, limit) for each in texts]
    if (most := max(counts)) > limit:
        raise ContextLengthExceeded.of(most, limit, param="input")
    return Windows.of(texts, lambda each: text.count(each, text.window), text.window), counts


def _rows(outputs: Mapping[str, list[Any]], count: int) -> list[Sequence[float]]:
    flat = outputs.get("embedding")
    if not isinstance(flat, list) or not flat or len(flat) % count:
        raise InstanceError(Cause.ENGINE, f"embedding gave no vectors for {count} texts")
    width = len(flat) // count
    return [flat[at : at + width] for at in range(0, len(flat), width)]
