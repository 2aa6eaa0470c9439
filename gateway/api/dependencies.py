"""What handlers of short JSON paths ask for: the tenant, what is the tenant's, a body that is bounded before it is parsed."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Path, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import BaseModel

from gateway.api.authentication import Authenticator
from gateway.api.bodies import Bodies, HeldBody
from gateway.api.json_body import json_object
from gateway.api.multipart import ClientLeft
from gateway.api.validation import read, without_nulls
from gateway.container import Container
from gateway.errors import BadRequest
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.tenants.key import Scope
from gateway.tenants.tenant import Tenant

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

ID_PATTERN = r"^[A-Za-z0-9_\-]{1,128}$"
"""What an id in a path can look like at all; the database need not be asked about anything else."""
StoreId = Annotated[str, Path(pattern=ID_PATTERN)]
FileId = Annotated[str, Path(pattern=ID_PATTERN)]
BatchId = Annotated[str, Path(pattern=ID_PATTERN)]
ResponseId = Annotated[str, Path(pattern=ID_PATTERN)]

_bearer = Security(HTTPBearer(auto_error=False, description="The API key"))
_header = Security(
    APIKeyHeader(name="api-key", auto_error=False, description="The same key, as Azure's clients send it")
)


async def container(request: Request) -> Container:
    """The gateway's parts."""
    parts: Container = request.app.state.container
    return parts


ContainerDep = Annotated[Container, Depends(container)]


async def current_tenant(request: Request, _: Annotated[Any, _bearer], __: Annotated[Any, _header]) -> Tenant:
    """Whose key the request has. Raises Unauthenticated, Overloaded."""
    authenticator: Authenticator = request.app.state.authenticator
    tenant = await authenticator.tenant_of(request.scope)
    request.state.tenant = tenant
    return tenant


TenantDep = Annotated[Tenant, Depends(current_tenant)]


class RequiredScope:
    """A dependency: the key must have one of these scopes. Each route has one, but those for which no key is asked for; so what
    holds for each route's query is looked at here, too."""

    def __init__(self, *scopes: Scope) -> None:
        self.scopes = scopes

    async def __call__(self, request: Request, tenant: TenantDep) -> None:
        """Raises PermissionDenied; BadRequest for a parameter that is there twice, of which one would be ignored."""
        tenant.key.require(self.scopes)
        if request.scope["query_string"]:
            _refuse_repeated(request)


LISTS = frozenset({"include", "group_by"})
"""Parameters of queries that may be there more than once."""


def _refuse_repeated(request: Request) -> None:
    for name, times in Counter(name for name, _ in request.query_params.multi_items()).items():
        if times > 1 and name not in LISTS:
            raise BadRequest(
                f"Invalid value for '{name}': it is given {times} times; give it once.",
                param=name,
                code="invalid_value",
            )


READS = (Depends(RequiredScope(Scope.KNOWLEDGE_READ)),)
WRITES = (Depends(RequiredScope(Scope.KNOWLEDGE_WRITE)),)


async def tenant_catalog(parts: ContainerDep, tenant: TenantDep) -> TenantCatalog:
    """What the tenant has."""
    return parts.catalog.of(tenant)


CatalogDep = Annotated[TenantCatalog, Depends(tenant_catalog)]


async def request_id(request: Request) -> str:
    """The id of this request, as the client sees it."""
    found: str = request.state.request_id
    return found


RequestIdDep = Annotated[str, Depends(request_id)]


async def held_body(request: Request, tenant: TenantDep) -> AsyncIterator[HeldBody]:
    """The body, whose bytes count as the tenant's until the request is answered."""
    bodies: Bodies = request.app.state.bodies
    with bodies.hold(tenant.name, tenant.smallest(lambda limits: limits.queued_bytes)) as held:
        yield held


class JsonBody(Generic[M]):
    """A dependency: the body as this model, read in a thread where it is large. `{}` stands for no body at all.

    prepare: what is done to the JSON object before it is validated; it may raise BadRequest.
    """

    def __init__(self, model: type[M], prepare: Callable[[dict[str, Any]], Mapping[str, Any]] = without_nulls) -> None:
        self._model = model
        self._prepare = prepare

    async def __call__(self, request: Request, held: Annotated[HeldBody, Depends(held_body)]) -> M:
        """Raises what `HeldBody.read` raises, BadRequest whose `param` names the field, ClientLeft."""
        body = await held.read(request.scope, request.receive)
        if body is None:
            raise ClientLeft
        return await held.parsed(body, self._parse)

    def _parse(self, body: bytes) -> M:
        given = self._prepare(json_object(body) if body.strip() else {})
        # A null is what clients send for a parameter that is not, also for one that we do not know.
        known = self._model.model_fields
        return read(self._model, {name: value for name, value in given.items() if value is not None or name in known})


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives; it is cancelled when the client leaves. The body must have been read. Raises ClientLeft."""
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((task, watcher), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientLeft
    finally:
        for each in (task, watcher):
            each.cancel()
        await asyncio.gather(task, watcher, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
