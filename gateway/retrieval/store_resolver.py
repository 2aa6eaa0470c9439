"""Which stores of a tenant a request means, and where their rows are."""

import time
from collections.abc import Callable, Mapping, Sequence

from gateway.config import Settings
from gateway.errors import BadRequest, CatalogUnavailable, NotFound
from gateway.knowledge.active_collection import ActiveCollection
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.knowledge.catalog.types import Store
from gateway.retrieval.access import DocumentAccess
from gateway.retrieval.options import RetrievalOptions
from gateway.retrieval.request import FileSearchParameters, RetrievalRequest
from gateway.tenants.tenant import Tenant

RAG = "rag"
"""The model name that stands for the knowledge base."""
MAX_STORES = 100
"""Of a tenant, that the model name `rag` stands for; the newest ones."""


class StoreResolver:
    """The catalog as chats and responses ask it. One for the life of the application."""

    def __init__(
        self,
        settings: Settings,
        catalog: Callable[[Tenant], TenantCatalog],
        active: ActiveCollection,
        access: DocumentAccess,
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._active = active
        self._access = access

    async def models(self, tenant: Tenant) -> Mapping[str, int]:
        """`rag` and `rag:<name>` for each store with something in it, and since when. With the catalog away: none."""
        try:
            names = await self._catalog(tenant).stores.names()
        except CatalogUnavailable:
            return {}
        named = {f"{RAG}:{name}": created for name, created in names.items() if name}
        return {**({RAG: min(names.values())} if names else {}), **named}

    async def resolve(
        self, tenant: Tenant, file_search: FileSearchParameters | None, model: str
    ) -> RetrievalRequest | None:
        """What a request is to be answered from: the stores of its tool or of its model's name; None where it asks for none.

        Raises NotFound for what the tenant does not have, BadRequest for an expired store and for a filter that cannot be read,
        CatalogUnavailable.
        """
        if file_search is not None and file_search.stores:
            stores = await self._named(tenant, file_search.stores, param="tools", code="store_not_found")
            return await self._request(tenant, stores, ", ".join(file_search.stores), file_search)
        if file_search is not None:
            stores = await self._all(tenant, file_search.without)
            return await self._request(tenant, stores, _names(stores), file_search)
        if not is_rag(model):
            return None
        name = model.partition(":")[2]
        stores = await (
            self._named(tenant, [name], param="model", code="model_not_found") if name else self._all(tenant)
        )
        return await self._request(tenant, stores, name or _names(stores), None)

    async def stores(self, tenant: Tenant, names: Sequence[str]) -> Sequence[Store]:
        """The stores of these names or ids; all of the tenant's where there are none. Raises as `resolve` does."""
        if not names:
            return await self._all(tenant)
        stores = await self._named(tenant, names, param="tools", code="store_not_found")
        _refuse_expired(stores)
        return stores

    async def _named(self, tenant: Tenant, names: Sequence[str], *, param: str, code: str) -> Sequence[Store]:
        found = await self._catalog(tenant).stores.resolve(names)
        if unknown := sorted(name for name, store in zip(names, found, strict=True) if store is None):
            raise NotFound(
                f"There is no knowledge store '{unknown[0]}'. Make one with `ragfleet ingest --store NAME PATH`, "
                "or with /v1/vector_stores.",
                param=param,
                code=code,
            )
        return [store for store in found if store is not None]

    async def _all(self, tenant: Tenant, without: Sequence[str] = ()) -> Sequence[Store]:
        newest = await self._catalog(tenant).stores.newest(MAX_STORES)
        stores = [store for store in newest if store.name not in without]
        if not stores:
            raise NotFound(
                "There is no knowledge store yet. Make one with `ragfleet ingest PATH`, or with /v1/vector_stores.",
                param="model",
                code="model_not_found",
            )
        return stores

    async def _request(
        self, tenant: Tenant, stores: Sequence[Store], label: str, asked: FileSearchParameters | None
    ) -> RetrievalRequest:
        _refuse_expired(stores)
        settings = self._settings
        request = RetrievalRequest(
            tenant,
            stores,
            await self._active.get(),
            files=await self._access.scope(tenant, stores),
            label=label,
            filters=None if asked is None else asked.filters,
            options=None if asked is None else asked.options,
            defaults=RetrievalOptions(
                max_num_results=settings.rag_top_k,
                score_threshold=settings.rag_min_score,
                neighbours=settings.rag_neighbours,
            ),
        )
        if not request.collection:
            raise NotFound(
                f"Nothing of '{label}' can be searched yet; wait until its files are completed.",
                param="vector_store_ids",
                code="store_empty",
            )
        await self._catalog(tenant).stores.touch([store.id for store in stores])
        return request


def _names(stores: Sequence[Store]) -> str:
    return ", ".join(sorted(store.name or store.id for store in stores))


def is_rag(model: str) -> bool:
    """Whether the model's name asks for the knowledge base: `rag` or `rag:<store>`."""
    return model.partition(":")[0] == RAG


def _refuse_expired(stores: Sequence[Store]) -> None:
    for store in stores:
        if _expired(store):
            raise BadRequest(
                f"The vector store '{store.id}' has expired; make a new one from its files.",
                param="vector_store_ids",
                code="vector_store_expired",
            )


def _expired(store: Store) -> bool:
    return store.expires_at is not None and store.expires_at <= time.time()
