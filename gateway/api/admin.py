"""`/admin`: tenants, keys and the audit trail, for keys with the scope admin. A load balancer keeps it from clients."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.admin_schemas import (
    AuditBody,
    ChangedTenant,
    KeyObject,
    KeyRequest,
    KeysBody,
    Name,
    NewKeyObject,
    NewTenant,
    Rotation,
    TenantObject,
    TenantsBody,
)
from gateway.api.dependencies import ID_PATTERN, ContainerDep, JsonBody, RequiredScope, TenantDep
from gateway.api.openapi import documented
from gateway.api.pagination import Cursor
from gateway.api.replies import JsonReply
from gateway.knowledge.catalog.administration import NAME, Administrator
from gateway.tenants import api_key
from gateway.tenants.key import Scope
from gateway.tenants.records import KeyRecord, TenantRecord

router = APIRouter(prefix="/admin", tags=["Administration"], dependencies=[Depends(RequiredScope(Scope.ADMIN))])

TenantName = Annotated[str, Path(pattern=f"^{NAME}$")]
KeyId = Annotated[str, Path(pattern=ID_PATTERN)]
SECRET = {"cache-control": "no-store"}


class KeyParameters(BaseModel):
    """Whose keys."""

    model_config = ConfigDict(extra="forbid")
    tenant: Name | None = None


class AuditParameters(BaseModel):
    """Which part of the trail: the acts before the one with the id `after`."""

    model_config = ConfigDict(extra="forbid")
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    after: Cursor | None = None


async def administrator(parts: ContainerDep, tenant: TenantDep) -> Administrator:
    """Whose acts are recorded under the id of the key."""
    return parts.administration.by(tenant.key.id)


AdministratorDep = Annotated[Administrator, Depends(administrator)]


@router.get("/tenants", summary="All tenants", **documented(TenantsBody))
async def list_tenants(administrator: AdministratorDep) -> Response:
    """By name."""
    return JsonReply({"object": "list", "data": [_tenant(each) for each in await administrator.tenants()]})


@router.post("/tenants", summary="Make a tenant", **documented(TenantObject, 409, body=NewTenant))
async def create_tenant(
    wanted: Annotated[NewTenant, Depends(JsonBody(NewTenant))], administrator: AdministratorDep, parts: ContainerDep
) -> Response:
    """Without keys."""
    made = await administrator.create_tenant(wanted.name, wanted.settings)
    await parts.tenants_sync.fresh()
    return JsonReply(_tenant(made))


@router.get("/tenants/{tenant_name}", summary="One tenant", **documented(TenantObject, 404))
async def get_tenant(tenant_name: TenantName, administrator: AdministratorDep) -> Response:
    """One of them."""
    return JsonReply(_tenant(await administrator.tenant(tenant_name)))


@router.post("/tenants/{tenant_name}", summary="Change a tenant", **documented(TenantObject, 404, body=ChangedTenant))
async def change_tenant(
    tenant_name: TenantName,
    wanted: Annotated[ChangedTenant, Depends(JsonBody(ChangedTenant))],
    administrator: AdministratorDep,
    parts: ContainerDep,
) -> Response:
    """What is not named stays."""
    changed = await administrator.change_tenant(tenant_name, wanted.settings)
    await parts.tenants_sync.fresh()
    return JsonReply(_tenant(changed))


@router.post(
    "/tenants/{tenant_name}/suspend", summary="Let none of a tenant's keys in", **documented(TenantObject, 404)
)
async def suspend_tenant(tenant_name: TenantName, administrator: AdministratorDep, parts: ContainerDep) -> Response:
    """What it has stays."""
    suspended = await administrator.suspend(tenant_name)
    await parts.tenants_sync.fresh()
    return JsonReply(_tenant(suspended))


@router.post(
    "/tenants/{tenant_name}/resume", summary="Let a suspended tenant's keys in again", **documented(TenantObject, 404)
)
async def resume_tenant(tenant_name: TenantName, administrator: AdministratorDep, parts: ContainerDep) -> Response:
    """All that are neither revoked nor expired."""
    resumed = await administrator.resume(tenant_name)
    await parts.tenants_sync.fresh()
    return JsonReply(_tenant(resumed))


@router.get("/keys", summary="Keys, newest first", **documented(KeysBody, 404))
async def list_keys(administrator: AdministratorDep, query: Annotated[KeyParameters, Query()]) -> Response:
    """Of one tenant where it is named; revoked ones, too."""
    return JsonReply({"object": "list", "data": [_key(each) for each in await administrator.keys(query.tenant)]})


@router.post("/keys", summary="Make a key", **documented(NewKeyObject, 404, body=KeyRequest))
async def create_key(
    wanted: Annotated[KeyRequest, Depends(JsonBody(KeyRequest))], administrator: AdministratorDep, parts: ContainerDep
) -> Response:
    """The answer is the only time that it is shown."""
    made, new = await administrator.create_key(
        wanted.tenant,
        scopes=wanted.scopes,
        groups=wanted.groups,
        limits=wanted.limits,
        expires_at=wanted.expires_at,
    )
    await parts.tenants_sync.fresh()
    return _new_key(made, new)


@router.get("/keys/{key_id}", summary="One key", **documented(KeyObject, 404))
async def get_key(key_id: KeyId, administrator: AdministratorDep) -> Response:
    """Without what opens."""
    return JsonReply(_key(await administrator.key(key_id)))


@router.post(
    "/keys/{key_id}/rotate", summary="Give a key a new secret", **documented(NewKeyObject, 404, 409, body=Rotation)
)
async def rotate_key(
    key_id: KeyId,
    wanted: Annotated[Rotation, Depends(JsonBody(Rotation))],
    administrator: AdministratorDep,
    parts: ContainerDep,
) -> Response:
    """The one before stays good for a while; id, limits and account stay."""
    rotated, new = await administrator.rotate_key(key_id, overlap_s=wanted.overlap_s)
    await parts.tenants_sync.fresh()
    return _new_key(rotated, new)


@router.delete("/keys/{key_id}", summary="Revoke a key", **documented(KeyObject, 404))
async def revoke_key(key_id: KeyId, administrator: AdministratorDep, parts: ContainerDep) -> Response:
    """For good. It stays in the list."""
    revoked = await administrator.revoke_key(key_id)
    await parts.tenants_sync.fresh()
    return JsonReply(_key(revoked))


@router.get("/audit", summary="What administrators did, newest first", **documented(AuditBody, 404))
async def list_audit(parts: ContainerDep, query: Annotated[AuditParameters, Query()]) -> Response:
    """Who, what, before and after."""
    found = await parts.administration.trail.list(limit=query.limit + 1, after=query.after or None)
    data = [{"object": "audit_record", **asdict(each)} for each in found[: query.limit]]
    return JsonReply({"object": "list", "data": data, "has_more": len(found) > query.limit})


def _tenant(record: TenantRecord) -> Mapping[str, Any]:
    return {"object": "tenant", **record.describe()}


def _key(record: KeyRecord) -> Mapping[str, Any]:
    return {"object": "api_key", **record.describe(time.time())}


def _new_key(record: KeyRecord, new: api_key.NewKey) -> JsonReply:
    return JsonReply({"key": new.text, **_key(record)}, extra=SECRET)
