"""`/ui`: the fleet page and the playground, files of this package. The page asks for keys; itself it holds nothing secret."""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from gateway.errors import NotFound

PAGE = "index.html"
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
HEADERS = {
    # Nothing from elsewhere, nothing inline, and no text that becomes markup or code: the browser itself refuses it.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Asked for again each time, and answered with a 304: a page and its modules are always of one version.
    "cache-control": "no-cache",
    "vary": "accept-encoding",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """As it is sent."""

    body: bytes
    compressed: bytes
    media_type: str
    etag: str

    @classmethod
    def of(cls, name: str, body: bytes) -> "StaticFile":
        """The type goes by the name's ending."""
        digest = hashlib.sha256(body).hexdigest()[:32]
        return cls(body, gzip.compress(body, mtime=0), TYPES[name.rpartition(".")[2]], f'"{digest}"')


def static_files() -> Mapping[str, StaticFile]:
    """All files of the page by name."""
    folder = files("gateway") / "ui"
    return {each.name: StaticFile.of(each.name, each.read_bytes()) for each in folder.iterdir() if "." in each.name}


@cache
def ui_router() -> APIRouter:
    """Its paths. All files are read once, and held: some 100 KB."""
    router = APIRouter(tags=["Operations"])
    served = static_files()

    @router.get("/ui", summary="The fleet page and the playground", response_class=Response)
    async def page(request: Request) -> Response:
        """It works with the paths of this API alone, and the keys that it is given."""
        return _reply(served[PAGE], request)

    @router.get("/ui/{name}", summary="A file of the page", response_class=Response)
    async def file(name: Annotated[str, Path(max_length=64)], request: Request) -> Response:
        """One of its files."""
        if name not in served:
            raise NotFound("The page has no such file.")
        return _reply(served[name], request)

    return router


def _reply(found: StaticFile, request: Request) -> Response:
    headers = {**HEADERS, "etag": found.etag}
    if found.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(found.body, media_type=found.media_type, headers=headers)
    return Response(found.compressed, media_type=found.media_type, headers={**headers, "content-encoding": "gzip"})
