"""`/v1/files`: contents go to the object store as they come in, what is known of them to the catalog."""

import re
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from gateway.api.bodies import refuse_encoded
from gateway.api.deletion import removed
from gateway.api.dependencies import READS, WRITES, CatalogDep, ContainerDep, FileId
from gateway.api.file_contents import PURPOSES, MeasuredContent, clean_name, kept
from gateway.api.idempotency import IdempotentDep
from gateway.api.multipart import Form
from gateway.api.openapi import documented
from gateway.api.pagination import FilePageParameters, ListBody, page_body
from gateway.api.replies import JsonReply
from gateway.api.serializers import DeletedObject, FileObject, deleted_shape, file_shape
from gateway.errors import BadRequest, NotFound, PayloadTooLarge
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.knowledge.objects import content_key
from gateway.tenants.key import GROUP_PATTERN, MAX_ALLOWED_GROUPS

_ALLOW = ("allow", "allow[]")
"""Groups between commas, and one group each time, as OpenAI's clients write a list; nothing in them: an empty list."""
_EXPIRY = {"expires_after[anchor]", "expires_after[seconds]"}
_GROUP = GROUP_PATTERN.strip("^$")
_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["file", "purpose"],
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "With a file name"},
                        "purpose": {"type": "string", "enum": list(PURPOSES)},
                        "allow": {"type": "string", "pattern": f"^({_GROUP}(,{_GROUP}){{0,15}})?$"},
                        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
                        "expires_after[seconds]": {"type": "integer", "minimum": 3600, "maximum": 2_592_000},
                    },
                    "dependentRequired": {
                        "expires_after[anchor]": ["expires_after[seconds]"],
                        "expires_after[seconds]": ["expires_after[anchor]"],
                    },
                }
            }
        },
    }
}
_CONTENT: dict[str, Any] = {
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    "description": "The bytes",
}

router = APIRouter(prefix="/v1/files", tags=["Files"])


@router.post(
    "",
    dependencies=WRITES,
    summary="Upload a file (multipart: file, purpose)",
    openapi_extra=_FORM,
    **documented(FileObject, 409, 413, 415, 507),
)
async def create_file(request: Request, parts: ContainerDep, catalog: CatalogDep, once: IdempotentDep) -> Response:
    """The file is in the object store before the catalog knows of it: what is listed can be read."""
    limit, objects = parts.settings.max_file_bytes, parts.objects
    refuse_encoded(request.scope)
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit + 2**18:
        raise PayloadTooLarge(f"The file is over the limit of {limit} bytes.", param="file")
    await parts.reserve.check(int(announced) if announced.isdigit() else 0)
    form = Form(request.headers.get("content-type"), request.receive, max_bytes=limit)
    filename = clean_name(await form.open_file())
    file_id = f"file-{secrets.token_hex(12)}"
    content = MeasuredContent(form.chunks(), limit)

    async def stored() -> JsonReply:
        await objects.put(content_key(file_id), content.chunks())
        fields = await form.finish()
        purpose, expires_at, allow = _purpose(fields), _expiry(fields, int(time.time())), _allow(fields)

        async def work(inner: TenantCatalog) -> JsonReply:
            file = await inner.files.add(
                file_id=file_id,
                filename=filename,
                purpose=purpose,
                size=content.size,
                sha256=content.sha256,
                expires_at=expires_at,
                allow=allow,
            )
            return JsonReply(file_shape(file))

        # Not the body: its boundary is another one each time.
        return await once({"fields": fields, "filename": filename, "sha256": content.sha256}, work)

    return await kept(objects, catalog, file_id, stored)


@router.get("", dependencies=READS, summary="Files, newest first", **documented(ListBody[FileObject], 404))
async def list_files(catalog: CatalogDep, query: Annotated[FilePageParameters, Query()]) -> Response:
    """Files of the tenant."""
    return JsonReply(page_body(await catalog.files.page(query.page, purpose=query.purpose), file_shape))


@router.get("/{file_id}", dependencies=READS, summary="One file", **documented(FileObject, 404))
async def get_file(file_id: FileId, catalog: CatalogDep) -> Response:
    """One file."""
    return JsonReply(file_shape(await catalog.files.get(file_id)))


@router.delete(
    "/{file_id}", dependencies=WRITES, summary="Delete a file with every trace of it", **documented(DeletedObject, 404)
)
async def delete_file(file_id: FileId, catalog: CatalogDep) -> Response:
    """It leaves every store that it is in."""
    await catalog.files.delete(file_id)
    await removed(catalog, file_id=file_id)
    return JsonReply(deleted_shape("file", file_id))


@router.get(
    "/{file_id}/content", dependencies=READS, summary="The file as it was uploaded", **documented(_CONTENT, 404)
)
async def get_content(file_id: FileId, catalog: CatalogDep, parts: ContainerDep) -> Response:
    """The bytes. Whether they are there is asked before the answer begins, while it can still be an error."""
    file = await catalog.files.get(file_id)
    key = content_key(file.id)
    try:
        held = await parts.objects.size(key)
    except NotFound:
        held = -1
    if held != file.size:
        raise NotFound(f"The content of {file.id} is lost; upload the file again.", code="content_lost")
    headers = {
        "content-length": str(file.size),
        # Whoever opens it in a browser must not run what somebody uploaded.
        "content-disposition": "attachment",
        "x-content-type-options": "nosniff",
    }
    return StreamingResponse(parts.objects.get(key), headers=headers, media_type="application/octet-stream")


def _purpose(fields: Mapping[str, str]) -> str:
    for name in fields.keys() - _EXPIRY - {"purpose", *_ALLOW}:
        raise BadRequest(f"Unknown parameter: '{name[:64]}'.", param=name[:64], code="unknown_parameter")
    purpose = fields.get("purpose")
    if purpose is None:
        raise BadRequest("Missing required parameter: 'purpose'.", param="purpose", code="missing_required_parameter")
    if purpose not in PURPOSES:
        known = ", ".join(PURPOSES)
        raise BadRequest(
            f"Invalid value for 'purpose': nothing here uses such files; choose one of {known}.",
            param="purpose",
            code="invalid_value",
        )
    return purpose


def _allow(fields: Mapping[str, str]) -> Sequence[str] | None:
    """Who may see the file; None where nothing was said. Raises BadRequest."""
    said = [fields[name] for name in _ALLOW if name in fields]
    if not said:
        return None
    groups = sorted({name for each in said if each for name in each.split(",")})
    if len(groups) > MAX_ALLOWED_GROUPS or not all(re.fullmatch(_GROUP, name) for name in groups):
        raise BadRequest(
            f"Invalid value for 'allow': it is up to {MAX_ALLOWED_GROUPS} groups between commas, each of 1 to 64 letters, "
            "digits and _.:@/+=-",
            param="allow",
            code="invalid_value",
        )
    return groups


def _expiry(fields: Mapping[str, str], now: int) -> int | None:
    """When the file is to go. Raises BadRequest."""
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise BadRequest(
            "Invalid value for 'expires_after.anchor': it is created_at.",
            param="expires_after.anchor",
            code="invalid_value",
        )
    if seconds is None or not re.fullmatch(r"[0-9]{1,9}", seconds) or not 3600 <= int(seconds) <= 2_592_000:
        raise BadRequest(
            "Invalid value for 'expires_after.seconds': it is a whole number from 3600 to 2592000.",
            param="expires_after.seconds",
            code="invalid_value",
        )
    return now + int(seconds)
