"""Passages for questions, without an answer: the `search` ensemble on whichever instance has least to do."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from sys import getsizeof
from typing import Any
from uuid import uuid4

import orjson

from gateway.admission.tenant_permits import TenantPermits
from gateway.config import Settings
from gateway.dispatch.dispatcher import Dispatcher
from gateway.dispatch.hedging import HedgedCalls
from gateway.errors import BadRequest, KnowledgeUnavailable
from gateway.knowledge.active_collection import ActiveCollection
from gateway.knowledge.catalog.types import Store
from gateway.metrics import Metrics
from gateway.retrieval.access import DocumentAccess
from gateway.retrieval.filter_signature import FilterSigner
from gateway.retrieval.merging import distinct, merged
from gateway.retrieval.options import RetrievalOptions
from gateway.retrieval.passage import Passage
from gateway.retrieval.request import RetrievalRequest
from gateway.retrieval.symbols import SymbolLookup, is_name, passage_of
from gateway.telemetry import OFF, Tracing
from gateway.tenants.cache_salt import CacheSalts
from gateway.tenants.tenant import Tenant
from gateway.triton.connection import Pool
from gateway.triton.errors import Cause, InstanceError, Refusal, RequestRefused
from gateway.triton.infer import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPassages:
    """What was found, best first, and what was looked for."""

    passages: Sequence[Passage]
    queries: Sequence[str] = field(default_factory=tuple)


class SearchService:
    """Searches. One for the life of the application."""

    CONCURRENCY = 4
    """Questions of one request that are under way at the same time."""

    def __init__(
        self,
        *,
        settings: Settings,
        active: ActiveCollection,
        access: DocumentAccess,
        symbols: SymbolLookup,
        dispatcher: Dispatcher,
        pool: Pool,
        places: TenantPermits,
        metrics: Metrics,
        tracing: Tracing = OFF,
    ) -> None:
        self._active = active
        self._access = access
        self._symbols = symbols
        self._places = places
        self._signer = FilterSigner(settings.filter_secret)
        self._salts = CacheSalts(shared=settings.share_caches)
        self._calls = HedgedCalls(dispatcher, pool, settings, metrics, tracing=tracing)

    async def search(
        self,
        tenant: Tenant,
        stores: Sequence[Store],
        queries: Sequence[str],
        *,
        filters: Mapping[str, Any] | None = None,
        options: RetrievalOptions | None = None,
        rewrite: bool = False,
        request_id: str | None = None,
    ) -> FoundPassages:
        """The best passages (`max_num_results`, DEFAULT_LIMIT) of these stores of the tenant for all queries together.

        filters: OpenAI's, over the attributes of files. options: the request's own; the stores' count below them. Without
        `neighbours` from either, chunks come as they are. rewrite: taken and passed over, as the result's `queries` say: a
        model of the default size makes questions worse. A query that is nothing but a name in source code finds its definitions
        first, unless there are `filters`. Raises BadRequest, KnowledgeUnavailable, CatalogUnavailable,
        Unavailable, Overloaded, GenerationFailed.
        """
        files = await self._access.scope(tenant, stores)
        request = RetrievalRequest(
            tenant, stores, await self._active.get(), files=files, filters=filters, options=options
        )
        if not request.collection:
            return FoundPassages(passages=(), queries=tuple(queries))
        # The retrieval leaves out near-duplicates of one question. Several may find each other's: twice as many, then.
        limit = request.limit if len(queries) == 1 else 2 * request.limit
        slots = asyncio.Semaphore(self.CONCURRENCY)
        request_id = request_id or uuid4().hex

        async def one(number: int, query: str) -> Sequence[Passage]:
            async with slots:
                with await self._places.admit(tenant, size=getsizeof(query)):
                    return await self._one(
                        request.inputs(query, self._signer, limit=limit, salt=self._salts.of(tenant)),
                        f"{request_id}/{number}",
                        request.embedding_model,
                    )

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(number, query)) for number, query in enumerate(queries)]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        found = merged([task.result() for task in tasks])
        if filters is None:  # the catalog knows none
            found = [*await self._defined(tenant, stores, queries), *found]
        hidden = await self._access.hidden(tenant, found)
        passages = distinct([each for each in found if each.file_id not in hidden])
        return FoundPassages(passages=passages[: request.limit], queries=tuple(queries))

    async def _defined(self, tenant: Tenant, stores: Sequence[Store], queries: Sequence[str]) -> Sequence[Passage]:
        """Definitions in source code, where a query is nothing but a name."""
        names = [query for query in queries if is_name(query)]
        return [passage_of(each) for each in await self._symbols.definitions(tenant, stores, names)] if names else []

    async def _one(self, inputs: Mapping[str, Tensor], request_id: str, model: str) -> Sequence[Passage]:
        try:
            return await self._calls.call("search", inputs, request_id=request_id, read=_read, embedding_model=model)
        except RequestRefused as refused:
            if refused.kind is Refusal.RETRIEVAL_UNAVAILABLE:
                raise knowledge_away(refused) from refused
            if refused.kind is Refusal.NOT_FOUND:  # the catalog knows of it, and the first rows are on their way
                return ()
            raise BadRequest(f"The search was refused: {refused.reason}.", code="invalid_value") from refused


def knowledge_away(refused: RequestRefused) -> KnowledgeUnavailable:
    """The error where Milvus does not answer the retrieval model."""
    return KnowledgeUnavailable("The knowledge base does not answer.", detail=refused.reason, retry_after_s=2)


def _read(name: str, outputs: Mapping[str, list[Any]]) -> Sequence[Passage]:
    try:
        return tuple(Passage.read(fields) for fields in orjson.loads(outputs["passages"][0]))
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise InstanceError(Cause.ENGINE, f"unreadable answer of {name}: {error!r}") from error
