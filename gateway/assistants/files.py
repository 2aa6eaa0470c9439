"""Files that an assistant reads beside a request, and files of the tenant that it makes."""

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

from gateway.errors import BadRequest, CatalogUnavailable, NotFound
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.knowledge.catalog.types import File
from gateway.knowledge.objects import ObjectStore, content_key
from gateway.knowledge.storage_reserve import StorageReserve
from gateway.tenants.key import Scope
from gateway.tenants.tenant import Tenant

MAX_BYTES = 16 * 1024 * 1024
"""Of a file that is read, which lies in memory."""
PURPOSE = "user_data"
"""Of what is made; OpenAI's `assistants_output` cannot be uploaded, and this can be worked on further."""


@dataclass(frozen=True, slots=True)
class GivenFile:
    """A file beside the last message."""

    file: File
    content: bytes

    @property
    def suffix(self) -> str:
        """As `.docx`, small; "": it has none."""
        return PurePath(self.file.filename).suffix.lower()


class AssistantFiles:
    """Those of all tenants, each by its own catalog. One for the life of the application."""

    def __init__(
        self, catalogs: Callable[[Tenant], TenantCatalog], objects: ObjectStore, reserve: StorageReserve
    ) -> None:
        self._catalogs = catalogs
        self._objects = objects
        self._reserve = reserve

    async def read(self, tenant: Tenant, file_id: str, param: str) -> GivenFile:
        """param: what the client calls the messages. Raises PermissionDenied, NotFound, BadRequest."""
        tenant.key.require([Scope.KNOWLEDGE_READ])
        file = await self._catalogs(tenant).files.get(file_id)
        if file.size > MAX_BYTES:
            raise BadRequest(f"{file.filename} has more than {MAX_BYTES >> 20} MiB; send it in parts.", param=param)
        try:
            return GivenFile(file, await self._objects.read(content_key(file.id)))
        except NotFound:
            raise NotFound(f"The content of {file.id} is lost; upload the file again.", code="content_lost") from None

    async def add(self, tenant: Tenant, filename: str, content: bytes, source: File) -> File:
        """Make a file, which who may see `source` may see. Raises PermissionDenied, InsufficientQuota, StorageFull."""
        tenant.key.require([Scope.KNOWLEDGE_WRITE])
        await self._reserve.check(len(content))
        file_id = f"file-{secrets.token_hex(12)}"
        try:
            await self._objects.put(content_key(file_id), content)
            return await self._catalogs(tenant).files.add(
                file_id=file_id,
                filename=filename,
                purpose=PURPOSE,
                size=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                expires_at=source.expires_at,
                allow=source.allow,
            )
        except BaseException as error:
            # Where the catalog may know of it, it stays; what nobody knows is found by `ragfleet reconcile`.
            if not isinstance(error, CatalogUnavailable | asyncio.CancelledError):
                await self._objects.delete_prefix(f"files/{file_id}/")
            raise
