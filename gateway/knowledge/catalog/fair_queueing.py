"""Whose files the ingestion takes next: fair between tenants.

Start-time fair queueing (Goyal, Vin and Cheng, 1996). A tenant's files lie on a line of virtual time, in the order that they were
queued; each is as long as it has chunks, divided by the tenant's weight, and the files that begin first are claimed first. So
while several tenants wait, they get chunks in proportion to their weights, and none waits for all files of another. Who comes
back from idleness begins at the present (the beginning of the file that was claimed last): nobody saves up, nobody owes.

How many chunks a file has is known only when it was cut. It is claimed as one of the tenant's usual length, and the difference
is settled then (`settle`); a file that fails has cost as much as a usual one.

Both databases walk one index, `members_turns` (tenant, queued_at, …; of what is pending only): from tenant to tenant by a
recursive query, and then to the first `limit` files of each of the `limit` tenants whose turn is nearest. So a claim costs some
steps in an index for each tenant that waits, and limit² rows, however many files wait behind them.
"""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Float,
    FromClause,
    Row,
    Select,
    and_,
    exists,
    func,
    literal_column,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.database import Database

_members, _removals, _shares = schema.members, schema.removals, schema.shares

_LOCK = 0x7261_6767
"""PostgreSQL's advisory lock for claims: who claims at the same time would choose the same files."""
_WEIGHTS = (1e-3, 1e6)
"""Weights are kept within, so that virtual time stays far from where floats lose their units."""
_LEARN = 0.125
"""How much of a tenant's usual length the newest file makes up."""

Key = tuple[str, str]
"""(store_id, file_id)."""


async def choose(
    database: Database,
    connection: AsyncConnection,
    *,
    now: float,
    limit: int,
    weights: Mapping[str, float],
    without: Collection[str] = (),
) -> list[Key]:
    """The members to claim, in the order of their turns, charged to their tenants; the transaction must be one that writes.
    Others may hold some of them for a moment: lock them before they are changed. Tenants of `without` are passed over."""
    await database.alone(connection, _LOCK)
    rows = (await connection.execute(turns(now, limit, lateral=not database.is_sqlite, without=without))).all()
    lengths = {row.tenant: row.chunks / _weight(weights, row.tenant) for row in rows}

    def begins(row: Row[Any]) -> float:
        return float(max(row.finished, row.present) + (row.number - 1) * lengths[row.tenant])

    chosen = sorted(rows, key=lambda row: (begins(row), row.queued_at, row.store_id, row.file_id))[:limit]
    last = {row.tenant: begins(row) for row in chosen}  # a tenant's files are in their order: the last one stays
    charges = [
        {
            "tenant": tenant,
            "weight": _weight(weights, tenant),
            "started": last[tenant],
            "finished": last[tenant] + lengths[tenant],
            "chunks": 1.0,  # of a tenant that is new; of others it stays
        }
        for tenant in sorted(last)
    ]
    if charges:
        charge = database.insert(_shares)
        changed = {name: charge.excluded[name] for name in ("weight", "started", "finished")}
        charge = charge.on_conflict_do_update(index_elements=[_shares.c.tenant], set_=changed)
        await connection.execute(charge, charges)
    return [(row.store_id, row.file_id) for row in chosen]


async def settle(connection: AsyncConnection, tenant: str, chunks: int) -> None:
    """A file of the tenant was cut into so many chunks: what was charged for it is put right."""
    length = float(max(1, chunks))
    await connection.execute(
        update(_shares)
        .where(_shares.c.tenant == tenant)
        .values(
            finished=_shares.c.finished + (length - _shares.c.chunks) / _shares.c.weight,
            chunks=_shares.c.chunks + _LEARN * (length - _shares.c.chunks),
        )
    )


def turns(now: float, limit: int, *, lateral: bool, without: Collection[str] = ()) -> Select[Any]:
    """The first `limit` free members of the `limit` tenants whose turn is nearest: tenant, finished, chunks, present, number
    (from 1 in each tenant), queued_at, store_id, file_id. A member of whose rows some are still to be removed waits for that.

    lateral: PostgreSQL looks into the index for each tenant by LATERAL, which SQLite does not have; SQLite does by IN, which
    PostgreSQL would not.
    """
    waiting = _waiting()
    some = _first(waiting, now, 1, "file_id").scalar_subquery()
    finished = func.coalesce(_shares.c.finished, 0.0, type_=Float)
    passed_over = [waiting.c.tenant.not_in(sorted(without))] if without else []
    nearest = (
        select(
            waiting.c.tenant,
            finished.label("finished"),
            func.coalesce(_shares.c.chunks, 1.0, type_=Float).label("chunks"),
        )
        .select_from(waiting.outerjoin(_shares, _shares.c.tenant == waiting.c.tenant))
        .where(waiting.c.tenant.is_not(None), some.is_not(None), *passed_over)
        .order_by(finished, waiting.c.tenant)
        .limit(limit)
        .cte("nearest")
    )
    present = func.coalesce(select(func.max(_shares.c.started)).scalar_subquery(), 0.0, type_=Float)
    found: FromClause
    if lateral:
        found = _first(nearest, now, limit, "queued_at", "store_id", "file_id").lateral("found")
        source = nearest.join(found, true())
    else:
        found = _members.alias("found")
        keys = tuple_(found.c.store_id, found.c.file_id).in_(_first(nearest, now, limit, "store_id", "file_id"))
        source = nearest.join(found, keys)
    order = (found.c.queued_at, found.c.store_id, found.c.file_id)
    number = func.row_number().over(partition_by=nearest.c.tenant, order_by=order)
    return select(*nearest.c, present.label("present"), number.label("number"), *order).select_from(source)


def _waiting() -> FromClause:
    """Tenants that have pending members, each found by one look into the index past the one before; the last is NULL."""
    first, after = _members.alias("first_one"), _members.alias("after_it")
    one = select(first.c.tenant).where(pending(first)).order_by(first.c.tenant).limit(1).scalar_subquery()
    waiting = select(one.label("tenant")).cte("waiting", recursive=True)
    following = select(after.c.tenant).where(pending(after), after.c.tenant > waiting.c.tenant)
    following = following.order_by(after.c.tenant).limit(1)
    return waiting.union_all(
        select(following.correlate(waiting).scalar_subquery()).where(waiting.c.tenant.is_not(None))
    )


def _first(tenants: FromClause, now: float, limit: int, *columns: str) -> Select[Any]:
    """The free members of a tenant that were queued first. The order makes PostgreSQL take the index, also for one of many."""
    each = _members.alias("each_one")
    return (
        select(*(each.c[name] for name in columns))
        .where(each.c.tenant == tenants.c.tenant, _free(each, now))
        .order_by(each.c.queued_at, each.c.store_id, each.c.file_id)
        .limit(limit)
        .correlate(tenants)
    )


def _free(members: FromClause, now: float) -> ColumnElement[bool]:
    unremoved = exists().where(_removals.c.store_id == members.c.store_id, _removals.c.file_id == members.c.file_id)
    return and_(pending(members), members.c.free_at <= now, ~unremoved)


def pending(members: Any) -> ColumnElement[bool]:
    """Written as in the index: SQLite takes `pending = 1`, which SQLAlchemy would write, for something else than `pending`."""
    return literal_column(f"{members.name}.pending")


def _weight(weights: Mapping[str, float], tenant: str) -> float:
    return min(max(weights.get(tenant, 1.0), _WEIGHTS[0]), _WEIGHTS[1])
