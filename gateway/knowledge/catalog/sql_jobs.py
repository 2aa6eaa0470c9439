"""The ingestion's part in SQL: claims, what comes of them, removals, expiry."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, false, func, or_, select, tuple_, update

from gateway.knowledge.catalog import schema, sql_claims
from gateway.knowledge.catalog.catalog import LeaseLost
from gateway.knowledge.catalog.database import storable
from gateway.knowledge.catalog.sql_files import SqlFiles
from gateway.knowledge.catalog.sql_members import SqlMembers, forget_contents, lock_members, member_of
from gateway.knowledge.catalog.sql_stores import DAY_S, SqlStores
from gateway.knowledge.catalog.types import (
    Backlog,
    ChunkRecord,
    CollectionState,
    File,
    FileError,
    FileState,
    Job,
    Member,
    Removal,
)

_members, _removals, _chunks = schema.members, schema.removals, schema.chunks
_EXPIRE = 200
"""Things that one call of `expire` deletes at the most, of a kind."""


class SqlJobs(SqlFiles, SqlStores, SqlMembers):
    """See Catalog. Leases are counted on the callers' clocks: they must agree better than a lease is long."""

    async def claim(
        self, owner: str, *, limit: int, lease_s: float, weights: Mapping[str, float] | None = None
    ) -> Sequence[Job]:
        """See Catalog, and sql_claims.py. A member of whose rows some are still to be removed waits until they are."""
        now = self._clock()
        async with self._db.write() as connection:
            keys = await sql_claims.choose(self._db, connection, now=now, limit=limit, weights=weights or {})
            if not keys:
                return []
            free = select(_members.c.store_id, _members.c.file_id).where(_one_of(keys))
            free = free.where(_members.c.pending, _members.c.free_at <= now).with_for_update(skip_locked=True)
            mine = [tuple(row) for row in await connection.execute(free)]  # but for those that somebody changes now
            change = update(_members).where(_one_of(mine))
            change = change.values(owner=owner, free_at=now + lease_s, attempts=_members.c.attempts + 1)
            rows = (await connection.execute(change.returning(*_members.c))).all()
        return [_job(row) for row in sorted(rows, key=lambda row: keys.index((row.store_id, row.file_id)))]

    async def renew(self, jobs: Sequence[Job], *, lease_s: float) -> Sequence[Job]:
        """See Catalog."""
        if not jobs:
            return []
        held_still = or_(*map(_held, jobs))
        change = update(_members).where(held_still).values(free_at=self._clock() + lease_s)
        async with self._db.write() as connection:
            await lock_members(connection, held_still)
            rows = (await connection.execute(change.returning(*_members.c))).all()
        held = {_claim(job): job for job in map(_job, rows)}
        return [held[_claim(job)] for job in jobs if _claim(job) in held]

    async def put_chunks(self, job: Job, chunks: Sequence[ChunkRecord], *, usage_bytes: int) -> None:
        """See Catalog. A character that cannot be stored becomes U+FFFD; places stay right."""
        member = job.member
        key = {"store_id": member.store_id, "file_id": member.file_id}
        rows = [
            {
                **key,
                "index": each.index,
                "text": storable(each.text),
                "page": each.page,
                "start": each.start,
                "end": each.end,
            }
            for each in chunks
        ]
        async with self._db.write() as connection:
            counted = update(_members).where(_held(job)).values(chunk_count=len(rows), usage_bytes=usage_bytes)
            if not (await connection.execute(counted)).rowcount:
                raise _lost(job)
            mine = and_(_chunks.c.store_id == member.store_id, _chunks.c.file_id == member.file_id)
            await connection.execute(delete(_chunks).where(mine))
            if rows:
                await connection.execute(_chunks.insert(), rows)
            await sql_claims.settle(connection, member.tenant, len(rows))

    async def complete(self, job: Job, collection: str) -> None:
        """See Catalog. Where another collection became the active one meanwhile, the job is free again and LeaseLost raised."""
        table, member = schema.collections, job.member
        async with self._db.write() as connection:
            state = await connection.scalar(
                select(table.c.state).where(table.c.name == collection).with_for_update(read=True)
            )
            active = state == CollectionState.ACTIVE.value
            done = {"state": FileState.COMPLETED.value, "pending": False, "error_code": None, "error_message": None}
            values = {"owner": None, "free_at": self._clock(), **(done if active else {})}
            held = (await connection.execute(update(_members).where(_held(job)).values(values))).rowcount
            if held and active:
                entry = {"collection": collection, "store_id": member.store_id, "file_id": member.file_id}
                await self._record(connection, [{**entry, "generation": member.generation}])
        if not (held and active):
            raise _lost(job)

    async def _record(self, connection: Any, rows: Sequence[dict[str, Any]]) -> None:
        """Which generations are in a collection."""
        table = schema.entries
        insert = self._db.insert(table)
        newer = {"generation": insert.excluded.generation}
        await connection.execute(insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=newer), rows)

    async def fail(self, job: Job, error: FileError) -> None:
        """See Catalog. What was written of it leaves a Removal. Nothing happens where the lease is lost."""
        ended = {"state": FileState.FAILED.value, "pending": False, "owner": None, "usage_bytes": 0, "chunk_count": 0}
        why = {"error_code": error.code, "error_message": storable(error.message)}
        async with self._db.write() as connection:
            change = update(_members).where(_held(job)).values(**ended, **why).returning(*_members.c)
            await forget_contents(connection, (await connection.execute(change)).all())

    async def release(self, job: Job, *, not_before: float) -> None:
        """See Catalog. Nothing happens where the lease is lost."""
        async with self._db.write() as connection:
            await connection.execute(update(_members).where(_held(job)).values(owner=None, free_at=not_before))

    async def removals(self, *, limit: int) -> Sequence[Removal]:
        """See Catalog. Oldest first."""
        query = select(_removals).order_by(_removals.c.id).limit(limit)
        async with self._db.read() as connection:
            return [Removal(**row._mapping) for row in await connection.execute(query)]

    async def removed(self, removals: Sequence[Removal]) -> None:
        """See Catalog."""
        async with self._db.write() as connection:
            done = select(_removals.c.id).where(_removals.c.id.in_([each.id for each in removals]))
            done = done.order_by(_removals.c.id).with_for_update()
            await connection.execute(delete(_removals).where(_removals.c.id.in_(done)))

    async def backlog(self) -> Backlog:
        """See Catalog. From the index of what is pending alone."""
        query = select(_members.c.tenant, func.count(), func.min(_members.c.queued_at))
        query = query.where(sql_claims.pending(_members)).group_by(_members.c.tenant)
        async with self._db.read() as connection:
            rows = (await connection.execute(query)).all()
            removals, first = (await connection.execute(select(func.count(), func.min(_removals.c.id)))).one()
        return Backlog(
            waiting={tenant: count for tenant, count, _ in rows},
            oldest={tenant: float(oldest) for tenant, _, oldest in rows},
            removals=removals,
            first_removal=first,
        )

    async def expire(self) -> int:
        """See Catalog. Each in a transaction of its own: what is used meanwhile stays."""
        now, files, stores = self._now(), schema.files, schema.stores
        old = files.c.expires_at <= now
        gone = stores.c.last_active_at + (stores.c.expires_after_days + 1) * DAY_S <= now
        async with self._db.read() as connection:
            file_ids = (await connection.scalars(select(files.c.id).where(old).limit(_EXPIRE))).all()
            store_ids = (await connection.scalars(select(stores.c.id).where(gone).limit(_EXPIRE))).all()
        ended = 0
        for ident in file_ids:
            async with self._db.write() as connection:
                query = select(files).where(files.c.id == ident, old).with_for_update()
                if (row := (await connection.execute(query)).one_or_none()) is not None:
                    await self._forget_file(connection, File(**row._mapping))
                    ended += 1
        for ident in store_ids:
            async with self._db.write() as connection:
                query = select(stores).where(stores.c.id == ident, gone).with_for_update()
                if (row := (await connection.execute(query)).one_or_none()) is not None:
                    await self._forget_store(connection, row)
                    ended += 1
        graves, keys = schema.tombstones, schema.idempotency
        async with self._db.write() as connection:
            await connection.execute(delete(graves).where(graves.c.deleted_at <= now - DAY_S))
            await connection.execute(delete(keys).where(keys.c.expires_at <= now))
        return ended

    async def all_members(self, *, limit: int, after: tuple[str, str] | None = None) -> Sequence[Member]:
        """See Catalog."""
        key = tuple_(_members.c.store_id, _members.c.file_id)
        query = select(_members).order_by(_members.c.store_id, _members.c.file_id).limit(limit)
        if after is not None:
            query = query.where(key > tuple_(*after))
        async with self._db.read() as connection:
            return [member_of(row) for row in await connection.execute(query)]

    async def rewrite(self, members: Sequence[Member], *, above: int = 0) -> None:
        """See Catalog."""
        async with self._db.write() as connection:
            for each in sorted(members, key=lambda each: (each.store_id, each.file_id)):
                same = and_(
                    _members.c.store_id == each.store_id,
                    _members.c.file_id == each.file_id,
                    _members.c.generation == each.generation,
                    _members.c.state == FileState.COMPLETED.value,
                )
                values = {**self._queued(), "generation": max(each.generation, above) + 1}
                await connection.execute(update(_members).where(same).values(values))

    async def remove(self, tenant: str, store_id: str | None, file_id: str | None, generation: int | None) -> None:
        """See Catalog."""
        values = {"tenant": tenant, "store_id": store_id, "file_id": file_id, "generation": generation}
        files = schema.files.c
        wanted = select(1).where(files.id == file_id)
        if store_id is not None:
            lives = _members.c.state.in_([FileState.IN_PROGRESS.value, FileState.COMPLETED.value])
            wanted = select(1).where(_members.c.tenant == tenant, _members.c.store_id == store_id, lives)
            if file_id is not None:
                wanted = wanted.where(_members.c.file_id == file_id)
            if generation is not None:
                wanted = wanted.where(_members.c.generation <= generation)
        async with self._db.write() as connection:
            if await connection.scalar(wanted.limit(1)) is None:
                await connection.execute(_removals.insert().values(values))


def _one_of(keys: Sequence[Any]) -> ColumnElement[bool]:
    """Which of the members; none of no keys. SQLite would look at every row for `(store_id, file_id) IN (…)`."""
    return or_(false(), *(and_(_members.c.store_id == store, _members.c.file_id == file) for store, file in keys))


def _held(job: Job) -> ColumnElement[bool]:
    """Whether the job is still this owner's; `attempts` tells one claim of an owner from its next one."""
    return and_(
        _members.c.store_id == job.member.store_id,
        _members.c.file_id == job.member.file_id,
        _members.c.pending,
        _members.c.owner == job.owner,
        _members.c.attempts == job.attempts,
        _members.c.generation == job.member.generation,
    )


def _claim(job: Job) -> tuple[str, str, int, int]:
    """Which claim of which member: another one of the same member is another job."""
    return job.member.store_id, job.member.file_id, job.member.generation, job.attempts


def _job(row: Any) -> Job:
    return Job(member=member_of(row), owner=row.owner, lease_until=float(row.free_at), attempts=row.attempts)


def _lost(job: Job) -> LeaseLost:
    member = job.member
    return LeaseLost(f"{member.store_id}/{member.file_id} (generation {member.generation}) is no longer {job.owner}'s")
