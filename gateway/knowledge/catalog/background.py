"""Answers that outlive their gateways: claimed under leases, journaled as they grow, taken over from a gateway that has died."""

from collections.abc import Collection, Sequence
from typing import Any

import orjson
from sqlalchemy import Row, Select, bindparam, delete, null, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.answer_types import AnswerKind, BackgroundJob, JournalEntry
from gateway.knowledge.catalog.database import Database
from gateway.knowledge.catalog.grouped_inserts import GroupedInserts
from gateway.knowledge.catalog.sqlite_thread import Rows

_jobs, _entries, _responses = schema.journaled_answers, schema.journal_entries, schema.responses


BEGUN = (
    *("id", "response_id", "kind", "tenant", "created_at", "caller", "request_id", "request"),
    *("owner", "lease_until", "attempts", "read_at", "unread_s"),
)
"""Columns of an answer that begins, see `begun`."""


class BackgroundQueue:
    """Of all tenants. Leases are counted on the gateways' clocks: they must agree better than a lease is long."""

    def __init__(self, database: Database) -> None:
        self._database = database
        mine = _jobs.c.owner == bindparam("owner"), _jobs.c.ended_at.is_(None)
        row = {name: bindparam(name, type_=_entries.c[name].type) for name in _entries.c.keys()}  # noqa: SIM118 - names
        held = select(*row.values()).where(
            select(_jobs.c.id).where(_jobs.c.id == bindparam("answer_id"), *mine).exists()
        )
        job, answer = (
            update(_jobs).where(_jobs.c.id == bindparam("answer_id"), *mine),
            _responses.c.id == bindparam("answer_id"),
        )
        insert = database.prepared(_jobs.insert().values({name: bindparam(name) for name in BEGUN}))
        self._begins = GroupedInserts(lambda rows: database.write_prepared([(insert, rows)]))
        self._any_free = database.prepared(select(_free(bindparam("now")).exists()))
        self._any_old = database.prepared(select(_ended(bindparam("before")).exists()))
        self._any_unread = database.prepared(select(_unread(bindparam("owner"), bindparam("now")).exists()))
        # Locked in one order, and until the rows are there: else one that takes an answer over might not see all of them.
        self._held = database.prepared(select(_jobs.c.id).where(*mine).order_by(_jobs.c.id).with_for_update())
        # A row may be there: a commit whose answer was lost is tried again.
        self._append = database.prepared(
            database.insert(_entries).from_select(list(row), held).on_conflict_do_nothing()
        )
        self._prompt = database.prepared(job.values(prompt=bindparam("text")))
        self._begun = database.prepared(
            update(_responses)
            .where(answer, _responses.c.status == text("'queued'"))
            .values(status=text("'in_progress'"))
        )
        self._end = database.prepared(job.values(owner=null(), ended_at=bindparam("now")))
        self._read = database.prepared(job.values(read_at=bindparam("now")))
        renewed = update(_jobs).where(*mine).values(lease_until=bindparam("until"))
        self._renew = database.prepared(renewed)
        self._renew_read = database.prepared(renewed.values(read_at=bindparam("now")))

    async def begin(self, tenant: str, job: BackgroundJob, *, owner: str, lease_s: float) -> None:
        """Keep an answer that this owner makes from now on, and that is stored nowhere else."""
        row = begun(job, tenant, owner=owner, now=self._database.clock(), lease_s=lease_s)
        await self._begins.add(row)

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

    async def renew(
        self, owner: str, *, lease_s: float, read: Collection[str] = (), all_read: bool = False
    ) -> set[str]:
        """The ids of what this owner still holds, with longer leases. read: those that somebody reads now; all_read: they are all
        that it holds. What nobody has read for too long is not held any more, but cancelled."""
        now = self._database.clock()
        if await self._database.scalar_prepared(self._any_unread, owner=owner, now=now):
            await self._cancel_unread(owner, read, now)
        renewal = {"owner": owner, "until": now + lease_s}
        if all_read:  # as a rule: one statement then, not one for each
            batch: list[tuple[str, Rows]] = [(self._renew_read, [{**renewal, "now": now}])]
        else:
            batch = [(self._renew, [renewal])]
        if read and not all_read:
            batch.append((self._read, [{"owner": owner, "answer_id": each, "now": now} for each in read]))
        return set(await self._database.write_prepared(batch, (self._held, {"owner": owner})))

    async def _cancel_unread(self, owner: str, read: Collection[str], now: float) -> None:
        async with self._database.write() as connection:
            unread = _unread(owner, now).where(_jobs.c.id.not_in(read)).order_by(_jobs.c.id).with_for_update()
            if ids := (await connection.scalars(unread)).all():
                await connection.execute(update(_responses).where(_responses.c.id.in_(ids)).values(status="cancelled"))
                ended = update(_jobs).where(_jobs.c.id.in_(ids))
                await connection.execute(ended.values(owner=None, ended_at=now))

    async def append(self, owner: str, entries: Sequence[JournalEntry]) -> set[str]:
        """Commit what came of several answers together, some of them to their end; the ids of those that this owner held until
        then. Of others nothing is kept."""
        batch: list[tuple[str, Rows]] = [(self._append, [_row(owner, entry) for entry in entries if entry.parts])]
        if prompts := [entry for entry in entries if entry.prompt is not None]:
            texts = [orjson.dumps(entry.prompt).decode() for entry in prompts]
            rows = [{"owner": owner, "answer_id": e.answer_id, "text": t} for e, t in zip(prompts, texts, strict=True)]
            batch += [(self._prompt, rows), (self._begun, [{"answer_id": entry.answer_id} for entry in prompts])]
        if ended := [entry.answer_id for entry in entries if entry.ended]:
            now = self._database.clock()
            batch.append((self._end, [{"owner": owner, "answer_id": each, "now": now} for each in ended]))
        held = set(await self._database.write_prepared(batch, (self._held, {"owner": owner})))
        return held & {entry.answer_id for entry in entries}

    async def discard(self, owner: str, answer_id: str) -> None:
        """It was refused before there was anything of it."""
        async with self._database.write() as connection:
            mine = delete(_jobs).where(_jobs.c.id == answer_id, _jobs.c.owner == owner)
            if (await connection.execute(mine)).rowcount:
                await connection.execute(delete(_responses).where(_responses.c.id == answer_id))

    async def release(self, owner: str, answer_ids: Collection[str] | None = None) -> None:
        """Whoever comes first may take over what this owner holds, or these of it."""
        mine = select(_jobs.c.id).where(_jobs.c.owner == owner, _jobs.c.ended_at.is_(None))
        if answer_ids is not None:
            mine = mine.where(_jobs.c.id.in_(answer_ids))
        async with self._database.write() as connection:
            ids = (await connection.scalars(mine.order_by(_jobs.c.id).with_for_update())).all()
            free = update(_jobs).where(_jobs.c.id.in_(ids))
            await connection.execute(free.values(owner=None, lease_until=0.0))

    async def forget(self, *, ended_s: float) -> None:
        """Delete the journals of answers that ended so long ago."""
        before = self._database.clock() - ended_s
        if await self._database.scalar_prepared(self._any_old, before=before):
            async with self._database.write() as connection:
                old = _ended(before).limit(200).with_for_update(skip_locked=True)
                ids = (await connection.scalars(old)).all()
                await connection.execute(delete(_jobs).where(_jobs.c.id.in_(ids)))


async def lock_jobs(connection: AsyncConnection, response_ids: Sequence[str]) -> None:
    """Of these responses those that are being made, before the responses are changed: who writes their journals does so, too."""
    made = select(_jobs.c.id).where(_jobs.c.response_id.in_(response_ids))
    await connection.execute(made.order_by(_jobs.c.id).with_for_update())


def _free(now: Any) -> Select[Any]:
    """Answers that nobody makes. now: Unix seconds, or the parameter for them."""
    return select(_jobs.c.id).where(_jobs.c.ended_at.is_(None), _jobs.c.lease_until <= now)


def _unread(owner: Any, now: Any) -> Select[Any]:
    """Answers of this owner that nobody has read for too long; see `_free`."""
    late = _jobs.c.unread_s > text("0"), _jobs.c.read_at < now - _jobs.c.unread_s
    return select(_jobs.c.id).where(_jobs.c.owner == owner, _jobs.c.ended_at.is_(None), *late)


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


def _row(owner: str, entry: JournalEntry) -> dict[str, Any]:
    return {
        "owner": owner,
        "answer_id": entry.answer_id,
        "position": entry.position,
        "last": entry.last_event,
        "events": entry.events.decode(),
        "parts": orjson.dumps(entry.parts).decode(),
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
