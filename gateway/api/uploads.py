"""`/v1/uploads`: a file that comes in parts, each by itself and again where it broke off, and is then an ordinary file."""

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, Literal, NotRequired

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from gateway.api import validation
from gateway.api.batches import ExpiresAfter
from gateway.api.bodies import refuse_encoded
from gateway.api.dependencies import ID_PATTERN, WRITES, CatalogDep, ContainerDep, JsonBody
from gateway.api.file_contents import FILENAME_PATTERN, MeasuredContent, Purpose, clean_name, kept
from gateway.api.idempotency import IdempotentDep
from gateway.api.multipart import Form
from gateway.api.openapi import documented
from gateway.api.replies import JsonReply
from gateway.api.serializers import FileObject, file_shape
from gateway.api.validation import WHOLE, Words
from gateway.errors import BadRequest, PayloadTooLarge
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.knowledge.catalog.types import File, Upload, UploadState
from gateway.knowledge.catalog.uploads import MOST_PARTS, check_pending
from gateway.knowledge.objects import ObjectStore, content_key, part_key

PART_BYTES = 64 * 2**20
"""Of one part at the most; OpenAI's."""
UploadId = Annotated[str, Path(pattern=ID_PATTERN)]


class NewUpload(BaseModel):
    """`POST /v1/uploads`."""

    model_config = ConfigDict(extra="forbid", strict=True)
    filename: Annotated[Words, Field(min_length=1, max_length=1024, json_schema_extra={"pattern": FILENAME_PATTERN})]
    purpose: Purpose
    bytes: Annotated[int, Field(ge=1, lt=2**53), WHOLE]
    mime_type: Annotated[Words, Field(max_length=255)]
    expires_after: ExpiresAfter | None = None


class UploadCompletion(BaseModel):
    """`POST /v1/uploads/{id}/complete`."""

    model_config = ConfigDict(extra="forbid", strict=True)
    part_ids: Annotated[list[Annotated[str, Field(pattern=ID_PATTERN)]], validation.items(1, MOST_PARTS)]
    md5: Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{32}$")] | None = None


class UploadObject(TypedDict):
    """A file that comes in parts. `file`: what it became."""

    id: str
    object: Literal["upload"]
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: Literal["pending", "completed", "cancelled", "expired"]
    file: NotRequired[FileObject]


class UploadPartObject(TypedDict):
    """A part."""

    id: str
    object: Literal["upload.part"]
    created_at: int
    upload_id: str


_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["data"],
                    "properties": {
                        "data": {
                            "type": "string",
                            "format": "binary",
                            "description": "With a file name, whatever it is",
                        }
                    },
                }
            }
        },
    }
}

router = APIRouter(prefix="/v1/uploads", tags=["Files"], dependencies=WRITES)


@router.post("", summary="Begin a file that comes in parts", **documented(UploadObject, 409, body=NewUpload))
async def create_upload(
    request: Annotated[NewUpload, Depends(JsonBody(NewUpload))], *, parts: ContainerDep, once: IdempotentDep
) -> Response:
    """It has an hour."""
    if request.bytes > (limit := parts.settings.max_file_bytes):
        raise BadRequest(
            f"Invalid value for 'bytes': a file has at most {limit} here.", param="bytes", code="invalid_value"
        )
    filename, expiry = clean_name(request.filename, param="filename"), request.expires_after
    await parts.reserve.check(request.bytes)

    async def work(catalog: TenantCatalog) -> JsonReply:
        upload = await catalog.uploads.begin(
            upload_id=f"upload_{secrets.token_hex(12)}",
            filename=filename,
            purpose=request.purpose,
            size=request.bytes,
            file_expires_s=None if expiry is None else expiry.seconds,
        )
        return JsonReply(_shape(upload))

    return await once(request.model_dump(), work)


