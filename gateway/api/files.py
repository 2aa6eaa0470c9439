"""`/v1/files`: contents go to the object store as they come in, what is known of them to the catalog."""

import asyncio
import hashlib
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping

from fastapi.responses import Response, StreamingResponse

from gateway.api.bodies import refuse_encoded
from gateway.api.deletion import removed
from gateway.api.idempotency import IdempotentRequests
from gateway.api.json_routes import Call, Endpoints, Reply
from gateway.api.multipart import Form
from gateway.api.pagination import page_body, page_query
from gateway.api.serializers import deleted_shape, file_shape
from gateway.errors import BadRequest, CatalogUnavailable, NotFound, PayloadTooLarge
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.knowledge.objects import ObjectStore, content_key
from gateway.tenants.tenant import Tenant

PURPOSES = ("assistants", "user_data")
"""The others of OpenAI's are for jobs that this system does not have."""

_EXPIRY = {"expires_after[anchor]", "expires_after[seconds]"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Files:
    """The paths of files."""

    def __init__(
        self, catalog: Callable[[Tenant], TenantCatalog], objects: ObjectStore, *, max_file_bytes: int
    ) -> None:
        self._catalog = catalog
        self._once = IdempotentRequests(catalog)
        self._objects = objects
        self._max_file_bytes = max_file_bytes

    def install(self, endpoints: Endpoints) -> None:
        """Add the paths."""
        add, tag = endpoints.add, "Files"
        add("POST", "/v1/files", self.create_file, tag=tag, summary="Upload a file (multipart: file, purpose)")
        add("GET", "/v1/files", self.list_files, tag=tag, summary="Files, newest first")
        add("GET", "/v1/files/{file_id}", self.get_file, tag=tag, summary="One file")
        add("DELETE", "/v1/files/{file_id}", self.delete_file, tag=tag, summary="Delete a file with every trace of it")
        add("GET", "/v1/files/{file_id}/content", self.get_content, tag=tag, summary="The file as it was uploaded")

    async def create_file(self, call: Call) -> Reply:
        """The file is in the object store before the catalog knows of it: what is listed can be read."""
        request = call.request
        refuse_encoded(request.scope)
        announced = request.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > self._max_file_bytes + 2**18:
            raise PayloadTooLarge(f"The file is over the limit of {self._max_file_bytes} bytes.", param="file")
        form = Form(request.headers.get("content-type"), request.receive, max_bytes=self._max_file_bytes)
        filename = _filename(await form.open_file())
        file_id = f"file-{secrets.token_hex(12)}"
        content = _Measured(form.chunks(), self._max_file_bytes)
        try:
            await self._objects.put(content_key(file_id), content.chunks())
            fields = await form.finish()
            purpose, expires_at = _purpose(fields), _expiry(fields, int(time.time()))

            async def work(catalog: TenantCatalog) -> Reply:
                file = await catalog.files.add(
                    file_id=file_id,
                    filename=filename,
                    purpose=purpose,
                    size=content.size,
                    sha256=content.sha256,
                    expires_at=expires_at,
                )
                return Reply(file_shape(file))

            # Not the body: its boundary is another one each time.
            told = {"fields": fields, "filename": filename, "sha256": content.sha256}
            reply = await self._once(call, told, work)
        except BaseException as error:
            lost = isinstance(error, CatalogUnavailable | asyncio.CancelledError)
            if not (lost and await self._may_be_known(call.tenant, file_id)):
                await self._objects.delete_prefix(f"files/{file_id}/")
            raise
        if reply.body["id"] != file_id:  # it is here already; what came now is nobody's
            await self._objects.delete_prefix(f"files/{file_id}/")
        return reply

    async def _may_be_known(self, tenant: Tenant, file_id: str) -> bool:
        """Whether the catalog may have recorded a file though its answer was lost: its content must then stay. What nobody knows
        after all is found by `ragfleet reconcile`."""
        try:
            await self._catalog(tenant).files.get(file_id)
        except NotFound:
            return False
        except CatalogUnavailable:
            pass
        return True

    async def list_files(self, call: Call) -> Reply:
        """Files of the tenant."""
        page = page_query(call.query, also=("purpose",), default_limit=10_000, max_limit=10_000)
        purpose = call.query.get("purpose") or None
        return Reply(page_body(await self._catalog(call.tenant).files.page(page, purpose=purpose), file_shape))

    async def get_file(self, call: Call) -> Reply:
        """One file."""
        return Reply(file_shape(await self._catalog(call.tenant).files.get(call.id("file_id", "file"))))

    async def delete_file(self, call: Call) -> Reply:
        """It leaves every store that it is in."""
        file_id = call.id("file_id", "file")
        await self._catalog(call.tenant).files.delete(file_id)
        await removed(self._catalog(call.tenant), file_id=file_id)
        return Reply(deleted_shape("file", file_id))

    async def get_content(self, call: Call) -> Response:
        """The bytes. Whether they are there is asked before the answer begins, while it can still be an error."""
        file = await self._catalog(call.tenant).files.get(call.id("file_id", "file"))
        key = content_key(file.id)
        try:
            held = await self._objects.size(key)
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
        return StreamingResponse(self._objects.get(key), headers=headers, media_type="application/octet-stream")


class _Measured:
    """Counts and hashes bytes as they pass."""

    def __init__(self, chunks: AsyncIterator[bytes], limit: int) -> None:
        self._chunks = chunks
        self._limit = limit
        self._hash = hashlib.sha256()
        self.size = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        """The same bytes. Raises PayloadTooLarge past the limit."""
        async for chunk in self._chunks:
            self.size += len(chunk)
            if self.size > self._limit:
                raise PayloadTooLarge(f"The file is over the limit of {self._limit} bytes.", param="file")
            self._hash.update(chunk)
            yield chunk

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


def _filename(given: str) -> str:
    """The name without a path and without what would break a line. Raises BadRequest where nothing is left."""
    name = _CONTROL.sub("", re.split(r"[/\\]", given)[-1]).strip()
    if name in ("", ".", ".."):
        raise BadRequest("The file has no name.", param="file", code="invalid_value")
    stem, dot, suffix = name.rpartition(".")
    if len(name) <= 255:
        return name
    return f"{stem[: 254 - len(suffix)]}.{suffix}" if dot and len(suffix) <= 16 else name[:255]


def _purpose(fields: Mapping[str, str]) -> str:
    for name in fields.keys() - _EXPIRY - {"purpose"}:
        raise BadRequest(f"Unknown parameter: '{name[:64]}'.", param=name[:64], code="unknown_parameter")
    purpose = fields.get("purpose")
    if purpose is None:
        raise BadRequest("Missing required parameter: 'purpose'.", param="purpose", code="missing_required_parameter")
    if purpose not in PURPOSES:
        known = ", ".join(PURPOSES)
        raise BadRequest(
            f"Invalid value for 'purpose': there is no use for such files here; it is one of {known}.",
            param="purpose",
            code="invalid_value",
        )
    return purpose


def _expiry(fields: Mapping[str, str], now: int) -> int | None:
    """When the file is to go. Raises BadRequest."""
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise BadRequest("Invalid value for 'expires_after.anchor': it is created_at.", param="expires_after.anchor")
    if seconds is None or not re.fullmatch(r"[0-9]{1,9}", seconds) or not 3600 <= int(seconds) <= 2_592_000:
        raise BadRequest(
            "Invalid value for 'expires_after.seconds': it is a whole number from 3600 to 2592000.",
            param="expires_after.seconds",
            code="invalid_value",
        )
    return now + int(seconds)
