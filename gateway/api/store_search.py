"""`POST /v1/vector_stores/{id}/search`: passages with their scores, best first, in one page."""

import time
from collections.abc import Callable

from gateway.api.json_routes import Call, Endpoints, Reply
from gateway.api.rag_serializers import search_result
from gateway.api.store_schemas import SearchRequest
from gateway.api.validation import read, without_nulls
from gateway.errors import BadRequest
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.knowledge.catalog.types import Store
from gateway.retrieval.options import RetrievalOptions
from gateway.retrieval.search import SearchService
from gateway.tenants.tenant import Tenant


class StoreSearch:
    """The path."""

    def __init__(self, catalog: Callable[[Tenant], TenantCatalog], search: SearchService) -> None:
        self._catalog = catalog
        self._search = search

    def install(self, endpoints: Endpoints) -> None:
        """Add it."""
        endpoints.add(
            "POST",
            "/v1/vector_stores/{store_id}/search",
            self.search_store,
            tag="Vector stores",
            summary="Passages for a question",
            schema=SearchRequest,
        )

    async def search_store(self, call: Call) -> Reply:
        """It counts as use of the store."""
        store = await self._catalog(call.tenant).stores.get(call.id("store_id", "vector store"))
        refuse_expired(store)
        request = read(SearchRequest, without_nulls(await call.json()))
        said = {} if request.ranking_options is None else request.ranking_options.said
        searching = self._search.search(
            call.tenant,
            [store],
            request.queries,
            filters=request.filters,
            options=RetrievalOptions.read({**said, "max_num_results": request.max_num_results}),
            rewrite=request.rewrite_query,
            request_id=call.request_id,
        )
        result = await call.while_there(searching)
        await self._catalog(call.tenant).stores.touch([store.id])
        return Reply(
            {
                "object": "vector_store.search_results.page",
                "search_query": list(result.queries),
                "data": [search_result(passage) for passage in result.passages],
                "has_more": False,
                "next_page": None,
            }
        )


def refuse_expired(store: Store) -> None:
    """Raises BadRequest for a store whose time is over."""
    if store.expires_at is not None and store.expires_at <= time.time():
        raise BadRequest(
            f"The vector store '{store.id}' has expired; make a new one from its files.",
            param="vector_store_id",
            code="vector_store_expired",
        )
