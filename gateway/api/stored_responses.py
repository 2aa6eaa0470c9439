"""`/v1/responses/{id}`: answers that were stored; and how many tokens a request would be."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from typing_extensions import TypedDict

from gateway.api.bodies import HeldBody
from gateway.api.dependencies import (
    CatalogDep,
    ContainerDep,
    RequestIdDep,
    RequiredScope,
    ResponseId,
    TenantDep,
    held_body,
    while_connected,
)
from gateway.api.journaled_streams import JournaledStreams
from gateway.api.multipart import ClientLeft
from gateway.api.openapi import documented, json_or_events
from gateway.api.pagination import ListBody, PageParameters, page_body
from gateway.api.replies import JsonReply
from gateway.api.response_item_objects import StoredItem
from gateway.api.response_objects import ResponseObject
from gateway.api.response_schemas import Include, ResponsesRequest
from gateway.api.response_streams import told_to_the_end
from gateway.api.responses import ResponsesCall, ResponseServices
from gateway.api.serializers import DeletedObject, deleted_shape
from gateway.api.validation import items
from gateway.knowledge.catalog.answer_types import AnswerKind
from gateway.tenants.key import Scope

Json = dict[str, Any]


class InputTokens(TypedDict):
    """Tokens of a prompt."""

    object: Literal["response.input_tokens"]
    input_tokens: int


class ShownParameters(BaseModel):
    """What is to be shown of an answer. What is stored is shown, so that `include` changes nothing."""

    model_config = ConfigDict(extra="forbid")
    include: Annotated[list[Include], items(0, 16)] | None = None


No = Annotated[Literal[False], BeforeValidator(lambda given: False if given == "false" else given)]
"""False, as a query string has it."""


class ReadParameters(ShownParameters):
    """How an answer is to be read. `stream`: its events again, and those that are still to come, behind `starting_after`."""

    stream: bool = False
    starting_after: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    include_obfuscation: No | None = None


class StoredItemPageParameters(PageParameters):
    """Which page of an input, or of a conversation."""

    include: Annotated[list[Include], items(0, 16)] | None = None


router = APIRouter(prefix="/v1/responses", tags=["OpenAI"], dependencies=[Depends(RequiredScope(Scope.CHAT))])


@router.get("/{response_id}", summary="A stored answer", **documented(json_or_events(ResponseObject), 404, 409))
async def get_response(
    response_id: ResponseId,
    catalog: CatalogDep,
    query: Annotated[ReadParameters, Query()],
    *,
    parts: ContainerDep,
    tenant: TenantDep,
) -> Response:
    """As it was given, or as far as it is."""
    if not query.stream:
        return JsonReply(await catalog.responses.get(response_id))
    after = -1 if query.starting_after is None else query.starting_after
    await parts.background.check_readable(tenant, AnswerKind.RESPONSE, response_id, after)
    events = parts.background.follow(tenant, AnswerKind.RESPONSE, response_id, after)
    told = told_to_the_end(events, catalog, response_id)
    return StreamingResponse(told, headers={"cache-control": "no-cache"}, media_type="text/event-stream")


@router.post("/{response_id}/cancel", summary="Stop a response in the background", **documented(ResponseObject, 404))
async def cancel_response(response_id: ResponseId, catalog: CatalogDep, parts: ContainerDep) -> Response:
    """One that has ended stays as it is."""
    body = await catalog.responses.cancel(response_id)
    parts.background.stop(response_id)
    return JsonReply(body)


@router.delete("/{response_id}", summary="Delete a stored answer", **documented(DeletedObject, 404))
async def delete_response(response_id: ResponseId, catalog: CatalogDep, parts: ContainerDep) -> Response:
    """With what it was asked. Answers that continue it can be read, and not be continued any more."""
    await catalog.responses.delete(response_id)
    parts.background.stop(response_id)
    return JsonReply(deleted_shape("response", response_id))


@router.get(
    "/{response_id}/input_items",
    summary="What a stored answer was asked, newest first",
    **documented(ListBody[StoredItem], 404),
)
async def list_input_items(
    response_id: ResponseId, catalog: CatalogDep, query: Annotated[StoredItemPageParameters, Query()]
) -> Response:
    """Its own input; what was said before is with the answers that it continues."""
    page = await catalog.responses.input_items(response_id, query.page)
    return JsonReply(page_body(page, lambda item: item))


async def _call(
    request: Request,
    held: Annotated[HeldBody, Depends(held_body)],
    *,
    parts: ContainerDep,
    tenant: TenantDep,
    request_id: RequestIdDep,
) -> ResponsesCall:
    """The request in a body. Raises BadRequest, ClientLeft."""
    body = await held.read(request.scope, request.receive)
    if body is None:
        raise ClientLeft
    journals = JournaledStreams(parts.generation, parts.background, parts.settings)
    services = ResponseServices(parts.generation, parts.stored, parts.background, journals)
    return await held.parsed(body, lambda body: ResponsesCall(services, body, tenant, request_id))


@router.post(
    "/input_tokens",
    summary="Count the tokens of a request",
    **documented(InputTokens, 404, 409, 502, 504, body=ResponsesRequest),
)
async def count_input_tokens(request: Request, call: Annotated[ResponsesCall, Depends(_call)]) -> Response:
    """As the fleet builds the prompt, with what a search finds for it."""
    body: InputTokens = {
        "object": "response.input_tokens",
        "input_tokens": await while_connected(request, call.count_tokens()),
    }
    return JsonReply(body)
