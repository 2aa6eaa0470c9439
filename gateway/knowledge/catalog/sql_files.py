"""Files in SQL."""

from collections.abc import Callable

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import Conflict, NotFound
from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.database import Database, check_storable
from gateway.knowledge.catalog.paging import fetch_page
from gateway.knowledge.catalog.types import File, Page, PageQuery

_files, _members = schema.files, schema.members


class SqlPart:
    """What each part of the catalog has. clock: Unix seconds; ids: a new id that begins with the given prefix."""

    def __init__(self, database: Database, clock: Callable[[], float], ids: Callable[[str], str]) -> None:
        self._db = database
        self._clock = clock
        self._ids = ids

    def _now(self) -> int:
        return int(self._clock())

    async def _bury(self, connection: AsyncConnection, where: str, ident: str, created_at: int) -> None:
        """Remember where in the list `where` something stood that is deleted now."""
        grave = {"id": f"{where}/{ident}", "created_at": created_at, "deleted_at": self._now()}
        table = schema.tombstones
        await connection.execute(
            self._db.insert(table).values(grave).on_conflict_do_update(index_elements=[table.c.id], set_=grave)
        )


class SqlFiles(SqlPart):
    """See Catalog."""

    async def add_file(
        self,
        tenant: str,
        *,
        file_id: str,
        filename: str,
        purpose: str,
        size: int,
        sha256: str,
        expires_at: int | None = None,
    ) -> File:
        """See Catalog. Raises Conflict for an id that is taken."""
        check_storable(tenant, file_id, filename, purpose)
        file = File(
            id=file_id,
            tenant=tenant,
            filename=filename,
            purpose=purpose,
            size=size,
            sha256=sha256,
            created_at=self._now(),
            expires_at=expires_at,
        )
        try:
            async with self._db.write() as connection:
                await connection.execute(_files.insert().values({c: getattr(file, c) for c in _files.c.keys()}))  # noqa: SIM118 - columns
        except IntegrityError as error:
            raise Conflict(f"There is a file {file_id!r} already.") from error
        return file

    async def file(self, tenant: str, file_id: str) -> File:
        """See Catalog."""
        check_storable(file_id)
        async with self._db.read() as connection:
            row = (await connection.execute(_own(tenant).where(_files.c.id == file_id))).one_or_none()
        if row is None:
            raise no_file(file_id)
        return File(**row._mapping)

    async def files(self, tenant: str, page: PageQuery, *, purpose: str | None = None) -> Page[File]:
        """See Catalog."""
        check_storable(page.after, page.before, purpose)
        filters = [] if purpose is None else [_files.c.purpose == purpose]
        async with self._db.read() as connection:
            rows, more = await fetch_page(
                connection,
                _own(tenant),
                page,
                where=f"{tenant}/files",
                created=_files.c.created_at,
                ident=_files.c.id,
                filters=filters,
            )
        return Page([File(**row._mapping) for row in rows], more)

    async def all_files(self, *, limit: int, after: str | None = None) -> list[File]:
        """See Catalog."""
        query = select(_files).order_by(_files.c.id).limit(limit)
        if after is not None:
            query = query.where(_files.c.id > after)
        async with self._db.read() as connection:
            return [File(**row._mapping) for row in await connection.execute(query)]

    async def delete_file(self, tenant: str, file_id: str) -> None:
        """See Catalog."""
        check_storable(file_id)
        async with self._db.write() as connection:
            query = _own(tenant).where(_files.c.id == file_id).with_for_update()
            row = (await connection.execute(query)).one_or_none()
            if row is None:
                raise no_file(file_id)
            await self._forget_file(connection, File(**row._mapping))

    async def _forget_file(self, connection: AsyncConnection, file: File) -> None:
        joined = select(_members.c.store_id, _members.c.generation, _members.c.created_at)
        left = [{"tenant": file.tenant, "store_id": None, "file_id": file.id, "generation": None}]
        mine = joined.where(_members.c.file_id == file.id).order_by(_members.c.store_id).with_for_update()
        for row in (await connection.execute(mine)).all():
            left.append({**left[0], "store_id": row.store_id, "generation": row.generation})
            await self._bury(connection, f"{file.tenant}/{row.store_id}", file.id, row.created_at)
        await connection.execute(schema.removals.insert(), left)
        await connection.execute(delete(_files).where(_files.c.id == file.id))
        await self._bury(connection, f"{file.tenant}/files", file.id, file.created_at)


def no_file(file_id: str) -> NotFound:
    """What is raised for a file of another tenant and for one that nobody has."""
    return NotFound(f"There is no file {file_id!r}.", param="file_id")


def _own(tenant: str):  # type: ignore[no-untyped-def]
    return select(_files).where(_files.c.tenant == tenant)
