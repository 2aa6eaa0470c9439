"""Everything that the catalog knows, of all tenants: to compare it with index and objects, and to put them right."""

from collections.abc import Sequence

from sqlalchemy import and_, select, tuple_, update

from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.database import Database
from gateway.knowledge.catalog.member_rows import chunks_of, member_of, queued
from gateway.knowledge.catalog.types import ChunkRecord, File, FileState, Member

_files, _members, _removals = schema.files, schema.members, schema.removals


class Inventory:
    """Walks over files and members, and leaves jobs and removals that end a difference."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def files(self, *, limit: int, after: str | None = None) -> Sequence[File]:
        """By id, behind the one of the id `after`."""
        query = select(_files).order_by(_files.c.id).limit(limit)
        if after is not None:
            query = query.where(_files.c.id > after)
        async with self._database.read() as connection:
            return [File(**row._mapping) for row in await connection.execute(query)]

    async def members(self, *, limit: int, after: tuple[str, str] | None = None) -> Sequence[Member]:
        """By (store_id, file_id), behind the one `after`."""
        key = tuple_(_members.c.store_id, _members.c.file_id)
        query = select(_members).order_by(_members.c.store_id, _members.c.file_id).limit(limit)
        if after is not None:
            query = query.where(key > tuple_(*after))
        async with self._database.read() as connection:
            return [member_of(row) for row in await connection.execute(query)]

    async def latest(self, member: Member) -> Member | None:
        """The member as it is now; None where it has left its store."""
        same = and_(_members.c.store_id == member.store_id, _members.c.file_id == member.file_id)
        async with self._database.read() as connection:
            row = (await connection.execute(select(_members).where(same))).one_or_none()
        return None if row is None else member_of(row)

    async def chunks(self, member: Member) -> Sequence[ChunkRecord]:
        """The member's chunks, in their order; none where it is unknown."""
        async with self._database.read() as connection:
            return await chunks_of(connection, member.store_id, member.file_id)

    async def rewrite(self, members: Sequence[Member], *, above: int = 0) -> None:
        """Those that are still COMPLETED in this generation are to be written to the index anew, as jobs, of a generation higher
        than theirs and than `above`."""
        async with self._database.write() as connection:
            for each in sorted(members, key=lambda each: (each.store_id, each.file_id)):
                same = and_(
                    _members.c.store_id == each.store_id,
                    _members.c.file_id == each.file_id,
                    _members.c.generation == each.generation,
                    _members.c.state == FileState.COMPLETED.value,
                )
                values = {**queued(self._database.clock()), "generation": max(each.generation, above) + 1}
                await connection.execute(update(_members).where(same).values(values))

    async def remove(self, tenant: str, store_id: str | None, file_id: str | None, generation: int | None) -> None:
        """Leave a Removal of something that the catalog does not know. Nothing happens where it does know it
        meanwhile: a file, or a member that is IN_PROGRESS or COMPLETED in one of these generations."""
        values = {"tenant": tenant, "store_id": store_id, "file_id": file_id, "generation": generation}
        wanted = select(1).where(_files.c.id == file_id)
        if store_id is not None:
            lives = _members.c.state.in_([FileState.IN_PROGRESS.value, FileState.COMPLETED.value])
            wanted = select(1).where(_members.c.tenant == tenant, _members.c.store_id == store_id, lives)
            if file_id is not None:
                wanted = wanted.where(_members.c.file_id == file_id)
            if generation is not None:
                wanted = wanted.where(_members.c.generation <= generation)
        async with self._database.write() as connection:
            # Nothing joins the store between the look and the removal, which would take it out of the index again.
            await connection.execute(select(schema.stores.c.id).where(schema.stores.c.id == store_id).with_for_update())
            if await connection.scalar(wanted.limit(1)) is None:
                await connection.execute(_removals.insert().values(values))
