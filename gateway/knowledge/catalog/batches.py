"""Batches: many requests from a file, answered one by one when there is room, under a lease."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Select, bindparam, delete, func, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import Conflict, NotFound, Overloaded
from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.answer_types import BatchJob, BatchLine
from gateway.knowledge.catalog.database import Database, check_storable
from gateway.knowledge.catalog.paging import fetch_page
from gateway.knowledge.catalog.queue import LeaseLost
from gateway.knowledge.catalog.storage_limits import alone_for
from gateway.knowledge.catalog.types import Json, Page, PageQuery
from gateway.tenants.tenant import Tenant

_batches, _lines = schema.batch_jobs, schema.batch_lines

MAX_UNFINISHED = 100
"""Batches of one tenant."""
_STOPPABLE = ("validating", "in_progress")


class TenantBatches:
    """The batches of one tenant."""

    def __init__(self, database: Database, tenant: Tenant) -> None:
        self._database = database
        self._tenant = tenant.name

    async def create(self, batch: Json, caller: str) -> None:
        """A new batch, as clients read it. caller: whose it is, as JSON. Raises Overloaded."""
        unfinished = select(func.count()).where(_batches.c.tenant == self._tenant, _batches.c.ended_at.is_(None))
        row = {
            "id": batch["id"],
            "tenant": self._tenant,
            "created_at": batch["created_at"],
            "status": batch["status"],
            "caller": caller,
            "body": orjson.dumps(batch).decode(),
            "lease_until": 0.0,
        }
        async with self._database.write() as connection:
            await alone_for(self._database, connection, self._tenant)
            if (await connection.scalar(unfinished) or 0) >= MAX_UNFINISHED:
                raise Overloaded(f"{MAX_UNFINISHED} batches are unfinished; wait for one of them.", retry_after_s=60)
            await connection.execute(_batches.insert(), row)

    async def get(self, batch_id: str) -> Json:
        """One batch with its counts. Raises NotFound."""
        async with self._database.read() as connection:
            return (await self._shown(connection, [await self._row(connection, batch_id)]))[0]

    async def page(self, page: PageQuery) -> Page[Json]:
        """One page of the batches. Raises NotFound for a cursor that is not in the list."""
        check_storable(page.after, page.before)
        async with self._database.read() as connection:
            rows, more = await fetch_page(
                connection,
                self._own(),
                page,
                where=f"{self._tenant}/batch_jobs",
                created=_batches.c.created_at,
                ident=_batches.c.id,
            )
            return Page(await self._shown(connection, rows), more)

    async def cancel(self, batch_id: str) -> Json:
        """No line is begun any more; one that has ended stays as it is. Raises NotFound, Conflict for one that has ended."""
        async with self._database.write() as connection:
            row = await self._row(connection, batch_id, lock=True)
            if row.status in _STOPPABLE:
                body = {**orjson.loads(row.body), "status": "cancelling", "cancelling_at": self._database.now()}
                await _set(connection, batch_id, body)
            elif row.ended_at is not None and row.status != "cancelled":
                raise Conflict(f"The batch {batch_id!r} is {row.status} and cannot be cancelled.", code="batch_ended")
        return await self.get(batch_id)

    async def finish(self, owner: str, batch: Json) -> None:
        """The end: nothing is kept but what clients read. Raises LeaseLost where it is no longer the owner's."""
        async with self._database.write() as connection:
            held = select(_batches.c.id).where(_batches.c.id == batch["id"], *_held(owner)).with_for_update()
            if await connection.scalar(held) is None:
                raise LeaseLost
            await _set(connection, batch["id"], batch)
            ended = update(_batches).where(_batches.c.id == batch["id"])
            await connection.execute(ended.values(ended_at=self._database.clock(), owner=None))
            await connection.execute(delete(_lines).where(_lines.c.batch_id == batch["id"]))

    async def _row(self, connection: AsyncConnection, batch_id: str, *, lock: bool = False) -> Any:
        check_storable(batch_id)
        query = self._own().where(_batches.c.id == batch_id)
        row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
        if row is None:
            raise NotFound(f"There is no batch {batch_id!r}.", param="batch_id")
        return row

    async def _shown(self, connection: AsyncConnection, rows: Sequence[Any]) -> list[Json]:
        """Batches as clients read them; of those that have not ended the lines are counted."""
        open_ids = [row.id for row in rows if row.ended_at is None]
        query = select(_lines.c.batch_id, _lines.c.ok, func.count().label("number"))
        query = query.where(_lines.c.batch_id.in_(open_ids)).group_by(_lines.c.batch_id, _lines.c.ok)
        counted = (await connection.execute(query)).all() if open_ids else ()
        counts = {(each.batch_id, bool(each.ok)): each.number for each in counted}
        shown = []
        for row in rows:
            body = orjson.loads(row.body)
            if row.ended_at is None:
                done = {"completed": counts.get((row.id, True), 0), "failed": counts.get((row.id, False), 0)}
                body["request_counts"] |= done
            shown.append(body)
        return shown

    def _own(self) -> Select[Any]:
        return select(_batches).where(_batches.c.tenant == self._tenant)


