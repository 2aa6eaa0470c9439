"""`POST /v1/vector_stores/{id}/search`: passages with their scores, best first, in one page."""

import time
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from typing_extensions import TypedDict

from gateway.api.dependencies import (
    CatalogDep,
    ContainerDep,
    JsonBody,
    RequestIdDep,
    RequiredScope,
    StoreId,
    TenantDep,
    while_connected,
)
from gateway.api.openapi import documented
from gateway.api.rag_serializers import SearchResult, search_result
from gateway.api.replies import JsonReply
from gateway.api.store_schemas import SearchRequest
from gateway.errors import BadRequest
from gateway.knowledge.catalog.types import Store
from gateway.retrieval.options import RetrievalOptions
from gateway.tenants.key import Scope


class SearchResultsPage(TypedDict):
    """What was found, best first; `search_query` is what was searched for."""

    object: Literal["vector_store.search_results.page"]
    search_query: list[str]
    data: list[SearchResult]
    has_more: Literal[False]
    next_page: None


router = APIRouter(tags=["Vector stores"], dependencies=[Depends(RequiredScope(Scope.KNOWLEDGE_READ))])


@router.post(
    "/v1/vector_stores/{store_id}/search",
    summary="Passages for a question",
    **documented(SearchResultsPage, 404, 502, 504, body=SearchRequest),
)
async def search_store(
    store_id: StoreId,
    wanted: Annotated[SearchRequest, Depends(JsonBody(SearchRequest))],
    *,
    request: Request,
    tenant: TenantDep,
    catalog: CatalogDep,
    parts: ContainerDep,
    request_id: RequestIdDep,
) -> Response:
    """It counts as use of the store."""
    store = await catalog.stores.get(store_id)
    refuse_expired(store)
    given = {} if wanted.ranking_options is None else wanted.ranking_options.given
    searching = parts.search.search(
        tenant,
        [store],
        wanted.queries,
        filters=wanted.filters,
        options=RetrievalOptions.read({**given, "max_num_results": wanted.max_num_results}),
        rewrite=wanted.rewrite_query,
        request_id=request_id,
    )
    result = await while_connected(request, searching)
    await catalog.stores.touch([store.id])
    page: SearchResultsPage = {
        "object": "vector_store.search_results.page",
        "search_query": list(result.queries),
        "data": [search_result(each) for each in result.passages],
        "has_more": False,
        "next_page": None,
    }
    return JsonReply(page)


def refuse_expired(store: Store) -> None:
    """Raises BadRequest for a store whose time is over."""
    if store.expires_at is not None and store.expires_at <= time.time():
        raise BadRequest(
            f"The vector store '{store.id}' has expired; make a new one from its files.",
            param="vector_store_id",
            code="vector_store_expired",
        )
