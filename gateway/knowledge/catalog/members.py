"""Members of vector stores, and the batches that they joined in."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, bindparam, delete, exists, func, not_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import NotFound
from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.database import Database, check_storable, new_id
from gateway.knowledge.catalog.files import no_file
from gateway.knowledge.catalog.member_rows import (
    chunks_of,
    forget_contents,
    is_member,
    lock_members,
    member_of,
    queued,
    removal_values,
)
from gateway.knowledge.catalog.paging import fetch_page, record_tombstone
from gateway.knowledge.catalog.storage_limits import check_pending
from gateway.knowledge.catalog.stores import counts_by, no_store
from gateway.knowledge.catalog.types import (
    Attributes,
    Batch,
    Chunking,
    ChunkRecord,
    FileScope,
    FileState,
    Member,
    NewMember,
    Page,
    PageQuery,
)
from gateway.knowledge.catalog.visibility import Visibility
from gateway.tenants.tenant import Tenant

_files, _members, _batches, _removals = schema.files, schema.members, schema.batches, schema.removals
FEW_FILES = 1000
"""That a filter names before it is tried whether those which it does not mean are fewer: Milvus Lite looks for 1,000 ids in
10,000 rows in the time that it takes without them."""
_ENDED = (FileState.FAILED.value, FileState.CANCELLED.value)


class TenantMembers:
    """Members of one tenant's stores that its key may see, and their batches."""

    def __init__(self, database: Database, tenant: Tenant) -> None:
        self._database = database
        self._tenant = tenant.name
        self._owner = tenant
        self._visibility = Visibility(database, tenant)

    async def attach(self, store_id: str, members: Sequence[NewMember]) -> Sequence[Member]:
        """Let files join a store, IN_PROGRESS. A file that is a member already is taken up anew if attributes or a chunking
        are given that differ from what it has, or if it had failed or been cancelled; else it is given back as it is. `allow` is
        the file's from now on, in every store. Raises NotFound, RateLimited."""
        check_storable(store_id, *(each.file_id for each in members))
        async with self._database.write() as connection:
            return await self._join(connection, store_id, members, None)

    async def attach_batch(self, store_id: str, members: Sequence[NewMember]) -> Batch:
        """As `attach`, all in one batch. Whoever was a member already belongs to this batch from now on."""
        check_storable(store_id, *(each.file_id for each in members))
        batch_id = new_id("vsfb_")
        async with self._database.write() as connection:
            await self._join(connection, store_id, members, batch_id)
            values = {"id": batch_id, "store_id": store_id, "tenant": self._tenant, "created_at": self._database.now()}
            await connection.execute(_batches.insert().values(**values, cancelled=False))
            return await self._batch(connection, store_id, batch_id)

    async def _join(
        self,
        connection: AsyncConnection,
        store_id: str,
        members: Sequence[NewMember],
        batch_id: str | None,
    ) -> Sequence[Member]:
        # The store's row is locked by the update: who attaches to it takes turns, and it is not deleted meanwhile.
        own = and_(schema.stores.c.tenant == self._tenant, schema.stores.c.id == store_id)
        touched = update(schema.stores).where(own).values(last_active_at=self._database.now())
        if not (await connection.execute(touched)).rowcount:
            raise no_store(store_id)
        wanted = {each.file_id: each for each in members}
        names = await self._filenames(connection, sorted(wanted))
        shown = [{"file": each.file_id, "groups": each.allow} for each in wanted.values() if each.allow is not None]
        if shown:
            await self._allow(connection, shown)
        here = and_(_members.c.store_id == store_id, _members.c.file_id.in_(list(wanted)))
        present = {row.file_id: row for row in await lock_members(connection, here)}
        newest = select(_removals.c.file_id, func.max(_removals.c.generation)).where(
            _removals.c.store_id == store_id, _removals.c.file_id.in_(list(wanted))
        )
        removed = dict((await connection.execute(newest.group_by(_removals.c.file_id))).all())
        fresh = []
        for file_id, new in wanted.items():
            row = present.get(file_id)
            kept = member_of(row) if row is not None else None
            attributes = new.attributes if new.attributes is not None else kept.attributes if kept else {}
            chunking = new.chunking or (kept.chunking if kept else Chunking())
            again = {
                "attributes": dict(attributes),
                "max_tokens": chunking.max_tokens,
                "overlap_tokens": chunking.overlap_tokens,
                "receipt": None,
                "state": FileState.IN_PROGRESS.value,
                "error_code": None,
                "error_message": None,
                **queued(self._database.clock()),
            }
            if row is None:
                first: dict[str, Any] = {
                    "store_id": store_id,
                    "file_id": file_id,
                    "tenant": self._tenant,
                    "filename": names[file_id],
                }
                first |= {"created_at": self._database.now(), "batch_id": batch_id, "usage_bytes": 0, "chunk_count": 0}
                # Rows of before may still be there: it must be newer than what is to be removed.
                first |= {"generation": 1 + (removed.get(file_id) or 0)}
                fresh.append(first | again)
                continue
            differs = (row.attributes, row.max_tokens, row.overlap_tokens) != (
                again["attributes"],
                again["max_tokens"],
                again["overlap_tokens"],
            )
            values: dict[str, Any] = {} if batch_id is None else {"batch_id": batch_id}
            if differs or row.state in _ENDED:
                values |= again | {"generation": row.generation + 1}
            if values:
                await connection.execute(update(_members).where(is_member(row)).values(values))
        if fresh:
            await connection.execute(_members.insert(), fresh)
        await check_pending(self._database, connection, self._owner)
        # All of them, also those that the key has just hidden from itself: it is told what it did.
        all_of_them = select(_members, _files.c.allow).join_from(_members, _files).where(here)
        joined = {row.file_id: member_of(row) for row in await connection.execute(all_of_them)}
        return [joined[each.file_id] for each in members]

    async def _allow(self, connection: AsyncConnection, shown: Sequence[Mapping[str, object]]) -> None:
        """Set the lists of files that the key sees: {file, groups}, in the order of their ids."""
        change = update(_files).where(_files.c.id == bindparam("file")).values(allow=bindparam("groups"))
        await connection.execute(change, sorted(shown, key=lambda each: str(each["file"])))

    async def _filenames(
        self, connection: AsyncConnection, file_ids: list[str], *, changing: bool = False
    ) -> dict[str, str]:
        """Raises NotFound. They are not deleted before the transaction ends. changing: nobody else changes them, either."""
        files = schema.files.c
        query = select(files.id, files.filename).where(files.tenant == self._tenant, files.id.in_(file_ids))
        query = query.where(*self._visibility.conditions(files.allow))
        lock = query.order_by(files.id).with_for_update(read=not changing, key_share=True)
        found = await connection.execute(lock)
        names = dict(found.all())
        for file_id in file_ids:
            if file_id not in names:
                raise no_file(file_id)
        return names

    async def get(self, store_id: str, file_id: str) -> Member:
        """One member. Raises NotFound."""
        check_storable(store_id, file_id)
        async with self._database.read() as connection:
            return member_of(await _one(connection, self._own(store_id), file_id))

    async def page(
        self,
        store_id: str,
        page: PageQuery,
        *,
        state: FileState | None = None,
        batch_id: str | None = None,
    ) -> Page[Member]:
        """One page of a store's members: of one state, of one batch, where they are given. Raises NotFound for the store, the
        batch, and a cursor that is not in the list."""
        check_storable(store_id, batch_id, page.after, page.before)
        filters: list[ColumnElement[bool]] = []
        if state is not None:
            filters.append(_members.c.state == state.value)
        if batch_id is not None:
            filters.append(_members.c.batch_id == batch_id)
        async with self._database.read() as connection:
            stores = schema.stores.c
            if not await connection.scalar(select(1).where(stores.id == store_id, stores.tenant == self._tenant)):
                raise no_store(store_id)
            if batch_id is not None:
                await self._batch(connection, store_id, batch_id)
            rows, more = await fetch_page(
                connection,
                self._own(store_id),
                page,
                where=f"{self._tenant}/{store_id}",
                created=_members.c.created_at,
                ident=_members.c.file_id,
                visibility=self._visibility,
                filters=filters,
            )
        return Page([member_of(row) for row in rows], more)

    async def set_attributes(self, store_id: str, file_id: str, attributes: Attributes) -> Member:
        """Replace them. The member stays COMPLETED and searchable; the index follows as a job. Raises NotFound."""
        check_storable(store_id, file_id)
        async with self._database.write() as connection:
            await _one(connection, self._own(store_id), file_id)
            # Locked before its members, see `lock_members`; and so that `set_allow` may follow in the same transaction.
            await self._filenames(connection, [file_id], changing=True)
            row = await _one(connection, self._own(store_id).with_for_update(of=_members), file_id)
            if row.attributes == dict(attributes):
                return member_of(row)
            values: dict[str, Any] = {"attributes": dict(attributes), "generation": row.generation + 1}
            if row.state not in _ENDED:
                values |= queued(self._database.clock())
            await connection.execute(update(_members).where(is_member(row)).values(values))
            return member_of(await _one(connection, self._own(store_id), file_id))

    async def set_allow(self, store_id: str, file_id: str, allow: Sequence[str] | None) -> Member:
        """Who may see the file, here and in every other place, from now on; None: all of the tenant. Raises NotFound."""
        check_storable(store_id, file_id)
        async with self._database.write() as connection:
            member = member_of(await _one(connection, self._own(store_id), file_id))
            await self._filenames(connection, [file_id])
            await self._allow(connection, [{"file": file_id, "groups": allow}])
            return replace(member, allow=allow)

    async def detach(self, store_id: str, file_id: str) -> None:
        """Take a file out of a store, and leave a Removal. Raises NotFound."""
        check_storable(store_id, file_id)
        async with self._database.write() as connection:
            row = await _one(connection, self._own(store_id).with_for_update(of=_members), file_id)
            await connection.execute(_removals.insert().values(removal_values(row)))
            await connection.execute(delete(_members).where(is_member(row)))
            await record_tombstone(
                self._database, connection, f"{self._tenant}/{store_id}", file_id, row.created_at, allow=row.allow
            )

    async def batch(self, store_id: str, batch_id: str) -> Batch:
        """One batch with its counts. Raises NotFound."""
        check_storable(store_id, batch_id)
        async with self._database.read() as connection:
            return await self._batch(connection, store_id, batch_id)

    async def cancel_batch(self, store_id: str, batch_id: str) -> Batch:
        """Members of it that are still IN_PROGRESS, and that the key sees, become CANCELLED. One that has ended stays as it is.

        Raises NotFound.
        """
        check_storable(store_id, batch_id)
        async with self._database.write() as connection:
            await self._batch(connection, store_id, batch_id)
            waiting = and_(
                _members.c.store_id == store_id,
                _members.c.batch_id == batch_id,
                _members.c.state == FileState.IN_PROGRESS.value,
                *self._visibility.of_members(),
            )
            ended = {"state": FileState.CANCELLED.value, "pending": False, "owner": None}
            rows = await lock_members(connection, waiting)
            # These and no others: what was taken up anew since then is not locked in its turn.
            locked = and_(waiting, _members.c.file_id.in_([row.file_id for row in rows]))
            change = update(_members).where(locked).values(**ended, usage_bytes=0, chunk_count=0, receipt=None)
            await connection.execute(change)
            await forget_contents(connection, rows)
            if rows:
                await connection.execute(update(_batches).where(_batches.c.id == batch_id).values(cancelled=True))
            return await self._batch(connection, store_id, batch_id)

    async def scope(self, store_ids: Sequence[str]) -> FileScope | None:
        """The files of these stores that the key sees, in whichever way is shorter to say; None: all of them."""
        if not self._visibility.restricted:
            return None
        shown = and_(*self._visibility.conditions(_files.c.allow))
        joined = exists().where(_members.c.file_id == _files.c.id, _members.c.store_id.in_(store_ids))
        query = select(_files.c.id).where(_files.c.tenant == self._tenant, joined)
        async with self._database.read() as connection:
            few = (await connection.scalars(query.where(shown).limit(FEW_FILES + 1))).all()
            if len(few) <= FEW_FILES:
                return FileScope(few)
            hidden = (await connection.scalars(query.where(not_(shown)).limit(FEW_FILES + 1))).all()
            if len(hidden) <= FEW_FILES:
                return FileScope(hidden, inverted=True)
            return FileScope((await connection.scalars(query.where(shown))).all())

    async def hidden(self, found: Iterable[tuple[str, str]]) -> frozenset[str]:
        """Of members by store and file, the files of those that there are not (any more), or that the key does not see."""
        pairs = set(found)
        if not pairs or not self._visibility.restricted:
            return frozenset()
        stores, file_ids = zip(*pairs, strict=True)
        query = select(_members.c.store_id, _members.c.file_id).join_from(_members, _files)
        query = query.where(_members.c.tenant == self._tenant, *self._visibility.conditions(_files.c.allow))
        query = query.where(_members.c.store_id.in_(set(stores)), _members.c.file_id.in_(set(file_ids)))
        async with self._database.read() as connection:
            seen = {(row.store_id, row.file_id) for row in await connection.execute(query)}
        return frozenset(file_id for _, file_id in pairs - seen)

    async def chunks(self, store_id: str, file_id: str) -> Sequence[ChunkRecord]:
        """A member's chunks, in their order. Raises NotFound."""
        check_storable(store_id, file_id)
        async with self._database.read() as connection:
            await _one(connection, self._own(store_id), file_id)
            return await chunks_of(connection, store_id, file_id)

    def _own(self, store_id: str) -> Select[Any]:
        own = select(_members, _files.c.allow).join_from(_members, _files)
        own = own.where(_members.c.tenant == self._tenant, _members.c.store_id == store_id)
        return own.where(*self._visibility.conditions(_files.c.allow))

    async def _batch(self, connection: AsyncConnection, store_id: str, batch_id: str) -> Batch:
        own = and_(_batches.c.tenant == self._tenant, _batches.c.store_id == store_id, _batches.c.id == batch_id)
        row = (await connection.execute(select(_batches).where(own))).one_or_none()
        if row is None:
            raise NotFound(f"There is no batch {batch_id!r} of this vector store.", param="batch_id")
        of_batch = and_(_members.c.batch_id == batch_id, *self._visibility.of_members())
        states = select(_members.c.state, func.count()).where(of_batch).group_by(_members.c.state)
        return Batch(**row._mapping, counts=counts_by((await connection.execute(states)).all()))


async def _one(connection: AsyncConnection, scope: Select[Any], file_id: str) -> Row[Any]:
    row: Row[Any] | None = (await connection.execute(scope.where(_members.c.file_id == file_id))).one_or_none()
    if row is None:
        raise NotFound(f"There is no file {file_id!r} in this vector store.", param="file_id")
    return row
