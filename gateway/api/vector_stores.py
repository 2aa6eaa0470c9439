"""`/v1/vector_stores`: making, finding, changing and deleting them."""

import time
from collections.abc import Callable
from typing import Any

from gateway.api.deletion import removed
from gateway.api.idempotency import IdempotentRequests
from gateway.api.json_routes import Call, Endpoints, Reply
from gateway.api.pagination import page_body, page_query
from gateway.api.serializers import deleted_shape, store_shape
from gateway.api.store_schemas import ChangedStore, NewStore
from gateway.api.validation import read, without_nulls
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.knowledge.catalog.types import UNCHANGED, Store
from gateway.tenants.tenant import Tenant


class VectorStores:
    """The paths of stores."""

    def __init__(self, catalog: Callable[[Tenant], TenantCatalog]) -> None:
        self._catalog = catalog
        self._once = IdempotentRequests(catalog)

    def install(self, endpoints: Endpoints) -> None:
        """Add the paths."""
        add, tag, path = endpoints.add, "Vector stores", "/v1/vector_stores"
        one = f"{path}/{{store_id}}"
        add("POST", path, self.create_store, tag=tag, summary="Make a vector store", schema=NewStore)
        add("GET", path, self.list_stores, tag=tag, summary="Vector stores, newest first")
        add("GET", one, self.get_store, tag=tag, summary="One vector store")
        add(
            "POST",
            one,
            self.update_store,
            tag=tag,
            summary="Change name, metadata, expiry, retrieval",
            schema=ChangedStore,
        )
        add("DELETE", one, self.delete_store, tag=tag, summary="Delete a vector store; its files stay")

    async def create_store(self, call: Call) -> Reply:
        """With its first files, which begin to come in at once."""
        raw = without_nulls(await call.json())
        request = read(NewStore, raw)

        async def work(catalog: TenantCatalog) -> Reply:
            store = await catalog.stores.create(
                name=request.name,
                description=request.description,
                metadata=request.metadata,
                settings=None if request.retrieval is None else request.retrieval.said,
                expires_after_days=None if request.expires_after is None else request.expires_after.days,
            )
            if members := request.members():
                await catalog.members.attach(store.id, members)
                store = await catalog.stores.get(store.id)
            return Reply(_shape(store))

        return await self._once(call, raw, work)

    async def list_stores(self, call: Call) -> Reply:
        """Stores of the tenant."""
        return Reply(page_body(await self._catalog(call.tenant).stores.page(page_query(call.query)), _shape))

    async def get_store(self, call: Call) -> Reply:
        """One store."""
        return Reply(_shape(await self._catalog(call.tenant).stores.get(_id(call))))

    async def update_store(self, call: Call) -> Reply:
        """What is not named stays."""
        raw = await call.json()
        request = read(ChangedStore, raw)
        changes: dict[str, Any] = {name: getattr(request, name) for name in ("description", "metadata") if name in raw}
        if "retrieval" in raw:
            changes["settings"] = None if request.retrieval is None else request.retrieval.said
        if raw.get("name") is not None:
            changes["name"] = request.name
        days = None if request.expires_after is None else request.expires_after.days
        changes["expires_after_days"] = days if "expires_after" in raw else UNCHANGED
        store_id = _id(call)

        async def work(catalog: TenantCatalog) -> Reply:
            return Reply(_shape(await catalog.stores.update(store_id, **changes)))

        return await self._once(call, raw, work)

    async def delete_store(self, call: Call) -> Reply:
        """Its files stay in `/v1/files`."""
        store_id = _id(call)
        await self._catalog(call.tenant).stores.delete(store_id)
        await removed(self._catalog(call.tenant), store_id=store_id)
        return Reply(deleted_shape("vector_store.deleted", store_id))


def _id(call: Call) -> str:
    return call.id("store_id", "vector store")


def _shape(store: Store) -> dict[str, Any]:
    return store_shape(store, time.time())
