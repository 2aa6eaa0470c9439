"""`/v1/chat/completions/{id}`: chats that were stored."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from gateway.api.chat_objects import ChatCompletion, StoredMessage
from gateway.api.dependencies import ID_PATTERN, CatalogDep, JsonBody, RequiredScope
from gateway.api.openapi import documented
from gateway.api.pagination import ListBody, PageParameters, page_body
from gateway.api.replies import JsonReply
from gateway.api.serializers import DeletedObject, deleted_shape
from gateway.api.validation import MAX_NAME, Metadata
from gateway.tenants.key import Scope

CompletionId = Annotated[str, Path(pattern=ID_PATTERN)]

_METADATA: TypeAdapter[dict[str, str]] = TypeAdapter(Metadata)
_KEY = re.compile(r"metadata\[(.+)\]", re.DOTALL)


class MessagePageParameters(PageParameters):
    """Which page of the messages, oldest first."""

    order: Literal["asc", "desc"] = "asc"


class ChatPageParameters(MessagePageParameters):
    """Which page of the stored chats, oldest first: of one model, with all of these `metadata[key]=value`."""

    model_config = ConfigDict(extra="allow")
    model: Annotated[str, Field(max_length=256)] | None = None

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name in self.model_extra or ():
            if not _KEY.fullmatch(name):
                raise ValueError(f"{name[:MAX_NAME]}: there is no such parameter")
        try:
            _METADATA.validate_python(self.metadata)
        except ValidationError:
            raise ValueError("metadata: at most 16, with names of 64 characters and values of 512") from None
        return self

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the chats were noted with."""
        return {name[len("metadata[") : -1]: value for name, value in (self.model_extra or {}).items()}


class ChangedChat(BaseModel):
    """`POST /v1/chat/completions/{id}`."""

    model_config = ConfigDict(extra="forbid", strict=True)
    metadata: Metadata


_BY_METADATA: dict[str, Any] = {
    "name": "metadata",
    "in": "query",
    "style": "deepObject",
    "explode": True,
    "schema": _METADATA.json_schema(),
}

router = APIRouter(prefix="/v1/chat/completions", tags=["OpenAI"], dependencies=[Depends(RequiredScope(Scope.CHAT))])


@router.get(
    "",
    summary="Stored chats, oldest first",
    openapi_extra={"parameters": [_BY_METADATA]},
    **documented(ListBody[ChatCompletion], 404),
)
async def list_chats(catalog: CatalogDep, query: Annotated[ChatPageParameters, Query()]) -> Response:
    """Those that were made with `store`."""
    page = await catalog.chats.list(query.page, model=query.model, metadata=query.metadata)
    return JsonReply(page_body(page, lambda chat: chat))


@router.get("/{completion_id}", summary="A stored chat", **documented(ChatCompletion, 404))
async def get_chat(completion_id: CompletionId, catalog: CatalogDep) -> Response:
    """As it was given, a streamed one as a whole."""
    return JsonReply(await catalog.chats.get(completion_id))


@router.post("/{completion_id}", summary="Change the metadata", **documented(ChatCompletion, 404, body=ChangedChat))
async def update_chat(
    completion_id: CompletionId, catalog: CatalogDep, request: Annotated[ChangedChat, Depends(JsonBody(ChangedChat))]
) -> Response:
    """All of it is set anew."""
    return JsonReply(await catalog.chats.update(completion_id, request.metadata))


@router.delete("/{completion_id}", summary="Delete a stored chat", **documented(DeletedObject, 404))
async def delete_chat(completion_id: CompletionId, catalog: CatalogDep) -> Response:
    """With what it was asked."""
    await catalog.chats.delete(completion_id)
    return JsonReply(deleted_shape("chat.completion.deleted", completion_id))


@router.get(
    "/{completion_id}/messages",
    summary="What a stored chat was asked, oldest first",
    **documented(ListBody[StoredMessage], 404),
)
async def list_messages(
    completion_id: CompletionId, catalog: CatalogDep, query: Annotated[MessagePageParameters, Query()]
) -> Response:
    """Each with the text of its parts as its content, where it was sent in parts."""
    page = await catalog.chats.messages(completion_id, query.page)
    return JsonReply(page_body(page, _message))


def _message(stored: dict[str, Any]) -> dict[str, Any]:
    content = stored.get("content")
    parts = content if isinstance(content, list) else None
    text = content if parts is None else "".join(part.get("text") or part.get("refusal", "") for part in parts)
    return {"refusal": None, **stored, "content": text, "content_parts": parts}
