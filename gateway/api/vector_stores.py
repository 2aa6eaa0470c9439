"""`/v1/vector_stores`: making, finding, changing and deleting them."""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from gateway.api.deletion import removed
from gateway.api.dependencies import READS, WRITES, CatalogDep, JsonBody, StoreId
from gateway.api.idempotency import IdempotentDep
from gateway.api.openapi import documented
from gateway.api.pagination import ListBody, PageParameters, page_body
from gateway.api.replies import JsonReply
from gateway.api.serializers import DeletedObject, VectorStoreObject, deleted_shape, store_shape
from gateway.api.store_schemas import ChangedStore, NewStore
from gateway.api.validation import naming_files
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.knowledge.catalog.types import Store

router = APIRouter(prefix="/v1/vector_stores", tags=["Vector stores"])


@router.post(
    "", dependencies=WRITES, summary="Make a vector store", **documented(VectorStoreObject, 404, 409, body=NewStore)
)
async def create_store(request: Annotated[NewStore, Depends(JsonBody(NewStore))], once: IdempotentDep) -> Response:
    """With its first files, which begin to come in at once."""

    async def work(catalog: TenantCatalog) -> JsonReply:
        store = await catalog.stores.create(
            name=request.name,
            description=request.description,
            metadata=request.metadata,
            settings=None if request.retrieval is None else request.retrieval.given,
            expires_after_days=None if request.expires_after is None else request.expires_after.days,
        )
        if members := request.members():
            with naming_files("file_ids"):
                await catalog.members.attach(store.id, members)
            store = await catalog.stores.get(store.id)
        return JsonReply(_shape(store))

    return await once(request.model_dump(exclude_unset=True), work)


@router.get(
    "", dependencies=READS, summary="Vector stores, newest first", **documented(ListBody[VectorStoreObject], 404)
)
async def list_stores(catalog: CatalogDep, query: Annotated[PageParameters, Query()]) -> Response:
    """Stores of the tenant."""
    return JsonReply(page_body(await catalog.stores.page(query.page), _shape))


@router.get("/{store_id}", dependencies=READS, summary="One vector store", **documented(VectorStoreObject, 404))
async def get_store(store_id: StoreId, catalog: CatalogDep) -> Response:
    """One store."""
    return JsonReply(_shape(await catalog.stores.get(store_id)))


@router.post(
    "/{store_id}",
    dependencies=WRITES,
    summary="Change name, metadata, expiry, retrieval",
    **documented(VectorStoreObject, 404, 409, body=ChangedStore),
)
async def update_store(
    store_id: StoreId, request: Annotated[ChangedStore, Depends(JsonBody(ChangedStore, dict))], once: IdempotentDep
) -> Response:
    """What is not named stays; a null clears it."""
    named = request.model_fields_set
    changes: dict[str, Any] = {name: getattr(request, name) for name in ("description", "metadata") if name in named}
    if "name" in named:
        changes["name"] = request.name or ""
    if "retrieval" in named:
        changes["settings"] = None if request.retrieval is None else request.retrieval.given
    if "expires_after" in named:
        changes["expires_after_days"] = None if request.expires_after is None else request.expires_after.days

    async def work(catalog: TenantCatalog) -> JsonReply:
        return JsonReply(_shape(await catalog.stores.update(store_id, **changes)))

    return await once(request.model_dump(exclude_unset=True), work)


@router.delete(
    "/{store_id}",
    dependencies=WRITES,
    summary="Delete a vector store; its files stay",
    **documented(DeletedObject, 404),
)
async def delete_store(store_id: StoreId, catalog: CatalogDep) -> Response:
    """Its files stay in `/v1/files`."""
    await catalog.stores.delete(store_id)
    await removed(catalog, store_id=store_id)
    return JsonReply(deleted_shape("vector_store.deleted", store_id))


def _shape(store: Store) -> VectorStoreObject:
    return store_shape(store, time.time())
