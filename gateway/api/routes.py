"""The paths of the gateway."""

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

from fastapi import APIRouter, Depends
from starlette.routing import BaseRoute

from gateway.api import (
    admin,
    admin_fleet,
    batches,
    conversations,
    embeddings,
    error_handlers,
    files,
    models,
    operations,
    store_files,
    store_search,
    stored_chats,
    stored_responses,
    uploads,
    usage,
    vector_stores,
)
from gateway.api.authentication import Authenticator
from gateway.api.background_responses import BackgroundResponses
from gateway.api.batch_requests import BatchRequests
from gateway.api.bodies import Bodies
from gateway.api.chat import ChatCall
from gateway.api.chat_objects import ChatCompletion, Completion
from gateway.api.chat_schemas import ChatRequest
from gateway.api.completions import CompletionCall, CompletionRequest, open_completion
from gateway.api.dependencies import RequiredScope
from gateway.api.direct_routes import DirectRoutes
from gateway.api.journaled_chats import ChatMaker, ChatOpener
from gateway.api.journaled_streams import JournaledStreams
from gateway.api.openapi import describe, documented, header, json_or_events
from gateway.api.response_objects import ResponseObject
from gateway.api.response_schemas import ResponsesRequest
from gateway.api.responses import ResponsesCall, ResponseServices
from gateway.api.streaming import Opener, StreamingEndpoint
from gateway.api.ui import ui_router
from gateway.container import Container
from gateway.knowledge.catalog.answer_types import AnswerKind
from gateway.tenants.key import Scope

JOURNAL = header(
    "X-Ragfleet-Journal",
    "Whether the stream has a journal, by which its client goes on with it after a lost connection or a dead gateway.",
    enum=["true", "false"],
)
LAST_EVENT_ID = header(
    "Last-Event-ID",
    "The id of the last event that came of a stream with a journal: the answer is what is behind it, whatever else is asked.",
    pattern=r"^[!-~]*:[0-9]{1,9}$",
)


def _generated(answer: Any, *headers: dict[str, Any]) -> dict[str, Any]:
    """The words of a path of tokens. answer: the type of a whole one. headers: that it takes notice of."""
    return {
        "tags": ["OpenAI"],
        "dependencies": [Depends(RequiredScope(Scope.CHAT))],
        "openapi_extra": {"parameters": list(headers)},
        **documented(json_or_events(answer), 404, 413, 415, 502, 504),
    }


documents = APIRouter()
"""The paths of tokens once more, for /docs alone, and for other methods: `DirectRoutes` serves them. Made once a process."""


@documents.post("/v1/completions", summary="Continue a prompt as it stands", **_generated(Completion))
async def completions(body: CompletionRequest) -> None:
    """OpenAI's completions; a stream of server-sent events with `stream`."""


@documents.post("/v1/responses", summary="Answer, as a list of items", **_generated(ResponseObject, JOURNAL))
async def responses(body: ResponsesRequest) -> None:
    """OpenAI's responses; a stream of server-sent events with `stream`."""


@documents.post(
    "/v1/chat/completions",
    summary="Answer a conversation, with or without the knowledge base",
    **_generated(ChatCompletion, JOURNAL, LAST_EVENT_ID),
)
async def chat_completions(body: ChatRequest) -> None:
    """OpenAI's chat completions; a stream of server-sent events with `stream`."""


def install(app: DirectRoutes, gateway: Container) -> None:
    """Add every route and error handler."""
    bodies = Bodies(max_bytes=gateway.settings.max_body_bytes, total_bytes=gateway.settings.max_held_bytes)
    authenticator = Authenticator(
        gateway.tenants, gateway.metrics, fresh=gateway.tenants_sync.fresh, tokens=gateway.tokens
    )
    app.state.container, app.state.bodies, app.state.authenticator = gateway, bodies, authenticator
    _generation(app, gateway, authenticator, bodies)
    app.router.routes.extend(_described_paths(ui=gateway.settings.ui))
    error_handlers.install(app)
    describe(app)


@cache
def _described_paths(*, ui: bool) -> Sequence[BaseRoute]:
    """The paths that FastAPI knows. It works out what each of them takes and gives at the first request that looks for it, for
    0.3 s in all, in which no stream goes on. So it is asked here, before there is a stream, for a path that is not there."""
    every = APIRouter()
    every.include_router(documents)
    for module in (
        models,
        embeddings,
        files,
        uploads,
        vector_stores,
        store_files,
        store_search,
        stored_chats,
        stored_responses,
        conversations,
        batches,
        admin,
        admin_fleet,
        usage,
        operations,
    ):
        every.include_router(module.router)
    if ui:
        every.include_router(ui_router())
    for route in every.routes:
        route.matches({"type": "http", "method": "GET", "path": "/-", "root_path": "", "headers": []})
    return every.routes


def _generation(app: DirectRoutes, gateway: Container, authenticator: Authenticator, bodies: Bodies) -> None:
    service = gateway.generation
    journals = JournaledStreams(service, gateway.background, gateway.settings)
    responses_by = ResponseServices(service, gateway.stored, gateway.background, journals)
    responses_made = BackgroundResponses(responses_by)
    gateway.background.serve(
        {
            AnswerKind.BACKGROUND: responses_made,
            AnswerKind.RESPONSE: responses_made,
            AnswerKind.CHAT: ChatMaker(service, gateway.stored),
        }
    )
    gateway.batches.serve(BatchRequests(responses_by, gateway.embeddings).answer)
    calls: dict[str, tuple[str, Opener]] = {
        "/v1/chat/completions": (ChatCall.ROUTE, ChatOpener(service, gateway.stored, journals)),
        "/v1/completions": (CompletionCall.ROUTE, partial(open_completion, service)),
        "/v1/responses": (ResponsesCall.ROUTE, partial(ResponsesCall, responses_by)),
    }
    for path, (route, opener) in calls.items():
        on_refusal = partial(service.refused, route)
        endpoint = StreamingEndpoint(opener, authenticator, bodies, on_refusal, scope=Scope.CHAT)
        app.direct("POST", path, endpoint)
