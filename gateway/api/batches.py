"""`/v1/batches`: many requests from a file, answered when there is room, into another file."""

import secrets
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from gateway.api.dependencies import (
    ID_PATTERN,
    CatalogDep,
    ContainerDep,
    JsonBody,
    RequiredScope,
    TenantDep,
)
from gateway.api.idempotency import IdempotentDep
from gateway.api.openapi import documented
from gateway.api.pagination import ListBody, PageParameters, page_body
from gateway.api.replies import JsonReply
from gateway.api.validation import WHOLE, Metadata, naming_files
from gateway.errors import BadRequest
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.tenants.caller import dump_caller
from gateway.tenants.key import Scope

WINDOW_S = 86_400
JobId = Annotated[str, Path(pattern=ID_PATTERN)]


class ExpiresAfter(BaseModel):
    """When the files that a batch makes are to go."""

    model_config = ConfigDict(extra="forbid", strict=True)
    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=3600, le=2_592_000), WHOLE]


class NewBatch(BaseModel):
    """`POST /v1/batches`."""

    model_config = ConfigDict(extra="forbid", strict=True)
    input_file_id: Annotated[str, Field(pattern=ID_PATTERN)]
    endpoint: Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"]
    completion_window: Literal["24h"]
    metadata: Metadata | None = None
    output_expires_after: ExpiresAfter | None = None


class RequestCounts(TypedDict):
    """Lines."""

    total: int
    completed: int
    failed: int


class LineError(TypedDict):
    """What is wrong with a line of the input."""

    code: str
    message: str
    param: str | None
    line: int | None


class BatchErrors(TypedDict):
    """Why a batch has failed."""

    object: Literal["list"]
    data: list[LineError]


class BatchObject(TypedDict):
    """A batch. The times of states that it was not in are null."""

    id: str
    object: Literal["batch"]
    endpoint: str
    input_file_id: str
    completion_window: str
    status: Literal[
        "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
    ]
    created_at: int
    expires_at: int
    request_counts: RequestCounts
    output_file_id: str | None
    error_file_id: str | None
    metadata: dict[str, str] | None
    errors: BatchErrors | None
    in_progress_at: int | None
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None


router = APIRouter(prefix="/v1/batches", tags=["OpenAI"], dependencies=[Depends(RequiredScope(Scope.CHAT))])


@router.post("", summary="Make a batch", **documented(BatchObject, 404, 409, body=NewBatch))
async def create_batch(
    request: Annotated[NewBatch, Depends(JsonBody(NewBatch))],
    *,
    parts: ContainerDep,
    tenant: TenantDep,
    once: IdempotentDep,
) -> Response:
    """Of a file with the purpose `batch`. It is read, and worked off, by and by."""
    if request.endpoint == "/v1/embeddings":
        tenant.key.require((Scope.EMBEDDINGS,))
    now = int(time.time())
    moments = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
    batch: dict[str, Any] = {
        "id": f"batch_{secrets.token_hex(12)}",
        "object": "batch",
        "endpoint": request.endpoint,
        "errors": None,
        "input_file_id": request.input_file_id,
        "completion_window": request.completion_window,
        "status": "validating",
        "output_file_id": None,
        "error_file_id": None,
        "created_at": now,
        "expires_at": now + WINDOW_S,
        **{f"{name}_at": None for name in moments},
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "metadata": request.metadata,
    }
    if request.output_expires_after is not None:
        batch["output_expires_after"] = request.output_expires_after.model_dump()

    async def work(catalog: TenantCatalog) -> JsonReply:
        with naming_files("input_file_id"):
            file = await catalog.files.get(request.input_file_id)
        if file.purpose != "batch":
            raise BadRequest(
                f"The file {file.id!r} has the purpose '{file.purpose}'; upload it with the purpose 'batch'.",
                param="input_file_id",
                code="invalid_purpose",
            )
        await catalog.batches.create(batch, dump_caller(tenant))
        return JsonReply(batch)

    reply = await once(request.model_dump(), work)
    parts.batches.tell()
    return reply


@router.get("", summary="Batches, newest first", **documented(ListBody[BatchObject], 404))
async def list_batches(catalog: CatalogDep, query: Annotated[PageParameters, Query()]) -> Response:
    """Batches of the tenant."""
    return JsonReply(page_body(await catalog.batches.page(query.page), lambda batch: batch))


@router.get("/{job_id}", summary="One batch", **documented(BatchObject, 404))
async def get_batch(job_id: JobId, catalog: CatalogDep) -> Response:
    """As far as it is."""
    return JsonReply(await catalog.batches.get(job_id))


@router.post("/{job_id}/cancel", summary="Cancel a batch", **documented(BatchObject, 404, 409))
async def cancel_batch(job_id: JobId, catalog: CatalogDep, parts: ContainerDep) -> Response:
    """What was answered by then is in its files."""
    batch = await catalog.batches.cancel(job_id)
    parts.batches.tell()
    return JsonReply(batch)
