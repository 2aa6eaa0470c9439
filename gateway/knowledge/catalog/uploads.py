"""Files that come in parts: what was announced, which parts are there, and what became of it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, Select, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import BadRequest, NotFound, RateLimited
from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.database import Database, check_storable
from gateway.knowledge.catalog.storage_limits import alone_for, check_stored
from gateway.knowledge.catalog.types import Upload, UploadState
from gateway.knowledge.catalog.visibility import Visibility
from gateway.tenants.tenant import Tenant

_uploads, _parts = schema.uploads, schema.upload_parts
UPLOAD_S = 3600
"""An upload expires so long after its beginning; OpenAI's. `ragfleet reconcile` takes no younger object for nobody's."""
MOST_PENDING = 32
"""Uploads of one tenant that are neither complete nor expired."""
MOST_PARTS = 1000
"""Of one upload."""
KEPT_S = 86_400
"""After its end an upload can be asked about for so long."""


class TenantUploads:
    """The uploads of one tenant that its key may see: those of keys with the same groups, as their files will be."""

    def __init__(self, database: Database, tenant: Tenant) -> None:
        self._database = database
        self._tenant = tenant.name
        self._owner = tenant
        self._visibility = Visibility(database, tenant)

    async def begin(
        self, *, upload_id: str, filename: str, purpose: str, size: int, file_expires_s: int | None = None
    ) -> Upload:
        """Announce a file of so many bytes. Raises RateLimited, InsufficientQuota."""
        check_storable(filename)
        now = self._database.now()
        upload = Upload(
            id=upload_id,
            tenant=self._tenant,
            filename=filename,
            purpose=purpose,
            size=size,
            created_at=now,
            expires_at=now + UPLOAD_S,
            status=UploadState.PENDING,
            allow=self._visibility.default,
            file_expires_s=file_expires_s,
        )
        pending = _uploads.c.status == UploadState.PENDING, _uploads.c.expires_at > now
        async with self._database.write() as connection:
            await connection.execute(_uploads.insert().values({c: getattr(upload, c) for c in _uploads.c.keys()}))  # noqa: SIM118 - columns
            await alone_for(self._database, connection, self._tenant)
            count = await connection.scalar(select(func.count()).where(_uploads.c.tenant == self._tenant, *pending))
            if (count or 0) > MOST_PENDING:
                raise RateLimited(
                    f"{MOST_PENDING} uploads are pending already; complete or cancel one of them.", retry_after_s=60.0
                )
            await check_stored(self._database, connection, self._owner)
        return upload

    async def get(self, upload_id: str) -> Upload:
        """One upload. Raises NotFound."""
        check_storable(upload_id)
        async with self._database.read() as connection:
            return self._read((await connection.execute(self._own(upload_id))).one_or_none(), upload_id)

    async def add_part(self, upload_id: str, part_id: str, size: int) -> int:
        """Record a part, whose content is in the object store already; when. Raises NotFound, BadRequest."""
        async with self._database.write() as connection:
            upload = await self._pending(connection, upload_id)
            mine = select(func.count(), func.coalesce(func.sum(_parts.c.size), 0)).where(
                _parts.c.upload_id == upload_id
            )
            count, total = (await connection.execute(mine)).one()
            if count >= MOST_PARTS:
                raise BadRequest(f"An upload has at most {MOST_PARTS} parts.", param="data", code="too_many_parts")
            if size > upload.size or total + size > 2 * upload.size:  # some may have been sent again
                raise BadRequest(
                    f"With this part there would be {total + size} bytes in parts, and {upload.size} were announced.",
                    param="data",
                    code="upload_too_large",
                )
            now = self._database.now()
            row = {"upload_id": upload_id, "id": part_id, "size": size, "created_at": now}
            await connection.execute(_parts.insert().values(row))
        return now

    async def parts(self, upload_id: str) -> Mapping[str, int]:
        """The parts that are there, with their bytes."""
        async with self._database.read() as connection:
            query = select(_parts.c.id, _parts.c.size).where(_parts.c.upload_id == upload_id)
            return {row.id: row.size for row in await connection.execute(query)}

    async def complete(self, upload_id: str, file_id: str) -> Upload:
        """It has become this file; its parts leave. Raises NotFound, BadRequest where it is not pending (any more)."""
        return await self._end(upload_id, UploadState.COMPLETED, file_id)

    async def cancel(self, upload_id: str) -> Upload:
        """Its parts leave. Raises NotFound, BadRequest where it is not pending (any more)."""
        return await self._end(upload_id, UploadState.CANCELLED, None)

    async def _end(self, upload_id: str, status: UploadState, file_id: str | None) -> Upload:
        async with self._database.write() as connection:
            upload = await self._pending(connection, upload_id)
            change = update(_uploads).where(_uploads.c.id == upload_id)
            await connection.execute(change.values(status=status, file_id=file_id))
            await _forget_parts(connection, upload)
        return replace(upload, status=status, file_id=file_id)

    async def _pending(self, connection: AsyncConnection, upload_id: str) -> Upload:
        """The upload, whose row is locked."""
        check_storable(upload_id)
        row = (await connection.execute(self._own(upload_id).with_for_update())).one_or_none()
        upload = self._read(row, upload_id)
        check_pending(upload)
        return upload

    def _own(self, upload_id: str) -> Select[Any]:
        seen = self._visibility.conditions(_uploads.c.allow)
        return select(_uploads).where(_uploads.c.id == upload_id, _uploads.c.tenant == self._tenant, *seen)

    def _read(self, row: Row[Any] | None, upload_id: str) -> Upload:
        if row is None:
            raise NotFound(f"There is no upload {upload_id!r}.", param="upload_id")
        status = UploadState(row.status)
        if status is UploadState.PENDING and row.expires_at <= self._database.now():
            status = UploadState.EXPIRED
        return Upload(**{**row._mapping, "status": status})


def check_pending(upload: Upload) -> None:
    """Raises BadRequest for one that has ended."""
    if upload.status is not UploadState.PENDING:
        raise BadRequest(
            f"The upload {upload.id!r} is {upload.status.value}; begin another one.",
            param="upload_id",
            code="upload_not_pending",
        )


async def forget_uploads(database: Database, *, limit: int) -> None:
    """End uploads past their hour, whose parts leave, and forget those that ended long ago."""
    now = database.now()
    late = _uploads.c.status == UploadState.PENDING, _uploads.c.expires_at <= now
    async with database.read() as connection:
        ids = (await connection.scalars(select(_uploads.c.id).where(*late).limit(limit))).all()
    for ident in ids:
        async with database.write() as connection:
            query = select(_uploads).where(_uploads.c.id == ident, *late).with_for_update()
            if (row := (await connection.execute(query)).one_or_none()) is not None:
                await connection.execute(
                    update(_uploads).where(_uploads.c.id == ident).values(status=UploadState.EXPIRED)
                )
                await _forget_parts(connection, Upload(**row._mapping))
    ended = _uploads.c.status != UploadState.PENDING, _uploads.c.expires_at <= now - KEPT_S
    old = select(_uploads.c.id).where(*ended).limit(limit).with_for_update(skip_locked=True)
    async with database.write() as connection:
        ids = (await connection.scalars(old)).all()
        await connection.execute(delete(_uploads).where(_uploads.c.id.in_(ids)))


async def _forget_parts(connection: AsyncConnection, upload: Upload) -> None:
    """Their contents are deleted as those of a file are."""
    await connection.execute(delete(_parts).where(_parts.c.upload_id == upload.id))
    left = {"tenant": upload.tenant, "store_id": None, "file_id": upload.id, "generation": None}
    await connection.execute(schema.removals.insert().values(left))
