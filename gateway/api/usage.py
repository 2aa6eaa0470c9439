"""`/v1/usage` for a tenant, `/admin/usage` for all: what was used, by buckets of time, as OpenAI's usage API tells it."""

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from gateway.api.dependencies import ContainerDep, RequiredScope, TenantDep
from gateway.api.openapi import documented
from gateway.api.replies import JsonReply
from gateway.errors import BadRequest
from gateway.tenants.key import USER_SCOPES, Scope
from gateway.tenants.tenant import Tenant
from gateway.tenants.usage import UsageReport, usage_csv

router = APIRouter(tags=["Usage"])

WIDTHS = {"1m": 60, "1h": 3_600, "1d": 86_400}
BUCKETS = {"1m": (60, 1_440), "1h": (24, 168), "1d": (7, 31)}
"""On a page: as a rule, and at the most."""
FAR = 2**40
"""Unix seconds past which no time is taken."""
Time = Annotated[int, Field(ge=0, le=FAR)]
Group = Literal["tenant", "api_key_id", "model"]


class UsageBody(TypedDict):
    """A page of buckets."""

    object: Literal["page"]
    data: list[dict[str, Any]]
    has_more: bool
    next_page: str | None


PAGE = {"model": UsageBody, "content": {"text/csv": {"schema": {"type": "string"}}}}


class UsageParameters(BaseModel):
    """OpenAI's, but `format`."""

    model_config = ConfigDict(extra="forbid")
    start_time: Time | None = None
    """Unix seconds; as many buckets before now as a page has, where it is left out."""
    end_time: Time | None = None
    bucket_width: Literal["1m", "1h", "1d"] = "1d"
    group_by: Annotated[list[Group], Field(max_length=3)] = []
    limit: Annotated[int, Field(ge=1, le=1_440)] | None = None
    page: Annotated[str, Field(pattern=r"^[0-9]{1,12}$")] | None = None
    format: Literal["json", "csv"] = "json"


class AdminUsageParameters(UsageParameters):
    """Of one tenant, or of all."""

    tenant: Annotated[str, Field(min_length=1, max_length=64)] | None = None


@router.get(
    "/v1/usage",
    summary="What this tenant has used, by minute, hour or day",
    dependencies=[Depends(RequiredScope(*sorted(USER_SCOPES)))],
    **documented(PAGE),
)
async def tenant_usage(tenant: TenantDep, parts: ContainerDep, query: Annotated[UsageParameters, Query()]) -> Response:
    """Buckets as `/v1/organization/usage/completions` of OpenAI has them, with embeddings among the results."""
    return await _reply(parts.usage(tenant), query)


@router.get(
    "/admin/usage",
    summary="What the tenants have used",
    dependencies=[Depends(RequiredScope(Scope.ADMIN))],
    **documented(PAGE),
)
async def all_usage(parts: ContainerDep, query: Annotated[AdminUsageParameters, Query()]) -> Response:
    """Of all, or of one of them."""
    return await _reply(parts.usage(None if query.tenant is None else Tenant(query.tenant)), query)


async def _reply(report: UsageReport, query: UsageParameters) -> Response:
    width = WIDTHS[query.bucket_width]
    usual, most = BUCKETS[query.bucket_width]
    limit = min(query.limit or usual, most)
    now = int(time.time())
    end = min(now + 1 if query.end_time is None else query.end_time, now + width)
    first = now - now % width - (limit - 1) * width if query.start_time is None else query.start_time
    start = first if query.page is None else max(first, int(query.page))
    if query.start_time is not None and query.end_time is not None and query.end_time <= query.start_time:
        raise BadRequest("end_time must be after start_time.", param="end_time", code="invalid_value")
    upto = min(end, start - start % width + limit * width)
    buckets = await report.buckets(start=start, end=upto, width=width, groups=query.group_by) if start < upto else []
    if query.format == "csv":
        return Response(usage_csv(buckets), media_type="text/csv")
    more = upto < end
    body: UsageBody = {"object": "page", "data": buckets, "has_more": more, "next_page": str(upto) if more else None}
    return JsonReply(body)
