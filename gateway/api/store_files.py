"""`/v1/vector_stores/{id}/files` and `/file_batches`: files join a store, alone or together, and leave it."""

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from typing_extensions import TypedDict

from gateway.api.deletion import removed
from gateway.api.dependencies import READS, WRITES, BatchId, CatalogDep, FileId, JsonBody, StoreId
from gateway.api.idempotency import IdempotentDep
from gateway.api.openapi import documented
from gateway.api.pagination import ListBody, MemberPageParameters, page_body
from gateway.api.replies import JsonReply
from gateway.api.serializers import (
    DeletedObject,
    FileBatchObject,
    StoreFileObject,
    batch_shape,
    deleted_shape,
    member_shape,
)
from gateway.api.store_schemas import ChangedFile, NewFile, NewFileBatch
from gateway.api.validation import naming_files
from gateway.knowledge.catalog.ingestion_types import Pause
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.knowledge.catalog.types import Batch, FileState, Member, Page

POLL_AFTER_MS = 250
"""When to ask again for what is in progress: a document is searchable within two seconds, so often."""


class TextContent(TypedDict):
    """A piece of a file's text."""

    type: Literal["text"]
    text: str


class FileContentPage(TypedDict):
    """A file's text as it is searched."""

    object: Literal["vector_store.file_content.page"]
    data: list[TextContent]
    has_more: Literal[False]
    next_page: None


router = APIRouter(prefix="/v1/vector_stores/{store_id}", tags=["Files in vector stores"])


@router.post(
    "/files",
    dependencies=WRITES,
    summary="Let a file join a store",
    **documented(StoreFileObject, 404, 409, body=NewFile),
)
async def attach_file(
    store_id: StoreId, request: Annotated[NewFile, Depends(JsonBody(NewFile))], once: IdempotentDep
) -> Response:
    """It is `in_progress` until it can be found."""

    async def work(catalog: TenantCatalog) -> JsonReply:
        (member,) = await catalog.members.attach(store_id, [request.member])
        return _member(member)

    return await once(request.model_dump(exclude_unset=True), work)


@router.get(
    "/files",
    dependencies=READS,
    summary="Files of a store, newest first",
    **documented(ListBody[StoreFileObject], 404),
)
async def list_store_files(
    store_id: StoreId, catalog: CatalogDep, query: Annotated[MemberPageParameters, Query()]
) -> Response:
    """Members of a store, of one status where `filter` names it."""
    found = await catalog.members.page(store_id, query.page, state=query.filter)
    return await _page(catalog, found)


@router.get(
    "/files/{file_id}", dependencies=READS, summary="One file with its status", **documented(StoreFileObject, 404)
)
async def get_store_file(store_id: StoreId, file_id: FileId, catalog: CatalogDep) -> Response:
    """With a header that says when to ask again."""
    member = await catalog.members.get(store_id, file_id)
    return _member(member, await _pauses(catalog, member))


@router.post(
    "/files/{file_id}",
    dependencies=WRITES,
    summary="Replace a file's attributes, or who may see it",
    **documented(StoreFileObject, 404, 409, body=ChangedFile),
)
async def update_store_file(
    store_id: StoreId,
    file_id: FileId,
    request: Annotated[ChangedFile, Depends(JsonBody(ChangedFile, dict))],
    once: IdempotentDep,
) -> Response:
    """The file stays searchable."""

    async def work(catalog: TenantCatalog) -> JsonReply:
        named = request.model_fields_set
        member = await catalog.members.get(store_id, file_id)
        if "attributes" in named:
            member = await catalog.members.set_attributes(store_id, file_id, request.attributes or {})
        if "allow" in named:  # at last: from then on the key may not see it any more
            member = await catalog.members.set_allow(store_id, file_id, request.allow)
        return _member(member)

    return await once(request.model_dump(exclude_unset=True), work)


