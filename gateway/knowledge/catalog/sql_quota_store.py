"""The store of the quotas in the catalog's database: exact over any number of gateways, by one transaction for each step."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Float,
    Select,
    and_,
    bindparam,
    cast,
    delete,
    func,
    or_,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.database import Database
from gateway.tenants.budgets import Budget, BudgetCounter, Needs, Period, Resource
from gateway.tenants.leases import HeldBudget, Taken, allot
from gateway.tenants.quota_store import SEATS_LIVE_S, current
from gateway.tenants.usage import EMBEDDINGS

_quotas, _seats, _gateways, _leases, _ledger = (
    schema.quotas,
    schema.seats,
    schema.gateways,
    schema.leases,
    schema.ledger,
)
LONGEST_S = 86_400
"""A request that draws on a period began at most so long before it."""

_LEFT = _leases.c.gateway.not_in(
    select(_gateways.c.id).where(_gateways.c.seen_at > cast(bindparam("dead_before"), Float))
)
"""Leases of gateways that are gone."""

_Name = tuple[str, str]
"""Subject and resource of a counter, as its row has them."""


class SqlQuotaStore:
    """See QuotaStore. Who takes of a budget locks its row first, so that what is left of it does not change under his hand."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._any_left = database.prepared(select(func.min(_leases.c.gateway)).where(_LEFT))

    async def take(
        self, gateway: str, needs: Sequence[Needs], held: Mapping[Budget, HeldBudget], now: float
    ) -> Mapping[Budget, Taken]:
        """See QuotaStore."""
        async with self._locked({_name(each.counter) for each in held}) as (connection, rows):
            seats = await self._seats_of_others(connection, gateway, rows, now)
            begins, in_hand, used = {}, {}, {}
            for each, mine in held.items():
                if each.counter.period is Period.NOW:
                    begins[each], in_hand[each] = 0, mine.in_hand
                    used[each] = seats.get(_name(each.counter), 0) + mine.in_hand + mine.given
                else:
                    begins[each], in_hand[each], used[each] = current(mine, rows[_name(each.counter)])
            taken = allot(needs, in_hand, used)
            counted = {
                _name(each.counter): (begins[each], used[each] + n, n)
                for each, n in taken.items()
                if n and each.counter.period is not Period.NOW
            }
            leased = await self._leased(connection, gateway, counted)
            await self._count(connection, {name: (begin, total) for name, (begin, total, _) in counted.items()})
            leases = {name: (begin, n + _of(leased, name, begin)) for name, (begin, _, n) in counted.items()}
            await self._lease(connection, gateway, leases)
            mine_now = {
                each.counter: held[each].in_hand + held[each].given + n
                for each, n in taken.items()
                if each.counter.period is Period.NOW
            }
            if mine_now:
                await self._hold(connection, gateway, mine_now)
            await self._seen(connection, gateway, now)
        return {each: Taken(begins[each], n, used[each] + n) for each, n in taken.items()}

    async def give_back(self, gateway: str, returned: Mapping[BudgetCounter, HeldBudget]) -> None:
        """See QuotaStore."""
        counted = {
            _name(each): held for each, held in returned.items() if each.period is not Period.NOW and held.in_hand
        }
        seats = {each: held.given for each, held in returned.items() if each.period is Period.NOW}
        async with self._locked(counted) as (connection, rows):
            if counted:
                leased = await self._leased(connection, gateway, rows)
                used, mine = {}, {}
                for name, held in counted.items():
                    begin, total = rows[name]
                    if begin == held.begin:
                        # What was taken from a gateway that seemed dead is not its own to return.
                        n = min(held.in_hand, _of(leased, name, begin))
                        used[name] = begin, total - n
                        mine[name] = begin, _of(leased, name, begin) - n
                await self._count(connection, used)
                await self._lease(connection, gateway, mine)
            if seats:
                await self._hold(connection, gateway, seats)

    async def beat(self, gateway: str, now: float) -> None:
        """See QuotaStore."""
        async with self._database.write() as connection:
            await self._seen(connection, gateway, now)

    async def reap(self, dead_before: float) -> int:
        """See QuotaStore."""
        if await self._database.scalar_prepared(self._any_left, dead_before=dead_before) is None:
            return 0
        left = select(_leases).where(_LEFT).params(dead_before=dead_before)
        async with self._database.read() as connection:
            found = (await connection.execute(left)).all()
        async with self._locked({(row.subject, row.resource) for row in found}) as (connection, rows):
            # Whoever lives writes so while he holds these rows: who is dead now stays so.
            dead = [each for each in (await connection.execute(left)).all() if (each.subject, each.resource) in rows]
            for lease in dead:
                begin, used = rows[lease.subject, lease.resource]
                if begin == lease.begin:
                    spent = await connection.scalar(_spent(lease.subject, lease.resource, lease.gateway, begin))
                    rows[lease.subject, lease.resource] = begin, used - max(0, lease.taken - int(spent or 0))
                mine = and_(
                    _leases.c.subject == lease.subject,
                    _leases.c.resource == lease.resource,
                    _leases.c.gateway == lease.gateway,
                )
                await connection.execute(delete(_leases).where(mine))
            await self._count(connection, rows)
        return len(dead)

    @asynccontextmanager
    async def _locked(
        self, counters: Collection[_Name]
    ) -> AsyncIterator[tuple[AsyncConnection, dict[_Name, tuple[int, int]]]]:
        """A transaction, and begin and use of each, which nobody else changes until its end."""
        names = sorted(set(counters))
        query = (
            select(_quotas)
            .where(tuple_(_quotas.c.subject, _quotas.c.resource).in_(names))
            .order_by(_quotas.c.subject, _quotas.c.resource)  # in one order, so that none waits for who waits for him
            .with_for_update()
        )
        while True:
            async with self._database.write() as connection:
                rows = (await connection.execute(query)).all() if names else []
                if len(rows) == len(names):
                    yield connection, {(row.subject, row.resource): (row.begin, row.used) for row in rows}
                    return
            # The rows that were found are free again: who held them here would lock in another order those that are new.
            async with self._database.write() as connection:
                fresh = [{"subject": name, "resource": resource, "begin": 0, "used": 0} for name, resource in names]
                await connection.execute(self._database.insert(_quotas).on_conflict_do_nothing(), fresh)

    async def _seats_of_others(
        self, connection: AsyncConnection, gateway: str, rows: Mapping[tuple[str, str], Any], now: float
    ) -> Mapping[tuple[str, str], int]:
        """Held for the moment by other gateways that live."""
        names = [each for each in rows if each[1].endswith(f"/{Period.NOW}")]
        if not names:
            return {}
        query = (
            select(_seats.c.subject, _seats.c.resource, func.sum(_seats.c.held))
            .join(_gateways, _gateways.c.id == _seats.c.gateway)
            .where(
                tuple_(_seats.c.subject, _seats.c.resource).in_(names),
                _seats.c.gateway != gateway,
                _gateways.c.seen_at > now - SEATS_LIVE_S,
            )
            .group_by(_seats.c.subject, _seats.c.resource)
        )
        return {(subject, resource): int(held) for subject, resource, held in await connection.execute(query)}

    async def _leased(
        self, connection: AsyncConnection, gateway: str, names: Collection[_Name]
    ) -> Mapping[_Name, tuple[int, int]]:
        """Begin, and what a gateway has taken; where it leased anything."""
        if not names:
            return {}
        query = select(_leases).where(
            _leases.c.gateway == gateway, tuple_(_leases.c.subject, _leases.c.resource).in_(sorted(names))
        )
        return {(row.subject, row.resource): (row.begin, row.taken) for row in await connection.execute(query)}

    async def _count(self, connection: AsyncConnection, used: Mapping[_Name, tuple[int, int]]) -> None:
        """Begin and use of budgets, whose rows are locked."""
        values = [
            {"_subject": subject, "_resource": resource, "_begin": begin, "_used": n}
            for (subject, resource), (begin, n) in used.items()
        ]
        if values:
            here = and_(_quotas.c.subject == bindparam("_subject"), _quotas.c.resource == bindparam("_resource"))
            change = update(_quotas).where(here).values(begin=bindparam("_begin"), used=bindparam("_used"))
            await connection.execute(change, values)

    async def _lease(self, connection: AsyncConnection, gateway: str, taken: Mapping[_Name, tuple[int, int]]) -> None:
        values = [
            {"subject": subject, "resource": resource, "gateway": gateway, "begin": begin, "taken": n}
            for (subject, resource), (begin, n) in taken.items()
        ]
        if values:
            insert = self._database.insert(_leases)
            lease = insert.on_conflict_do_update(
                index_elements=list(_leases.primary_key),
                set_={name: insert.excluded[name] for name in ("begin", "taken")},
            )
            await connection.execute(lease, values)

    async def _hold(self, connection: AsyncConnection, gateway: str, held: Mapping[BudgetCounter, int]) -> None:
        values = [
            {"subject": each.subject, "resource": _resource(each), "gateway": gateway, "held": n}
            for each, n in sorted(held.items(), key=lambda item: _name(item[0]))
        ]
        insert = self._database.insert(_seats)
        hold = insert.on_conflict_do_update(
            index_elements=list(_seats.primary_key), set_={"held": insert.excluded.held}
        )
        await connection.execute(hold, values)

    async def _seen(self, connection: AsyncConnection, gateway: str, now: float) -> None:
        insert = self._database.insert(_gateways)
        seen = insert.on_conflict_do_update(
            index_elements=list(_gateways.primary_key), set_={"seen_at": insert.excluded.seen_at}
        )
        await connection.execute(seen, {"id": gateway, "seen_at": now})


