"""`/admin/fleet` and `/admin/answers`: the fleet as this gateway sees it, and the requests that it answers, for operators."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from gateway.api.dependencies import ContainerDep, RequiredScope
from gateway.api.fleet_report import describe_all
from gateway.api.generation_serializers import attempt_shape, usage_shape
from gateway.api.openapi import documented
from gateway.api.replies import JsonReply
from gateway.serving.recent_answers import AnswerRecord
from gateway.tenants.key import Scope

router = APIRouter(prefix="/admin", tags=["Administration"], dependencies=[Depends(RequiredScope(Scope.ADMIN))])


class GatewayObject(TypedDict):
    """A gateway on the same catalog, by its last sign of life (Unix seconds)."""

    id: str
    seen_at: float
    this: bool


class FleetBody(TypedDict):
    """`/fleet`, and the gateways."""

    version: int
    consul_alive: bool
    consul_age_s: float | None
    policy: str
    admission: dict[str, Any]
    retrieval_admission: dict[str, Any]
    ingestion: dict[str, Any]
    instances: list[dict[str, Any]]
    answers_running: int
    gateway: dict[str, Any]
    gateways: list[GatewayObject]


class AnswerObject(TypedDict):
    """One request. Its stages are milliseconds from its begin; a stage that was not reached is null. `status` is 0 while it
    runs."""

    object: Literal["answer"]
    request_id: str
    trace_id: str | None
    tenant: str
    route: str
    model: str
    grounded: bool
    began_at: float
    status: int
    usage: dict[str, Any]
    stages: dict[str, int | None]
    attempts: list[dict[str, Any]]


class AnswersBody(TypedDict):
    """Requests, the newest first."""

    object: Literal["list"]
    data: list[AnswerObject]


class AnswersParameters(BaseModel):
    """Which of them: all, or only those that changed their instance."""

    model_config = ConfigDict(extra="forbid")
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    moved: bool = False


@router.get("/fleet", summary="The fleet and its gateways", **documented(FleetBody))
async def fleet(parts: ContainerDep) -> Response:
    """What `/fleet` tells, and more."""
    return JsonReply(await describe_all(parts))


@router.get(
    "/answers",
    summary="Requests that run, and the last ones that ended, of this gateway",
    **documented(AnswersBody),
)
async def answers(parts: ContainerDep, query: Annotated[AnswersParameters, Query()]) -> Response:
    """Without any text of them."""
    found = parts.generation.recent.newest(limit=query.limit, moved=query.moved)
    return JsonReply({"object": "list", "data": [_answer(each) for each in found]})


def _answer(record: AnswerRecord) -> AnswerObject:
    def since(at: float | None) -> int | None:
        return None if at is None else round((at - record.started) * 1000)

    return {
        "object": "answer",
        "request_id": record.request_id,
        "trace_id": record.trace_id or None,
        "tenant": record.tenant,
        "route": record.route,
        "model": record.model,
        "grounded": record.grounded,
        "began_at": record.began_at,
        "status": record.status,
        "usage": usage_shape(record.usage),
        "stages": {
            "admitted": since(record.admitted),
            "prompt_built": since(record.prompt_built),
            "first_token": since(record.first_token),
            "ended": since(record.ended),
        },
        "attempts": [{**attempt_shape(each), "started": since(each.started_at)} for each in record.attempts],
    }
