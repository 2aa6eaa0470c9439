"""The ledger's rows in the catalog's database, and what they sum up to."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Float,
    and_,
    bindparam,
    cast,
    delete,
    func,
    literal_column,
    or_,
    select,
    text,
    update,
)

from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.database import Database, storable
from gateway.knowledge.catalog.sqlite_thread import Rows
from gateway.tenants.ledger import LedgerEntry
from gateway.tenants.usage import EMBEDDINGS, UsageQuery, UsageRow

_ledger, _gateways = schema.ledger, schema.gateways
_CHANGING = ("gateway", "state", "outcome", "reserved", "prompt", "cached", "completion", "stores", "instances", "ms")
_ALIVE = select(_gateways.c.id).where(_gateways.c.seen_at > cast(bindparam("dead_before"), Float))
_LEFT = and_(
    _ledger.c.state == text("'reserved'"),
    _ledger.c.gateway != bindparam("asking"),
    _ledger.c.gateway.not_in(_ALIVE),
    _ledger.c.created_at < cast(bindparam("dead_before"), Float),
)
"""What gateways left that are gone."""
_OLD = _ledger.c.created_at < cast(bindparam("before"), Float)


class SqlLedger:
    """See LedgerStore and UsageSource."""

    def __init__(self, database: Database) -> None:
        self._database = database
        insert = database.insert(_ledger)
        self._upsert = database.prepared(
            insert.on_conflict_do_update(
                index_elements=[_ledger.c.id],
                set_={name: insert.excluded[name] for name in _CHANGING},
                where=or_(_ledger.c.state == text("'reserved'"), insert.excluded.state == text("'settled'")),
            )
        )
        beat = database.insert(_gateways)
        self._beat = database.prepared(
            beat.on_conflict_do_update(index_elements=[_gateways.c.id], set_={"seen_at": beat.excluded.seen_at})
        )
        self._any_left = database.prepared(select(func.min(_ledger.c.id)).where(_LEFT))
        self._any_old = database.prepared(select(func.min(_ledger.c.created_at)).where(_OLD))

    async def write(self, gateway: str, entries: Sequence[LedgerEntry], *, alive_at: float | None) -> None:
        """See LedgerStore."""
        batch: list[tuple[str, Rows]] = []
        if entries:
            batch.append((self._upsert, [_row(gateway, entry) for entry in entries]))
        if alive_at is not None:
            batch.append((self._beat, [{"id": gateway, "seen_at": alive_at}]))
        await self._database.write_prepared(batch)

    async def reap(self, gateway: str, *, dead_before: float) -> int:
        """See LedgerStore."""
        values = {"asking": gateway, "dead_before": dead_before}
        if await self._database.scalar_prepared(self._any_left, **values) is None:
            return 0
        async with self._database.write() as connection:
            # Not those that are written this moment, in an order of their own: their gateway lives after all.
            free = select(_ledger.c.id).where(_LEFT).with_for_update(skip_locked=True)
            settle = update(_ledger).where(_ledger.c.id.in_(free)).values(state="settled", outcome="lost")
            return (await connection.execute(settle, values)).rowcount

    async def gateways(self, since: float) -> Mapping[str, float]:
        """Gateways that gave a sign of life after `since`, and when last (Unix seconds). Raises CatalogUnavailable."""
        query = select(_gateways.c.id, _gateways.c.seen_at).where(_gateways.c.seen_at > since).order_by(_gateways.c.id)
        async with self._database.read() as connection:
            return {row.id: row.seen_at for row in await connection.execute(query)}

    async def forget(self, before: float) -> None:
        """See LedgerStore."""
        if await self._database.scalar_prepared(self._any_old, before=before) is None:
            return
        async with self._database.write() as connection:
            free = select(_ledger.c.id).where(_OLD).with_for_update(skip_locked=True)
            await connection.execute(delete(_ledger).where(_ledger.c.id.in_(free)), {"before": before})

    async def usage(self, query: UsageQuery) -> Sequence[UsageRow]:
        """See UsageSource."""
        # A number in the text, for PostgreSQL does not see that two parameters are the same.
        width: ColumnElement[int] = literal_column(str(query.width))
        bucket = _ledger.c.created_at - _ledger.c.created_at % width
        groups = [bucket, *(_ledger.c[name] for name in ("route", "tenant", "key", "model"))]
        sums = [func.sum(_ledger.c[name]) for name in ("prompt", "cached", "completion")]
        found = (
            select(*groups, func.count(), *sums)
            .where(_ledger.c.created_at >= query.start, _ledger.c.created_at < query.end)
            .group_by(*groups)
            .order_by(bucket)
        )
        if query.tenant is not None:
            found = found.where(_ledger.c.tenant == query.tenant)
        async with self._database.read() as connection:
            rows = (await connection.execute(found)).all()
        return [
            UsageRow(int(row[0]), row[1] == EMBEDDINGS, row[2], row[3], row[4], *(int(number) for number in row[5:]))
            for row in rows
        ]


def _row(gateway: str, entry: LedgerEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "request_id": entry.request_id,
        "tenant": entry.tenant,
        "key": entry.key,
        "gateway": gateway,
        "route": entry.route,
        "model": entry.model,
        "state": "settled" if entry.outcome else "reserved",
        "outcome": entry.outcome,
        "reserved": entry.reserved,
        "prompt": entry.prompt,
        "cached": entry.cached,
        "completion": entry.completion,
        "stores": storable(" ".join(entry.stores)),
        "instances": " ".join(entry.instances),
        "created_at": int(entry.created_at),
        "ms": entry.ms,
    }
