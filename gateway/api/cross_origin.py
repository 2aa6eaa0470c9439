"""Pages of other origins that call from a browser (CORS), where the settings allow any."""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from gateway import errors
from gateway.api.rate_limits import HEADERS
from gateway.api.replies import JsonReply


class CrossOrigin(CORSMiddleware):
    """Starlette's, whose refusals have OpenAI's shape."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        """origins: `*` stands for any."""
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=("GET", "HEAD", "POST", "DELETE"),
            allow_headers=("*",),
            expose_headers=("x-request-id", "openai-processing-ms", "openai-poll-after-ms", "retry-after", *HEADERS),
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """The answer to what a browser asks before it sends a page's request."""
        response = super().preflight_response(request_headers)
        if response.status_code == 200:
            return response
        error = errors.BadRequest(f"{bytes(response.body).decode()}.", status=response.status_code, code="cors_refused")
        kept = {
            name: value for name, value in response.headers.items() if name not in ("content-length", "content-type")
        }
        return JsonReply(errors.body(error), response.status_code, kept)