@router.post(
    "/{upload_id}/parts",
    summary="Add a part (multipart: data)",
    openapi_extra=_FORM,
    **documented(UploadPartObject, 404, 413, 415, 507),
)
async def add_part(upload_id: UploadId, request: Request, parts: ContainerDep, catalog: CatalogDep) -> Response:
    """Several may come at once: their order is told at the end. One that is sent again is another part."""
    refuse_encoded(request.scope)
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > PART_BYTES + 2**18:
        raise PayloadTooLarge(f"The part is over the limit of {PART_BYTES} bytes.", param="data")
    check_pending(await catalog.uploads.get(upload_id))
    await parts.reserve.check(int(announced) if announced.isdigit() else 0)
    form = Form(request.headers.get("content-type"), request.receive, max_bytes=PART_BYTES, file_field="data")
    await form.open_file()
    part_id, content = f"part_{secrets.token_hex(12)}", MeasuredContent(form.chunks(), PART_BYTES, param="data")
    try:
        await parts.objects.put(part_key(upload_id, part_id), content.chunks())
        for name in await form.finish():
            raise BadRequest(f"Unknown parameter: '{name[:64]}'.", param=name[:64], code="unknown_parameter")
        created_at = await catalog.uploads.add_part(upload_id, part_id, content.size)
    except BaseException:
        # Where the catalog knows of it after all, its client does not: it sends the part again, and this one is not named.
        await parts.objects.delete_prefix(f"files/{upload_id}/{part_id}/")
        raise
    shape: UploadPartObject = {
        "id": part_id,
        "object": "upload.part",
        "created_at": created_at,
        "upload_id": upload_id,
    }
    return JsonReply(shape)


@router.post(
    "/{upload_id}/complete",
    summary="Make a file of the parts",
    **documented(UploadObject, 404, 409, 507, body=UploadCompletion),
)
async def complete_upload(
    upload_id: UploadId,
    request: Annotated[UploadCompletion, Depends(JsonBody(UploadCompletion))],
    *,
    parts: ContainerDep,
    catalog: CatalogDep,
    once: IdempotentDep,
) -> Response:
    """In the order in which they are told. The file is whole before anybody sees it, and one that was not asked for with its
    parts in this order cannot be seen at all."""
    told, objects = {"part_ids": request.part_ids, "md5": request.md5}, parts.objects
    upload = await catalog.uploads.get(upload_id)
    file_id = f"file-{secrets.token_hex(12)}"
    content = MeasuredContent(_joined(objects, upload_id, request.part_ids), upload.size, md5=request.md5 is not None)

    async def work(inner: TenantCatalog) -> JsonReply:
        completed = await inner.uploads.complete(upload_id, file_id)
        file = await inner.files.add(
            file_id=file_id,
            filename=upload.filename,
            purpose=upload.purpose,
            size=content.size,
            sha256=content.sha256,
            expires_at=None if upload.file_expires_s is None else parts.catalog.database.now() + upload.file_expires_s,
            allow=upload.allow,
        )
        return JsonReply(_shape(completed, file))

    async def stored() -> JsonReply:
        if upload.status is UploadState.PENDING:
            _check_parts(upload, request.part_ids, await catalog.uploads.parts(upload_id))
            await parts.reserve.check(upload.size)
            await objects.put(content_key(file_id), content.chunks())
            if request.md5 is not None and content.md5 != request.md5.lower():
                raise BadRequest(
                    f"The content's MD5 is {content.md5}; send the part that differs again.",
                    param="md5",
                    code="checksum_mismatch",
                )
        return await once(told, work)  # of one that has ended it tells so, or what it answered to this key before

    return await kept(objects, catalog, file_id, stored)


@router.post("/{upload_id}/cancel", summary="Give up a file that comes in parts", **documented(UploadObject, 404))
async def cancel_upload(upload_id: UploadId, catalog: CatalogDep) -> Response:
    """Its parts are deleted."""
    return JsonReply(_shape(await catalog.uploads.cancel(upload_id)))


def _check_parts(upload: Upload, part_ids: Sequence[str], there: Mapping[str, int]) -> None:
    """Raises BadRequest where they are not the announced file."""
    for at, part_id in enumerate(part_ids):
        if part_id not in there or part_id in part_ids[:at]:
            why = "is named twice" if part_id in there else f"is none of the upload {upload.id!r}"
            raise BadRequest(f"The part {part_id!r} {why}.", param=f"part_ids.{at}", code="invalid_value")
    if (total := sum(there[each] for each in part_ids)) != upload.size:
        raise BadRequest(
            f"The parts have {total} bytes together, and {upload.size} were announced.",
            param="part_ids",
            code="upload_incomplete",
        )


async def _joined(objects: ObjectStore, upload_id: str, part_ids: Sequence[str]) -> AsyncIterator[bytes]:
    for part_id in part_ids:
        async for chunk in objects.get(part_key(upload_id, part_id)):
            yield chunk


def _shape(upload: Upload, file: File | None = None) -> UploadObject:
    shape: UploadObject = {
        "id": upload.id,
        "object": "upload",
        "bytes": upload.size,
        "created_at": upload.created_at,
        "expires_at": upload.expires_at,
        "filename": upload.filename,
        "purpose": upload.purpose,
        "status": upload.status.value,
    }
    if file is not None:
        shape["file"] = file_shape(file)
    return shape
