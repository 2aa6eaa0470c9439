"""Health, metrics and the state of the fleet. No key is asked for: a load balancer keeps them from clients."""

from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.responses import Response

from gateway.api import fleet_report
from gateway.api.dependencies import ContainerDep
from gateway.api.replies import JsonReply

router = APIRouter(tags=["Operations"])
_READY: dict[int | str, dict[str, Any]] = {503: {"description": "They cannot, and why"}}


@router.get("/health/live", summary="This process answers")
async def live() -> dict[str, str]:
    """Whatever else is wrong."""
    return {"status": "live"}


@router.get("/health", summary="The same as /health/ready, as vLLM has it", response_model=None, responses=_READY)
@router.get("/health/ready", summary="Requests can be served", response_model=None, responses=_READY)
async def ready(parts: ContainerDep) -> Response:
    """And by which instances."""
    is_ready, state = fleet_report.readiness(parts)
    return JsonReply(state, 200 if is_ready else 503)


@router.get("/metrics", summary="Prometheus metrics", response_model=None)
async def metrics(parts: ContainerDep, accept: Annotated[str, Header()] = "") -> Response:
    """The gateway's, of all its processes, its ingestion's with them; as OpenMetrics, with exemplars, for who asks for that."""
    text, media_type = await fleet_report.metrics(parts, accept)
    return Response(text, media_type=media_type)


@router.get("/fleet", summary="Every instance with its state, load and reason")
async def fleet(parts: ContainerDep) -> dict[str, Any]:
    """For people and for `ragfleet status`."""
    return await fleet_report.describe(parts)
