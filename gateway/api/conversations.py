"""`/v1/conversations`: lists of items, to which responses with `conversation` add what they were asked and answered."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, WrapValidator
from typing_extensions import TypedDict

from gateway.api import validation
from gateway.api.dependencies import ID_PATTERN, CatalogDep, ContainerDep, JsonBody, RequiredScope, TenantDep
from gateway.api.idempotency import IdempotentDep
from gateway.api.openapi import documented
from gateway.api.pagination import ListBody, page_body
from gateway.api.replies import JsonReply
from gateway.api.response_inputs import Item
from gateway.api.response_item_objects import StoredItem
from gateway.api.response_items import as_items
from gateway.api.serializers import DeletedObject, deleted_shape
from gateway.api.stored_responses import Json, ShownParameters, StoredItemPageParameters
from gateway.api.validation import Metadata
from gateway.knowledge.catalog.answer_types import ConversationRecord
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.knowledge.catalog.types import Page
from gateway.tenants.key import Scope

ConversationId = Annotated[str, Path(pattern=ID_PATTERN)]
ItemId = Annotated[str, Path(pattern=ID_PATTERN)]

GivenItem = Annotated[Item, WrapValidator(lambda value, read: (read(value), value)[1])]
"""An item that its schema accepts, as the client has sent it."""
MAX_GIVEN = 20
"""Items of one request; OpenAI's."""


class NewConversation(BaseModel):
    """`POST /v1/conversations`."""

    model_config = ConfigDict(extra="forbid", strict=True)
    items: Annotated[list[GivenItem], validation.items(0, MAX_GIVEN)] | None = None
    metadata: Metadata | None = None


class ChangedConversation(BaseModel):
    """`POST /v1/conversations/{id}`."""

    model_config = ConfigDict(extra="forbid", strict=True)
    metadata: Metadata


class NewItems(BaseModel):
    """`POST /v1/conversations/{id}/items`."""

    model_config = ConfigDict(extra="forbid", strict=True)
    items: Annotated[list[GivenItem], validation.items(1, MAX_GIVEN)]


class ConversationObject(TypedDict):
    """A conversation without its items."""

    id: str
    object: Literal["conversation"]
    created_at: int
    metadata: dict[str, str]


router = APIRouter(prefix="/v1/conversations", tags=["OpenAI"], dependencies=[Depends(RequiredScope(Scope.CHAT))])


@router.post("", summary="Begin a conversation", **documented(ConversationObject, 404, 409, body=NewConversation))
async def create_conversation(
    request: Annotated[NewConversation, Depends(JsonBody(NewConversation))],
    *,
    parts: ContainerDep,
    tenant: TenantDep,
    once: IdempotentDep,
) -> Response:
    """With its first items."""
    given = await parts.stored.referred(tenant, as_items(_given(request.items)), param="items")

    async def work(catalog: TenantCatalog) -> JsonReply:
        made = await catalog.conversations.create(request.metadata or {}, given, keep_s=parts.stored.keep_s)
        return JsonReply(_shape(made))

    return await once(request.model_dump(warnings=False), work)


@router.get("/{conversation_id}", summary="A conversation", **documented(ConversationObject, 404))
async def get_conversation(conversation_id: ConversationId, catalog: CatalogDep) -> Response:
    """Without its items."""
    return JsonReply(_shape(await catalog.conversations.get(conversation_id)))


@router.post(
    "/{conversation_id}",
    summary="Change the metadata",
    **documented(ConversationObject, 404, 409, body=ChangedConversation),
)
async def update_conversation(
    conversation_id: ConversationId,
    request: Annotated[ChangedConversation, Depends(JsonBody(ChangedConversation))],
    *,
    parts: ContainerDep,
    once: IdempotentDep,
) -> Response:
    """All of it is set anew."""

    async def work(catalog: TenantCatalog) -> JsonReply:
        found = await catalog.conversations.update(conversation_id, request.metadata, keep_s=parts.stored.keep_s)
        return JsonReply(_shape(found))

    return await once(request.model_dump(), work)


@router.delete("/{conversation_id}", summary="Delete a conversation with its items", **documented(DeletedObject, 404))
async def delete_conversation(conversation_id: ConversationId, catalog: CatalogDep) -> Response:
    """Responses that were given in it stay."""
    await catalog.conversations.delete(conversation_id)
    return JsonReply(deleted_shape("conversation.deleted", conversation_id))


@router.post(
    "/{conversation_id}/items", summary="Add items", **documented(ListBody[StoredItem], 404, 409, body=NewItems)
)
async def create_items(
    conversation_id: ConversationId,
    request: Annotated[NewItems, Depends(JsonBody(NewItems))],
    *,
    query: Annotated[ShownParameters, Query()],
    parts: ContainerDep,
    tenant: TenantDep,
    once: IdempotentDep,
) -> Response:
    """At the end. One whose id is there already is left out."""
    given = await parts.stored.referred(tenant, as_items(_given(request.items)), param="items")

    async def work(catalog: TenantCatalog) -> JsonReply:
        await catalog.conversations.add(conversation_id, given, keep_s=parts.stored.keep_s)
        return JsonReply(page_body(Page(given, has_more=False), lambda item: item))

    return await once(request.model_dump(warnings=False), work)


@router.get("/{conversation_id}/items", summary="Items, newest first", **documented(ListBody[StoredItem], 404))
async def list_items(
    conversation_id: ConversationId, catalog: CatalogDep, query: Annotated[StoredItemPageParameters, Query()]
) -> Response:
    """What was said in it."""
    page = await catalog.conversations.items(conversation_id, query.page)
    return JsonReply(page_body(page, lambda item: item))


@router.get("/{conversation_id}/items/{item_id}", summary="One item", **documented(StoredItem, 404))
async def get_item(
    conversation_id: ConversationId, item_id: ItemId, catalog: CatalogDep, query: Annotated[ShownParameters, Query()]
) -> Response:
    """One item."""
    return JsonReply(await catalog.conversations.item(conversation_id, item_id))


@router.delete("/{conversation_id}/items/{item_id}", summary="Delete an item", **documented(ConversationObject, 404))
async def delete_item(conversation_id: ConversationId, item_id: ItemId, catalog: CatalogDep) -> Response:
    """The conversation without it."""
    return JsonReply(_shape(await catalog.conversations.delete_item(conversation_id, item_id)))


def _given(items: Any) -> list[Json]:
    return list(items or ())


def _shape(found: ConversationRecord) -> ConversationObject:
    return {
        "id": found.id,
        "object": "conversation",
        "created_at": found.created_at,
        "metadata": dict(found.metadata),
    }
