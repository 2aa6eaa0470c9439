"""The ingestion's queue: members that are to be written to the index, claimed under leases, and what comes of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, false, func, or_, select, update

from gateway.knowledge.catalog import fair_queueing, schema
from gateway.knowledge.catalog.code_types import NameRecord
from gateway.knowledge.catalog.collections import record_entries
from gateway.knowledge.catalog.database import Database, storable
from gateway.knowledge.catalog.ingestion_types import Backlog, Job
from gateway.knowledge.catalog.member_rows import forget_contents, lock_members, member_of
from gateway.knowledge.catalog.types import ChunkRecord, CollectionState, FileError, FileState

_members, _removals, _chunks, _names = schema.members, schema.removals, schema.chunks, schema.code_names


class LeaseLost(Exception):
    """The job is no longer the caller's: cancelled, deleted, taken up anew, or another owner's."""


class IngestionQueue:
    """Jobs of all tenants. Leases are counted on the callers' clocks: they must agree better than a lease is long."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(
        self,
        owner: str,
        *,
        limit: int,
        lease_s: float,
        weights: Mapping[str, float] | None = None,
        without: Collection[str] = (),
    ) -> Sequence[Job]:
        """Members whose index entry in the active collection is behind, and that nobody holds; attempts are counted. A tenant's
        own come oldest first; tenants that wait take turns, in proportion to their weights by name (1 where none is named), as
        fair_queueing.py has it; those of `without` get none. A member waits while some of its rows are still to be removed."""
        now = self._database.clock()
        async with self._database.write() as connection:
            keys = await fair_queueing.choose(
                self._database, connection, now=now, limit=limit, weights=weights or {}, without=without
            )
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
        """The jobs that are still held (not cancelled, deleted, taken up anew or lost to another owner), with longer leases."""
        if not jobs:
            return []
        held_still = or_(*map(_held, jobs))
        change = update(_members).where(held_still).values(free_at=self._database.clock() + lease_s)
        async with self._database.write() as connection:
            await lock_members(connection, held_still)
            rows = (await connection.execute(change.returning(*_members.c))).all()
        held = {_claim(job): job for job in map(_job, rows)}
        return [held[_claim(job)] for job in jobs if _claim(job) in held]

    async def put_chunks(
        self,
        job: Job,
        chunks: Sequence[ChunkRecord],
        *,
        usage_bytes: int,
        receipt: Mapping[str, object] | None = None,
        names: Sequence[NameRecord] = (),
    ) -> None:
        """Replace the member's chunks, the names in them, and the receipt of what was read. A character that cannot be stored
        becomes U+FFFD; places stay right. Raises LeaseLost."""
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
        async with self._database.write() as connection:
            values = {"chunk_count": len(rows), "usage_bytes": usage_bytes, "receipt": receipt}
            counted = update(_members).where(_held(job)).values(values)
            if not (await connection.execute(counted)).rowcount:
                raise _lost(job)
            mine = and_(_chunks.c.store_id == member.store_id, _chunks.c.file_id == member.file_id)
            await connection.execute(delete(_chunks).where(mine))
            if rows:
                await connection.execute(_chunks.insert(), rows)
            await connection.execute(
                delete(_names).where(_names.c.store_id == member.store_id, _names.c.file_id == member.file_id)
            )
            if names:
                told = [{**key, "position": at, **_name_values(each)} for at, each in enumerate(names)]
                await connection.execute(_names.insert(), told)
            await fair_queueing.settle(connection, member.tenant, len(rows))

    async def complete(self, job: Job, collection: str) -> None:
        """The member's rows are in `collection` and searchable: COMPLETED. Raises LeaseLost; the rows are then to be removed.
        Where another collection became the active one meanwhile, the job is free again besides."""
        table, member = schema.collections, job.member
        async with self._database.write() as connection:
            state = await connection.scalar(
                select(table.c.state).where(table.c.name == collection).with_for_update(read=True)
            )
            active = state == CollectionState.ACTIVE.value
            done = {"state": FileState.COMPLETED.value, "pending": False, "error_code": None, "error_message": None}
            values = {"owner": None, "free_at": self._database.clock(), **(done if active else {})}
            held = (await connection.execute(update(_members).where(_held(job)).values(values))).rowcount
            if held and active:
                entry = {"collection": collection, "store_id": member.store_id, "file_id": member.file_id}
                await record_entries(self._database, connection, [{**entry, "generation": member.generation}])
        if not (held and active):
            raise _lost(job)

    async def fail(self, job: Job, error: FileError) -> None:
        """The file cannot go in: FAILED. What was written of it leaves a Removal. Nothing happens where the lease is lost."""
        ended = {
            "state": FileState.FAILED.value,
            "pending": False,
            "owner": None,
            "usage_bytes": 0,
            "chunk_count": 0,
            "receipt": None,
        }
        why = {"error_code": error.code, "error_message": storable(error.message)}
        async with self._database.write() as connection:
            change = update(_members).where(_held(job)).values(**ended, **why).returning(*_members.c)
            await forget_contents(connection, (await connection.execute(change)).all())

    async def release(self, job: Job, *, not_before: float, excused: bool = True) -> None:
        """Give the job back to be claimed from `not_before` on (Unix seconds). `excused`: the fault was not the file's, so this
        attempt does not count against it. Nothing happens where the lease is lost."""
        values = {"owner": None, "free_at": not_before, "excused": _members.c.excused + int(excused)}
        async with self._database.write() as connection:
            await connection.execute(update(_members).where(_held(job)).values(values))

    async def backlog(self) -> Backlog:
        """What waits for the ingestion, counted in the index of what is pending (0.3 s for 300,000 files on a busy SQLite)."""
        query = select(_members.c.tenant, func.count(), func.min(_members.c.queued_at))
        query = query.where(fair_queueing.pending(_members)).group_by(_members.c.tenant)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
            removals, first = (await connection.execute(select(func.count(), func.min(_removals.c.id)))).one()
        return Backlog(
            waiting={tenant: count for tenant, count, _ in rows},
            oldest={tenant: float(oldest) for tenant, _, oldest in rows},
            removals=removals,
            first_removal=first,
        )


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
    return Job(
        member=member_of(row),
        owner=row.owner,
        lease_until=float(row.free_at),
        attempts=row.attempts,
        excused=row.excused,
    )


def _lost(job: Job) -> LeaseLost:
    member = job.member
    return LeaseLost(f"{member.store_id}/{member.file_id} (generation {member.generation}) is no longer {job.owner}'s")


def _name_values(record: NameRecord) -> dict[str, Any]:
    return {
        **asdict(record),
        "role": record.role.value,
        "name": storable(record.name),
        "scope": storable(record.scope),
    }
