"""Uploaded files."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import Conflict, NotFound
from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.database import Database, check_storable
from gateway.knowledge.catalog.paging import fetch_page, record_tombstone
from gateway.knowledge.catalog.storage_limits import check_stored
from gateway.knowledge.catalog.types import File, Page, PageQuery
from gateway.knowledge.catalog.visibility import Visibility
from gateway.tenants.tenant import Tenant

_files, _members = schema.files, schema.members


class TenantFiles:
    """The files of one tenant that its key may see."""

    def __init__(self, database: Database, tenant: Tenant) -> None:
        self._database = database
        self._tenant = tenant.name
        self._owner = tenant
        self._visibility = Visibility(database, tenant)

    async def add(
        self,
        *,
        file_id: str,
        filename: str,
        purpose: str,
        size: int,
        sha256: str,
        expires_at: int | None = None,
        allow: Sequence[str] | None = None,
    ) -> File:
        """Record an upload; its content is in the object store already. allow: None as `Visibility.default` has it. Raises
        Conflict for an id that is taken, InsufficientQuota."""
        check_storable(file_id, filename, purpose)
        file = File(
            id=file_id,
            tenant=self._tenant,
            filename=filename,
            purpose=purpose,
            size=size,
            sha256=sha256,
            created_at=self._database.now(),
            expires_at=expires_at,
            allow=self._visibility.default if allow is None else allow,
        )
        try:
            async with self._database.write() as connection:
                await connection.execute(_files.insert().values({c: getattr(file, c) for c in _files.c.keys()}))  # noqa: SIM118 - columns
                await check_stored(self._database, connection, self._owner)
        except IntegrityError as error:
            raise Conflict(f"There is a file {file_id!r} already.") from error
        return file

    async def get(self, file_id: str) -> File:
        """One file. Raises NotFound."""
        check_storable(file_id)
        async with self._database.read() as connection:
            row = (await connection.execute(self._own().where(_files.c.id == file_id))).one_or_none()
        if row is None:
            raise no_file(file_id)
        return File(**row._mapping)

    async def page(self, page: PageQuery, *, purpose: str | None = None) -> Page[File]:
        """One page of the files, of one purpose where it is given. Raises NotFound for a cursor that is not in the list."""
        check_storable(page.after, page.before, purpose)
        filters = [] if purpose is None else [_files.c.purpose == purpose]
        async with self._database.read() as connection:
            rows, more = await fetch_page(
                connection,
                self._own(),
                page,
                where=f"{self._tenant}/files",
                created=_files.c.created_at,
                ident=_files.c.id,
                visibility=self._visibility,
                filters=filters,
            )
        return Page([File(**row._mapping) for row in rows], more)

    async def delete(self, file_id: str) -> None:
        """Forget the file, its memberships and chunks, and leave a Removal for each trace elsewhere. Raises NotFound."""
        check_storable(file_id)
        async with self._database.write() as connection:
            query = self._own().where(_files.c.id == file_id).with_for_update()
            row = (await connection.execute(query)).one_or_none()
            if row is None:
                raise no_file(file_id)
            await forget_file(self._database, connection, File(**row._mapping))

    def _own(self) -> Select[Any]:
        return select(_files).where(_files.c.tenant == self._tenant, *self._visibility.conditions(_files.c.allow))


async def forget_file(database: Database, connection: AsyncConnection, file: File) -> None:
    """Delete a file, whose row is locked, with its memberships; each trace elsewhere leaves a Removal."""
    joined = select(_members.c.store_id, _members.c.generation, _members.c.created_at)
    left = [{"tenant": file.tenant, "store_id": None, "file_id": file.id, "generation": None}]
    mine = joined.where(_members.c.file_id == file.id).order_by(_members.c.store_id).with_for_update()
    for row in (await connection.execute(mine)).all():
        left.append({**left[0], "store_id": row.store_id, "generation": row.generation})
        await record_tombstone(
            database, connection, f"{file.tenant}/{row.store_id}", file.id, row.created_at, allow=file.allow
        )
    await connection.execute(schema.removals.insert(), left)
    await connection.execute(delete(_files).where(_files.c.id == file.id))
    await record_tombstone(database, connection, f"{file.tenant}/files", file.id, file.created_at, allow=file.allow)


def no_file(file_id: str) -> NotFound:
    """What is raised for a file of another tenant, for one that the key may not see, and for one that nobody has."""
    return NotFound(f"There is no file {file_id!r}.", param="file_id")
