"""The paths of the gateway and how its errors look."""

import logging
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from gateway import errors
from gateway.api.bodies import Bodies
from gateway.api.chat import ChatCall
from gateway.api.completions import CompletionCall, CompletionRequest
from gateway.api.direct_routes import DirectRoutes
from gateway.api.embeddings import Embeddings
from gateway.api.files import Files
from gateway.api.json_routes import Endpoints
from gateway.api.response_schemas import ResponsesRequest
from gateway.api.responses import ResponsesCall
from gateway.api.schemas import ChatRequest
from gateway.api.store_files import StoreFiles
from gateway.api.store_search import StoreSearch
from gateway.api.streaming import StreamingEndpoint
from gateway.api.vector_stores import VectorStores
from gateway.knowledge.catalog.types import Chunking
from gateway.knowledge.chunking import Chunker
from gateway.tenants.tenant import Tenant

if TYPE_CHECKING:
    from gateway.container import Container

log = logging.getLogger("ragfleet.gateway")


def install(app: DirectRoutes, gateway: "Container") -> None:
    """Add every route and error handler."""
    bodies = Bodies(max_bytes=gateway.settings.max_body_bytes, total_bytes=gateway.settings.max_held_bytes)
    _openai(app, gateway, bodies)
    _short(app, gateway, bodies)
    _operations(app, gateway)
    _errors(app)


def _openai(app: DirectRoutes, gateway: "Container", bodies: Bodies) -> None:
    def tenant_of(request: Request) -> Tenant:
        return gateway.tenants.authenticate(request.headers.get("authorization"))

    async def names(request: Request) -> list[str]:
        tenant = tenant_of(request)
        stores = await gateway.knowledge.models(tenant)
        return list(dict.fromkeys([*gateway.models.generating, *stores, *gateway.models.embedding]))

    calls: dict[str, type[ChatCall | CompletionCall | ResponsesCall]] = {
        "/v1/chat/completions": ChatCall,
        "/v1/completions": CompletionCall,
        "/v1/responses": ResponsesCall,
    }
    for path, call in calls.items():
        endpoint = StreamingEndpoint(partial(call, gateway.generation), gateway.tenants, bodies)
        app.direct("POST", path, endpoint)

    # Only for /docs, and for other methods.
    @app.post("/v1/completions", tags=["OpenAI"], summary="Continue a prompt as it stands", response_model=None)
    async def completions(body: CompletionRequest) -> None:
        """OpenAI's completions; a stream of server-sent events with `stream`."""

    @app.post("/v1/responses", tags=["OpenAI"], summary="Answer, as a list of items", response_model=None)
    async def responses(body: ResponsesRequest) -> None:
        """OpenAI's responses; a stream of server-sent events with `stream`. Nothing is stored."""

    @app.post(
        "/v1/chat/completions",
        tags=["OpenAI"],
        summary="Answer a conversation, with or without the knowledge base",
        response_model=None,
        responses={"4XX": {"description": '`{"error": {message, type, param, code}}`'}},
    )
    async def chat_completions(body: ChatRequest) -> None:
        """OpenAI's chat completions; a stream of server-sent events with `stream`."""

    @app.get(
        "/v1/models", tags=["OpenAI"], summary="The models of the fleet, and `rag:<store>` for each knowledge store"
    )
    async def models(request: Request) -> dict[str, Any]:
        return {"object": "list", "data": [_model(name) for name in await names(request)]}

    @app.get("/v1/models/{model:path}", tags=["OpenAI"], summary="One model")
    async def model(request: Request, model: str) -> dict[str, Any]:
        if model not in await names(request):
            raise errors.NotFound(f"The model '{model}' does not exist.", param="model", code="model_not_found")
        return _model(model)


def _short(app: FastAPI, gateway: "Container", bodies: Bodies) -> None:
    """Paths of requests that hold no engine."""
    endpoints = Endpoints(app, gateway.tenants, gateway.metrics, bodies)
    Embeddings(gateway.embeddings).install(endpoints)
    limit = gateway.settings.max_file_bytes
    Files(gateway.catalog.of, gateway.objects, max_file_bytes=limit).install(endpoints)
    VectorStores(gateway.catalog.of).install(endpoints)
    usual = Chunker(count=len)
    auto = Chunking(max_tokens=usual.max_tokens, overlap_tokens=usual.overlap_tokens)
    StoreSearch(gateway.catalog.of, gateway.search).install(endpoints)
    StoreFiles(gateway.catalog.of, auto=auto).install(endpoints)


def _operations(app: FastAPI, gateway: "Container") -> None:
    @app.get("/health/live", tags=["Operations"], summary="This process answers")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @app.get("/health/ready", tags=["Operations"], summary="Requests can be served", response_model=None)
    async def ready() -> Response:
        is_ready, state = gateway.readiness()
        return _json(state, 200 if is_ready else 503)

    @app.get("/metrics", tags=["Operations"], summary="Prometheus metrics", response_model=None)
    async def metrics() -> Response:
        gateway.refresh_gauges()
        text = gateway.metrics.render() + gateway.ingestion_watch.exposition()
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/fleet", tags=["Operations"], summary="Every instance with its state, load and reason")
    async def fleet() -> dict[str, Any]:
        return gateway.describe()


def _errors(app: FastAPI) -> None:
    @app.exception_handler(errors.RagfleetError)
    async def ours(_: Request, error: errors.RagfleetError) -> Response:
        head = {k.decode(): v.decode() for k, v in errors.headers(error)}
        return _json(errors.body(error), errors.face(error).status, head)

    @app.exception_handler(HTTPException)
    async def theirs(request: Request, error: HTTPException) -> Response:
        known = {404: f"There is no path {request.url.path}.", 405: f"{request.method} is not allowed here."}
        wrapped = errors.BadRequest(known.get(error.status_code, str(error.detail)), status=error.status_code)
        return _json(errors.body(wrapped), error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        log.error("unforeseen error in %s %s", request.method, request.url.path, exc_info=error)
        wrapped = errors.RagfleetError("An internal error; the gateway's log has the details.")
        return _json(errors.body(wrapped), 500)


def _json(body: Mapping[str, Any], status: int, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers, media_type="application/json")


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "ragfleet"}
