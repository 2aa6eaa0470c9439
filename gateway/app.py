"""The ASGI application around a gateway's parts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from gateway.api import routes
from gateway.api.direct_routes import DirectRoutes
from gateway.api.middleware import ListParameters, RequestCounter, RequestId
from gateway.api.rate_limits import EMBEDDINGS, RateLimitHeaders
from gateway.config import Settings
from gateway.container import Container
from gateway.lifespan import running


def create_app(settings: Settings | Container) -> FastAPI:
    """The ASGI application of a gateway, or of a new one with these settings."""
    gateway = settings if isinstance(settings, Container) else Container(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running(gateway):
            yield

    app = DirectRoutes(
        gateway.quotas,
        title="Ragfleet",
        summary="A highly available RAG and LLM inference system, with OpenAI's API.",
        lifespan=lifespan,
        docs_url="/docs",
        redoc_url=None,
        redirect_slashes=False,  # a redirect names the host that the client named
    )
    routes.install(app, gateway)
    app.add_middleware(ListParameters)
    app.add_middleware(RequestCounter, metrics=gateway.metrics)
    app.add_middleware(RateLimitHeaders, quotas=gateway.quotas, paths=(EMBEDDINGS,))
    app.add_middleware(RequestId)
    if origins := gateway.settings.cors_origins.split():
        app.allow_origins(origins)
    if gateway.tracing.is_on:
        app.make_spans(gateway.tracing)
    return app
