"""What all short requests have in common: a key, a body that is bounded, an answer in JSON, a count."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson
from fastapi import FastAPI, Request
from fastapi.responses import Response
from pydantic import BaseModel

from gateway import errors
from gateway.api.bodies import Bodies, HeldBody
from gateway.api.json_body import json_object, off_loop
from gateway.api.multipart import ClientLeft
from gateway.metrics import Metrics
from gateway.tenants.directory import Directory
from gateway.tenants.tenant import Tenant

T = TypeVar("T")

# What an id or a name in a path can look like at all; a database need not be asked about anything else.
_ID = re.compile(r"[A-Za-z0-9_\-]{1,128}")


@dataclass(frozen=True, slots=True)
class Call:
    """One request of a known tenant."""

    request: Request
    tenant: Tenant
    held: HeldBody

    @property
    def request_id(self) -> str:
        """The id of this request, as the client sees it."""
        found: str = self.request.scope["state"]["request_id"]
        return found

    @property
    def query(self) -> Mapping[str, str]:
        """The query string; of a name that is there twice the last value."""
        return dict(self.request.query_params)

    def id(self, name: str, what: str) -> str:
        """An id in the path. Raises NotFound for what cannot be one."""
        value: str = self.request.path_params[name]
        if not _ID.fullmatch(value):
            raise errors.NotFound(f"There is no {what} '{value[:128]}'.", param=name)
        return value

    async def body(self) -> bytes:
        """The whole body. Raises what `HeldBody.read` raises, and ClientLeft."""
        found = await self.held.read(self.request.scope, self.request.receive)
        if found is None:
            raise ClientLeft
        return found

    async def json(self) -> dict[str, Any]:
        """The body as a JSON object; `{}` where there is none. Raises BadRequest."""
        body = await self.body()
        return await off_loop(len(body), lambda: json_object(body) if body.strip() else {})

    async def while_there(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` gives; it is cancelled when the client leaves. The body must have been read. Raises ClientLeft."""
        task = asyncio.ensure_future(work)
        watcher = asyncio.ensure_future(self._left())
        try:
            await asyncio.wait((task, watcher), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise ClientLeft
        finally:
            for each in (task, watcher):
                each.cancel()
            await asyncio.gather(task, watcher, return_exceptions=True)

    async def _left(self) -> None:
        while (await self.request.receive())["type"] != "http.disconnect":
            pass


@dataclass(frozen=True, slots=True)
class Reply:
    """A JSON answer."""

    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200


Handler = Callable[[Call], Awaitable[Reply | Response]]


class Endpoints:
    """Adds paths to the application."""

    def __init__(self, app: FastAPI, tenants: Directory, metrics: Metrics, bodies: Bodies) -> None:
        self._app = app
        self._tenants = tenants
        self._metrics = metrics
        self._bodies = bodies

    def add(
        self,
        method: str,
        path: str,
        handler: Handler,
        *,
        tag: str,
        summary: str,
        schema: type[BaseModel] | None = None,
    ) -> None:
        """One path. `schema` is what its body looks like, for /docs; the handler reads it by itself."""
        described: dict[str, Any] = {
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in re.findall(r"{(\w+)", path)
            ]
        }
        if schema is not None:
            content = schema.model_json_schema()
            content = _inlined(content, content.pop("$defs", {}))
            described["requestBody"] = {"required": True, "content": {"application/json": {"schema": content}}}
        self._app.add_api_route(
            path,
            self._guarded(handler),
            methods=[method],
            tags=[tag],
            summary=summary,
            response_model=None,
            openapi_extra=described,
            operation_id=f"{method} {path}",
            name=handler.__name__,
        )

    def _guarded(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            tenant = self._tenants.authenticate(request.headers.get("authorization"))
            status = 500
            try:
                with self._bodies.hold(tenant.name) as held:
                    reply = await handler(Call(request, tenant, held))
                if isinstance(reply, Reply):
                    reply = Response(orjson.dumps(reply.body), reply.status, reply.headers, "application/json")
                status = reply.status_code
            except errors.RagfleetError as error:
                status = errors.face(error).status
                raise
            except ClientLeft:
                status = 499  # nginx's number; only for our metrics, nobody is there to read it
                return Response(status_code=400)
            finally:
                self._metrics.requests.labels(handler.__name__, "", tenant.name, str(status)).inc()
            return reply

        return answer


def _inlined(part: Any, definitions: Mapping[str, Any]) -> Any:
    """A schema with its definitions in place of the references to them; none of ours refers to itself."""
    if isinstance(part, list):
        return [_inlined(each, definitions) for each in part]
    if not isinstance(part, dict):
        return part
    if isinstance(reference := part.get("$ref"), str):
        return _inlined(definitions[reference.rpartition("/")[2]], definitions)
    return {name: _inlined(each, definitions) for name, each in part.items()}