@router.delete(
    "/files/{file_id}",
    dependencies=WRITES,
    summary="Take a file out of a store; it stays in /v1/files",
    **documented(DeletedObject, 404),
)
async def detach_file(store_id: StoreId, file_id: FileId, catalog: CatalogDep) -> Response:
    """Of this store only."""
    await catalog.members.detach(store_id, file_id)
    await removed(catalog, store_id=store_id, file_id=file_id)
    return JsonReply(deleted_shape("vector_store.file.deleted", file_id))


@router.get(
    "/files/{file_id}/content",
    dependencies=READS,
    summary="The text as it is searched",
    **documented(FileContentPage, 404),
)
async def get_store_content(store_id: StoreId, file_id: FileId, catalog: CatalogDep) -> Response:
    """Its chunks, in their order."""
    chunks = await catalog.members.chunks(store_id, file_id)
    page: FileContentPage = {
        "object": "vector_store.file_content.page",
        "data": [{"type": "text", "text": chunk.text} for chunk in chunks],
        "has_more": False,
        "next_page": None,
    }
    return JsonReply(page)


@router.post(
    "/file_batches",
    dependencies=WRITES,
    summary="Let files join a store together",
    **documented(FileBatchObject, 404, 409, body=NewFileBatch),
)
async def create_batch(
    store_id: StoreId, request: Annotated[NewFileBatch, Depends(JsonBody(NewFileBatch))], once: IdempotentDep
) -> Response:
    """All of its files exist, or none joins."""
    members = request.members()

    async def work(catalog: TenantCatalog) -> JsonReply:
        with naming_files("files" if request.files else "file_ids"):
            return _batch(await catalog.members.attach_batch(store_id, members))

    return await once(request.model_dump(exclude_unset=True), work)


@router.get(
    "/file_batches/{batch_id}",
    dependencies=READS,
    summary="One batch with its counts",
    **documented(FileBatchObject, 404),
)
async def get_batch(store_id: StoreId, batch_id: BatchId, catalog: CatalogDep) -> Response:
    """With a header that says when to ask again."""
    return _batch(await catalog.members.batch(store_id, batch_id))


@router.post(
    "/file_batches/{batch_id}/cancel",
    dependencies=WRITES,
    summary="Stop what has not come in yet",
    **documented(FileBatchObject, 404, 409),
)
async def cancel_batch(store_id: StoreId, batch_id: BatchId, once: IdempotentDep) -> Response:
    """What is in stays in."""

    async def work(catalog: TenantCatalog) -> JsonReply:
        return _batch(await catalog.members.cancel_batch(store_id, batch_id))

    return await once({}, work)


@router.get(
    "/file_batches/{batch_id}/files",
    dependencies=READS,
    summary="Files of a batch",
    **documented(ListBody[StoreFileObject], 404),
)
async def list_batch_files(
    store_id: StoreId, batch_id: BatchId, catalog: CatalogDep, query: Annotated[MemberPageParameters, Query()]
) -> Response:
    """Members that joined with this batch."""
    found = await catalog.members.page(store_id, query.page, state=query.filter, batch_id=batch_id)
    return await _page(catalog, found)


async def _page(catalog: TenantCatalog, found: Page[Member]) -> JsonReply:
    pauses = await _pauses(catalog, *found.items)
    return JsonReply(page_body(found, lambda member: member_shape(member, pauses)))


async def _pauses(catalog: TenantCatalog, *members: Member) -> Sequence[Pause]:
    """What the ingestion waits for, where some of these wait for the ingestion."""
    busy = any(member.state is FileState.IN_PROGRESS for member in members)
    return await catalog.pauses() if busy else ()


def _member(member: Member, pauses: Sequence[Pause] = ()) -> JsonReply:
    return JsonReply(member_shape(member, pauses), extra=_poll(member.state is FileState.IN_PROGRESS))


def _batch(batch: Batch) -> JsonReply:
    return JsonReply(batch_shape(batch), extra=_poll(batch.counts.in_progress > 0))


def _poll(busy: bool) -> dict[str, str]:
    return {"openai-poll-after-ms": str(POLL_AFTER_MS)} if busy else {}
