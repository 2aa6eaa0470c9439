"""Answers that outlive their gateways: claimed under leases, journaled as they grow, taken over from a gateway that has died."""

from collections.abc import Collection, Sequence
from typing import Any

import orjson
from sqlalchemy import Row, Select, bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.answer_types import AnswerKind, BackgroundJob, JournalEntry
from gateway.knowledge.catalog.database import Database

_jobs, _entries, _responses = schema.journaled_answers, schema.journal_entries, schema.responses


class BackgroundQueue:
    """Of all tenants. Leases are counted on the gateways' clocks: they must agree better than a lease is long."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._any_free = database.prepared(select(_free(bindparam("now")).exists()))
        self._any_old = database.prepared(select(_ended(bindparam("before")).exists()))

    async def claim(self, owner: str, *, lease_s: float, limit: int) -> Sequence[BackgroundJob]:
        """Answers that nobody makes, each with its journal; they are the owner's now."""
        now = self._database.clock()
        if not await self._database.scalar_prepared(self._any_free, now=now):
            return []
        async with self._database.write() as connection:
            locked = _free(now).order_by(_jobs.c.created_at).limit(limit).with_for_update(skip_locked=True)
            ids = (await connection.scalars(locked)).all()
            values = {"owner": owner, "lease_until": now + lease_s, "attempts": _jobs.c.attempts + 1}
            await connection.execute(update(_jobs).where(_jobs.c.id.in_(ids)).values(values))
            query = select(_jobs, _responses.c.body).outerjoin(_responses, _responses.c.id == _jobs.c.response_id)
            rows = (await connection.execute(query.where(_jobs.c.id.in_(ids)))).all()
            return [await _job(connection, row) for row in rows]

    async def renew(self, owner: str, *, lease_s: float, read: Collection[str] = ()) -> set[str]:
        """The ids of what this owner still holds, with longer leases. read: those that somebody reads now; what nobody has read
        for too long is not held any more, but cancelled."""
        now = self._database.clock()
        held = _jobs.c.owner == owner, _jobs.c.ended_at.is_(None)
        async with self._database.write() as connection:
            if read:
                await connection.execute(update(_jobs).where(_jobs.c.id.in_(read)).values(read_at=now))
            unread = select(_jobs.c.id).where(*held, _jobs.c.unread_s > 0, _jobs.c.read_at < now - _jobs.c.unread_s)
            if ids := (await connection.scalars(unread)).all():
                await connection.execute(update(_responses).where(_responses.c.id.in_(ids)).values(status="cancelled"))
                ended = update(_jobs).where(_jobs.c.id.in_(ids))
                await connection.execute(ended.values(owner=None, ended_at=now))
            change = update(_jobs).where(*held).values(lease_until=now + lease_s).returning(_jobs.c.id)
            return set((await connection.scalars(change)).all())

    async def append(self, owner: str, entries: Sequence[JournalEntry]) -> set[str]:
        """Commit what came of several answers together; the ids of those that this owner still holds. Of others nothing is
        kept."""
        ids = [entry.answer_id for entry in entries]
        async with self._database.write() as connection:
            mine = select(_jobs.c.id).where(_jobs.c.id.in_(ids), _jobs.c.owner == owner, _jobs.c.ended_at.is_(None))
            held = set((await connection.scalars(mine.order_by(_jobs.c.id).with_for_update())).all())
            kept = [entry for entry in entries if entry.answer_id in held]
            rows = [
                {
                    "answer_id": entry.answer_id,
                    "position": entry.position,
                    "last": entry.last_event,
                    "events": entry.events.decode(),
                    "parts": orjson.dumps(entry.parts).decode(),
                }
                for entry in kept
            ]
            if rows:
                # They may be there: a commit whose answer was lost is tried again.
                await connection.execute(self._database.insert(_entries).on_conflict_do_nothing(), rows)
            for entry in kept:
                if entry.prompt is not None:
                    job, answer = _jobs.c.id == entry.answer_id, _responses.c.id == entry.answer_id
                    prompt = orjson.dumps(entry.prompt).decode()
                    await connection.execute(update(_jobs).where(job).values(prompt=prompt))
                    begun = update(_responses).where(answer, _responses.c.status == "queued")
                    await connection.execute(begun.values(status="in_progress"))
        return held

    async def end(self, owner: str, answer_id: str) -> None:
        """Nothing more comes of it; its events stay for a while."""
        mine = update(_jobs).where(_jobs.c.id == answer_id, _jobs.c.owner == owner)
        async with self._database.write() as connection:
            await connection.execute(mine.values(owner=None, ended_at=self._database.clock()))

    async def discard(self, owner: str, answer_id: str) -> None:
        """It was refused before there was anything of it."""
        async with self._database.write() as connection:
            mine = delete(_jobs).where(_jobs.c.id == answer_id, _jobs.c.owner == owner)
            if (await connection.execute(mine)).rowcount:
                await connection.execute(delete(_responses).where(_responses.c.id == answer_id))

    async def release(self, owner: str) -> None:
        """Whoever comes first may take over what this owner holds."""
        mine = update(_jobs).where(_jobs.c.owner == owner, _jobs.c.ended_at.is_(None))
        async with self._database.write() as connection:
            await connection.execute(mine.values(owner=None, lease_until=0.0))

    async def forget(self, *, ended_s: float) -> None:
        """Delete the journals of answers that ended so long ago."""
        before = self._database.clock() - ended_s
        if await self._database.scalar_prepared(self._any_old, before=before):
            async with self._database.write() as connection:
                await connection.execute(delete(_jobs).where(_jobs.c.id.in_(_ended(before).limit(200))))


def _free(now: Any) -> Select[Any]:
    """Answers that nobody makes. now: Unix seconds, or the parameter for them."""
    return select(_jobs.c.id).where(_jobs.c.ended_at.is_(None), _jobs.c.lease_until <= now)


def _ended(before: Any) -> Select[Any]:
    """Answers that ended before then; see `_free`."""
    return select(_jobs.c.id).where(_jobs.c.ended_at <= before)


def begun(job: BackgroundJob, tenant: str, *, owner: str, now: float, lease_s: float) -> dict[str, Any]:
    """The row of an answer that its gateway begins now."""
    return {
        "id": job.answer_id,
        "response_id": None if job.kind is AnswerKind.CHAT else job.answer_id,
        "kind": job.kind,
        "tenant": tenant,
        "created_at": job.created_at,
        "caller": job.caller,
        "request_id": job.request_id,
        "request": orjson.dumps(job.request).decode(),
        "owner": owner,
        "lease_until": now + lease_s,
        "attempts": 1,
        "read_at": now,
        "unread_s": job.unread_s,
    }


async def _job(connection: AsyncConnection, row: Row[Any]) -> BackgroundJob:
    query = select(_entries.c.position, _entries.c.last, _entries.c.parts).where(_entries.c.answer_id == row.id)
    journal = (await connection.execute(query.order_by(_entries.c.position))).all()
    return BackgroundJob(
        answer_id=row.id,
        kind=AnswerKind(row.kind),
        caller=row.caller,
        request_id=row.request_id,
        request=orjson.loads(row.request),
        response={} if row.body is None else {**orjson.loads(row.body), "output": []},
        created_at=row.created_at,
        unread_s=row.unread_s,
        attempts=row.attempts,
        prompt=None if row.prompt is None else orjson.loads(row.prompt),
        parts=[orjson.loads(each.parts) for each in journal],
        last_event=journal[-1].last if journal else -1,
        position=journal[-1].position if journal else -1,
    )