class BatchQueue:
    """Batches of all tenants, each worked on by one gateway at a time. Leases are counted on the gateways' clocks."""

    def __init__(self, database: Database) -> None:
        self._database = database
        old = _batches.c.ended_at <= bindparam("before")
        self._any_free = database.prepared(select(_free(bindparam("now")).exists()))
        self._any_old = database.prepared(select(select(_batches.c.id).where(old).exists()))

    async def claim(self, owner: str, *, lease_s: float, limit: int) -> Sequence[BatchJob]:
        """Batches that nobody works on, those first whose tenants have the fewest in work, then the oldest; they are the owner's
        now. Those of suspended tenants wait."""
        now = self._database.clock()
        if not await self._database.scalar_prepared(self._any_free, now=now):
            return []
        async with self._database.write() as connection:
            others = _batches.alias()
            held = select(func.count()).where(others.c.tenant == _batches.c.tenant, others.c.lease_until > now)
            held = held.where(others.c.ended_at.is_(None))
            first = _free(now).order_by(held.scalar_subquery(), _batches.c.created_at, _batches.c.id).limit(limit)
            ids = (await connection.scalars(first.with_for_update(skip_locked=True, of=_batches))).all()
            taken = update(_batches).where(_batches.c.id.in_(ids)).values(owner=owner, lease_until=now + lease_s)
            rows = await connection.execute(taken.returning(_batches.c.caller, _batches.c.body))
            return [BatchJob(caller=row.caller, body=orjson.loads(row.body)) for row in rows]

    async def renew(self, owner: str, batch_ids: Collection[str], *, lease_s: float) -> Mapping[str, str]:
        """What this owner still holds of these, with longer leases: ids and statuses. What it has let fall is not among them, so
        that somebody takes it up."""
        async with self._database.write() as connection:
            held = [each for each in await _lock_held(connection, owner) if each in batch_ids]
            change = update(_batches).where(_batches.c.id.in_(held))
            change = change.values(lease_until=self._database.clock() + lease_s)
            rows = (await connection.execute(change.returning(_batches.c.id, _batches.c.status))).all()
        return {row.id: row.status for row in rows}

    async def update(self, owner: str, batch: Json) -> Json:
        """Show the batch so; one that is being cancelled stays that. As it is shown. Raises LeaseLost."""
        async with self._database.write() as connection:
            query = select(_batches).where(_batches.c.id == batch["id"], *_held(owner)).with_for_update()
            row = (await connection.execute(query)).one_or_none()
            if row is None:
                raise LeaseLost
            if row.status == "cancelling":
                batch = {**batch, "status": row.status, "cancelling_at": orjson.loads(row.body)["cancelling_at"]}
            await _set(connection, batch["id"], batch)
        return batch

    async def done(self, batch_id: str) -> set[int]:
        """The numbers of the lines that were answered."""
        async with self._database.read() as connection:
            return set(await connection.scalars(select(_lines.c.line).where(_lines.c.batch_id == batch_id)))

    async def record(self, owner: str, batch_id: str, line: BatchLine) -> bool:
        """A line was answered; False where the batch is no longer the owner's, and nothing is recorded."""
        row = {"batch_id": batch_id, "line": line.number, "ok": line.ok, "body": line.body}
        async with self._database.write() as connection:
            held = select(_batches.c.id).where(_batches.c.id == batch_id, *_held(owner)).with_for_update()
            if await connection.scalar(held) is None:
                return False
            await connection.execute(self._database.insert(_lines).on_conflict_do_nothing(), row)
        return True

    async def lines(self, batch_id: str, *, ok: bool, after: int, limit: int) -> Sequence[BatchLine]:
        """Answered lines behind a number, in their order."""
        query = select(_lines).where(_lines.c.batch_id == batch_id, _lines.c.ok == ok, _lines.c.line > after)
        async with self._database.read() as connection:
            rows = await connection.execute(query.order_by(_lines.c.line).limit(limit))
            return [BatchLine(row.line, bool(row.ok), row.body) for row in rows]

    async def waiting(self) -> set[str]:
        """Tenants with batches that nobody works on."""
        now = self._database.clock()
        if not await self._database.scalar_prepared(self._any_free, now=now):
            return set()
        async with self._database.read() as connection:
            return set(await connection.scalars(_free(now).with_only_columns(_batches.c.tenant).distinct()))

    async def release(self, owner: str, batch_ids: Collection[str] | None = None) -> None:
        """Whoever comes first may work on what this owner has, or on these of it."""
        async with self._database.write() as connection:
            held = await _lock_held(connection, owner)
            free = update(_batches).where(_batches.c.id.in_([x for x in held if batch_ids is None or x in batch_ids]))
            await connection.execute(free.values(owner=None, lease_until=0.0))

    async def forget(self, *, ended_s: float) -> None:
        """Delete the batches that ended so long ago. Their files stay."""
        before = self._database.clock() - ended_s
        if await self._database.scalar_prepared(self._any_old, before=before):
            async with self._database.write() as connection:
                old = select(_batches.c.id).where(_batches.c.ended_at <= before)
                ids = (await connection.scalars(old.with_for_update(skip_locked=True))).all()
                await connection.execute(delete(_batches).where(_batches.c.id.in_(ids)))


def _free(now: Any) -> Select[Any]:
    """Batches that nobody works on. now: Unix seconds, or the parameter for them."""
    free = select(_batches.c.id).where(_batches.c.ended_at.is_(None), _batches.c.lease_until <= now)
    suspended = select(schema.tenants.c.name).where(schema.tenants.c.suspended.is_(true()))
    return free.where(_batches.c.tenant.not_in(suspended))


def _held(owner: str) -> tuple[ColumnElement[bool], ...]:
    return _batches.c.owner == owner, _batches.c.ended_at.is_(None)


async def _lock_held(connection: AsyncConnection, owner: str) -> Sequence[str]:
    held = select(_batches.c.id).where(*_held(owner)).order_by(_batches.c.id).with_for_update()
    return (await connection.scalars(held)).all()


async def _set(connection: AsyncConnection, batch_id: str, body: Json) -> None:
    values = {"status": body["status"], "body": orjson.dumps(body).decode()}
    await connection.execute(update(_batches).where(_batches.c.id == batch_id).values(values))
