"""Which stores of a tenant a request means, and where their rows are."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.config import Settings
from gateway.errors import BadRequest, CatalogUnavailable, NotFound
from gateway.knowledge.active import ActiveCollection
from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.types import PageQuery, Store
from gateway.knowledge.filters import search_filter
from gateway.retrieval.context import Retrieval
from gateway.retrieval.options import RetrievalOptions
from gateway.serving.request_plan import RAG, ChatAsk, is_rag
from gateway.tenants.tenant import Tenant

MAX_STORES = 100
"""Of a tenant, that the model name `rag` stands for; the newest ones."""


class StoreResolver:
    """The catalog as chats and responses ask it. One for the life of the application."""

    def __init__(self, settings: Settings, catalog: Catalog, active: ActiveCollection) -> None:
        self._settings = settings
        self._catalog = catalog
        self._active = active

    async def models(self, tenant: Tenant) -> list[str]:
        """`rag` and `rag:<name>` for each store with something in it. With the catalog away: none."""
        try:
            names = await self._catalog.store_names(tenant.name)
        except CatalogUnavailable:
            return []
        return [*([RAG] if names else []), *(f"{RAG}:{name}" for name in names if name)]

    async def retrieval(self, ask: ChatAsk, tenant: Tenant) -> Retrieval | None:
        """What a request is to be answered from: the stores of its tool or of its model's name; None where it asks for none.

        Raises NotFound for what the tenant does not have, BadRequest for an expired store and for a filter that cannot be read,
        CatalogUnavailable.
        """
        if ask.knowledge is not None:
            names, top_k = ask.knowledge
            stores = await self._named(tenant, names, param="tools", code="store_not_found")
            options = RetrievalOptions.read({**ask.ranking, "max_num_results": top_k})
            return await self._retrieval(tenant, stores, ", ".join(names), options, ask.filters)
        if not is_rag(ask.model):
            return None
        name = ask.model.partition(":")[2]
        stores = await (
            self._named(tenant, [name], param="model", code="model_not_found") if name else self._all(tenant)
        )
        said = name or ", ".join(sorted(store.name or store.id for store in stores))
        return await self._retrieval(tenant, stores, said, RetrievalOptions(), None)

    async def _named(self, tenant: Tenant, names: Sequence[str], *, param: str, code: str) -> Sequence[Store]:
        found = await self._catalog.resolve(tenant.name, names)
        if unknown := sorted(name for name, store in zip(names, found, strict=True) if store is None):
            raise NotFound(
                f"There is no knowledge store '{unknown[0]}'. Make one with `ragfleet ingest --store NAME PATH`, "
                "or with /v1/vector_stores.",
                param=param,
                code=code,
            )
        return [store for store in found if store is not None]

    async def _all(self, tenant: Tenant) -> Sequence[Store]:
        page = await self._catalog.stores(tenant.name, PageQuery(limit=MAX_STORES))
        stores = [store for store in page.items if not _expired(store) and store.counts.completed]
        if not stores:
            raise NotFound(
                "There is no knowledge store yet. Make one with `ragfleet ingest PATH`, or with /v1/vector_stores.",
                param="model",
                code="model_not_found",
            )
        return stores

    async def _retrieval(
        self,
        tenant: Tenant,
        stores: Sequence[Store],
        said: str,
        options: RetrievalOptions,
        filters: Mapping[str, Any] | None,
    ) -> Retrieval:
        for store in stores:
            if _expired(store):
                raise BadRequest(
                    f"The vector store '{store.id}' has expired; make a new one from its files.",
                    param="vector_store_ids",
                    code="vector_store_expired",
                )
        ids = [store.id for store in stores]
        expression = search_filter(tenant.name, ids, filters)
        collection = await self._active.get()
        if collection is None:
            raise NotFound(
                f"Nothing of '{said}' can be searched yet; wait until its files are completed.",
                param="vector_store_ids",
                code="store_empty",
            )
        await self._catalog.touch_stores(ids)
        settings = self._settings
        options = options.over(RetrievalOptions.of_stores(stores)).over(
            RetrievalOptions(neighbours=settings.rag_neighbours)
        )
        threshold = options.score_threshold
        return Retrieval(
            store=said,
            filter=expression,
            top_k=options.max_num_results or settings.rag_top_k,
            collection=collection.name,
            embedding_model=collection.embedding_model,
            min_score=settings.rag_min_score if threshold is None else threshold,
            options=options,
        )


def _expired(store: Store) -> bool:
    return store.expires_at is not None and store.expires_at <= time.time()
