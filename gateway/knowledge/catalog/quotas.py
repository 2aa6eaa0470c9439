"""The store of the quotas in the catalog's database: exact over any number of gateways, by one transaction for each step."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import and_, bindparam, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.database import Database
from gateway.tenants.budgets import Budget, Counter, Needs, Period
from gateway.tenants.leases import Held, Taken, allot
from gateway.tenants.quota_store import SEATS_LIVE_S, current

_quotas, _seats, _gateways = schema.quotas, schema.seats, schema.gateways


class SqlQuotaStore:
    """See QuotaStore. Who takes of a budget locks its row first, so that what is left of it does not change under his hand."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(
        self, gateway: str, needs: Sequence[Needs], held: Mapping[Budget, Held], now: float
    ) -> Mapping[Budget, Taken]:
        """See QuotaStore."""
        async with self._database.write() as connection:
            rows = await self._locked(connection, [each.counter for each in held])
            seats = await self._seats_of_others(connection, gateway, rows, now)
            begins, in_hand, used = {}, {}, {}
            for each, mine in held.items():
                if each.counter.period is Period.NOW:
                    begins[each], in_hand[each] = 0, mine.in_hand
                    used[each] = seats.get(_name(each.counter), 0) + mine.in_hand + mine.given
                else:
                    begins[each], in_hand[each], used[each] = current(mine, rows[_name(each.counter)])
            taken = allot(needs, in_hand, used)
            await self._count(connection, {each: (begins[each], used[each] + n) for each, n in taken.items() if n})
            mine_now = {
                each.counter: held[each].in_hand + held[each].given + n
                for each, n in taken.items()
                if each.counter.period is Period.NOW
            }
            if mine_now:
                await self._hold(connection, gateway, mine_now)
                await self._seen(connection, gateway, now)
        return {each: Taken(begins[each], n, used[each] + n) for each, n in taken.items()}

    async def give_back(self, gateway: str, returned: Mapping[Counter, Held]) -> None:
        """See QuotaStore."""
        counted = [
            {"_subject": each.subject, "_resource": _resource(each), "_begin": held.begin, "_n": held.in_hand}
            for each, held in returned.items()
            if each.period is not Period.NOW and held.in_hand
        ]
        seats = {each: held.given for each, held in returned.items() if each.period is Period.NOW}
        less = (
            update(_quotas)
            .where(
                _quotas.c.subject == bindparam("_subject"),
                _quotas.c.resource == bindparam("_resource"),
                _quotas.c.begin == bindparam("_begin"),
            )
            .values(used=_quotas.c.used - bindparam("_n"))
        )
        async with self._database.write() as connection:
            if counted:
                await self._locked(connection, list(returned))
                await connection.execute(less, counted)
            if seats:
                await self._hold(connection, gateway, seats)

    async def beat(self, gateway: str, now: float) -> None:
        """See QuotaStore."""
        async with self._database.write() as connection:
            await self._seen(connection, gateway, now)

    async def _locked(
        self, connection: AsyncConnection, counters: Sequence[Counter]
    ) -> Mapping[tuple[str, str], tuple[int, int]]:
        """Begin and use of each, which nobody else changes until the end of this transaction."""
        names = sorted({_name(each) for each in counters})
        query = (
            select(_quotas)
            .where(tuple_(_quotas.c.subject, _quotas.c.resource).in_(names))
            .order_by(_quotas.c.subject, _quotas.c.resource)  # in one order, so that none waits for who waits for him
            .with_for_update()
        )
        rows = (await connection.execute(query)).all()
        if len(rows) < len(names):
            fresh = [{"subject": subject, "resource": resource, "begin": 0, "used": 0} for subject, resource in names]
            await connection.execute(self._database.insert(_quotas).on_conflict_do_nothing(), fresh)
            rows = (await connection.execute(query)).all()
        return {(row.subject, row.resource): (row.begin, row.used) for row in rows}

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

    async def _count(self, connection: AsyncConnection, counts: Mapping[Budget, tuple[int, int]]) -> None:
        values = [
            {"_subject": each.counter.subject, "_resource": _resource(each.counter), "_begin": begin, "_used": used}
            for each, (begin, used) in counts.items()
            if each.counter.period is not Period.NOW
        ]
        if values:
            here = and_(_quotas.c.subject == bindparam("_subject"), _quotas.c.resource == bindparam("_resource"))
            change = update(_quotas).where(here).values(begin=bindparam("_begin"), used=bindparam("_used"))
            await connection.execute(change, values)

    async def _hold(self, connection: AsyncConnection, gateway: str, held: Mapping[Counter, int]) -> None:
        values = [
            {"subject": each.subject, "resource": _resource(each), "gateway": gateway, "held": n}
            for each, n in held.items()
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


def _resource(counter: Counter) -> str:
    return f"{counter.resource}/{counter.period}"


def _name(counter: Counter) -> tuple[str, str]:
    return counter.subject, _resource(counter)