def _resource(counter: BudgetCounter) -> str:
    return f"{counter.resource}/{counter.period}"


def _name(counter: BudgetCounter) -> _Name:
    return counter.subject, _resource(counter)


def _of(leased: Mapping[_Name, tuple[int, int]], name: _Name, begin: int) -> int:
    """What was taken in this period."""
    known, taken = leased.get(name, (begin, 0))
    return taken if known == begin else 0


def _spent(subject: str, resource: str, gateway: str, begin: int) -> Select[int]:
    """What a gateway's requests came to by the ledger, of those that may have drawn on the period that began then."""
    kind, _, name = subject.partition("/")
    unit = resource.partition("/")[0]
    amounts: Mapping[str, tuple[ColumnElement[int], ColumnElement[bool]]] = {
        Resource.REQUESTS: (func.count(), true()),
        Resource.TOKENS: (func.sum(_ledger.c.prompt + _ledger.c.completion), _ledger.c.route != EMBEDDINGS),
        Resource.EMBEDDING_TOKENS: (func.sum(_ledger.c.prompt), _ledger.c.route == EMBEDDINGS),
    }
    amount, kept = amounts[unit]
    is_late = or_(_ledger.c.outcome.in_(("", "lost")), _ledger.c.created_at * 1000 + _ledger.c.ms >= begin * 1000)
    return select(amount).where(
        (_ledger.c.tenant if kind == "tenant" else _ledger.c.key) == name,
        _ledger.c.gateway == gateway,
        _ledger.c.created_at >= begin - LONGEST_S,
        or_(_ledger.c.created_at >= begin, is_late),
        kept,
    )
