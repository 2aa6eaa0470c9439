"""Vector stores in SQL."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import NotFound
from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.catalog import UNCHANGED
from gateway.knowledge.catalog.database import check_storable
from gateway.knowledge.catalog.paging import fetch_page
from gateway.knowledge.catalog.sql_files import SqlPart
from gateway.knowledge.catalog.types import Counts, FileState, Page, PageQuery, Store

_stores, _members = schema.stores, schema.members
_TOUCH_S = 60
DAY_S = 86_400


class SqlStores(SqlPart):
    """See Catalog."""

    async def create_store(
        self,
        tenant: str,
        *,
        name: str,
        description: str | None = None,
        metadata: Mapping[str, str] | None = None,
        settings: Mapping[str, object] | None = None,
        expires_after_days: int | None = None,
    ) -> Store:
        """See Catalog."""
        check_storable(tenant, name, description)
        now = self._now()
        values = {
            "id": self._ids("vs_"),
            "tenant": tenant,
            "name": name,
            "description": description,
            "metadata": dict(metadata or {}),
            "settings": dict(settings or {}),
            "created_at": now,
            "last_active_at": now,
            "expires_after_days": expires_after_days,
        }
        async with self._db.write() as connection:
            await connection.execute(_stores.insert().values(values))
        return Store(**values)  # type: ignore[arg-type]

    async def store(self, tenant: str, store_id: str) -> Store:
        """See Catalog."""
        check_storable(store_id)
        async with self._db.read() as connection:
            row = (await connection.execute(_own(tenant).where(_stores.c.id == store_id))).one_or_none()
            if row is None:
                raise no_store(store_id)
            return (await _counted(connection, [row]))[0]

    async def stores(self, tenant: str, page: PageQuery) -> Page[Store]:
        """See Catalog."""
        check_storable(page.after, page.before)
        async with self._db.read() as connection:
            rows, more = await fetch_page(
                connection,
                _own(tenant),
                page,
                where=f"{tenant}/stores",
                created=_stores.c.created_at,
                ident=_stores.c.id,
            )
            return Page(await _counted(connection, rows), more)

    async def resolve(self, tenant: str, names: Sequence[str]) -> Sequence[Store | None]:
        """See Catalog. An id goes before a name."""
        check_storable(*names)
        wanted = or_(_stores.c.id.in_(names), and_(_stores.c.name.in_(names), _lives(self._now())))
        async with self._db.read() as connection:
            query = _own(tenant).where(wanted).order_by(_stores.c.created_at.desc(), _stores.c.id.desc())
            found = await _counted(connection, (await connection.execute(query)).all())
        now = self._now()
        meant = {each.name: each for each in found if each.expires_at is None or each.expires_at > now}
        meant |= {each.id: each for each in found}
        return [meant.get(name) for name in names]

    async def store_names(self, tenant: str) -> Sequence[str]:
        """See Catalog."""
        done = exists().where(_members.c.store_id == _stores.c.id, _members.c.state == FileState.COMPLETED.value)
        query = select(_stores.c.name).distinct().where(_stores.c.tenant == tenant, _lives(self._now()), done)
        async with self._db.read() as connection:
            return sorted((await connection.execute(query)).scalars())

    async def update_store(
        self,
        tenant: str,
        store_id: str,
        *,
        name: object = UNCHANGED,
        description: object = UNCHANGED,
        metadata: object = UNCHANGED,
        settings: object = UNCHANGED,
        expires_after_days: object = UNCHANGED,
    ) -> Store:
        """See Catalog. It counts as use: `last_active_at` is now."""
        check_storable(store_id, *(each for each in (name, description) if isinstance(each, str)))
        given = {
            "name": name,
            "description": description,
            "metadata": {} if metadata is None else metadata,
            "settings": {} if settings is None else settings,
            "expires_after_days": expires_after_days,
        }
        values = {key: value for key, value in given.items() if value is not UNCHANGED}
        async with self._db.write() as connection:
            own = and_(_stores.c.tenant == tenant, _stores.c.id == store_id)
            change = update(_stores).where(own).values(**values, last_active_at=self._now()).returning(*_stores.c)
            row = (await connection.execute(change)).one_or_none()
            if row is None:
                raise no_store(store_id)
            return (await _counted(connection, [row]))[0]

    async def touch_stores(self, store_ids: Sequence[str]) -> None:
        """See Catalog."""
        now = self._now()
        stale = and_(_stores.c.id.in_(store_ids), _stores.c.last_active_at <= now - _TOUCH_S)
        async with self._db.read() as connection:
            behind = (await connection.execute(select(_stores.c.id).where(stale))).scalars().all()
        if behind:
            async with self._db.write() as connection:
                free = select(_stores.c.id).where(stale).with_for_update(skip_locked=True)
                await connection.execute(update(_stores).where(_stores.c.id.in_(free)).values(last_active_at=now))

    async def delete_store(self, tenant: str, store_id: str) -> None:
        """See Catalog."""
        check_storable(store_id)
        async with self._db.write() as connection:
            query = _own(tenant).where(_stores.c.id == store_id).with_for_update()
            row = (await connection.execute(query)).one_or_none()
            if row is None:
                raise no_store(store_id)
            await self._forget_store(connection, row)

    async def _forget_store(self, connection: AsyncConnection, row: Row[Any]) -> None:
        mine = select(_members.c.file_id).where(_members.c.store_id == row.id).order_by(_members.c.file_id)
        await connection.execute(mine.with_for_update())
        await connection.execute(schema.removals.insert().values(tenant=row.tenant, store_id=row.id))
        await connection.execute(delete(_stores).where(_stores.c.id == row.id))
        await self._bury(connection, f"{row.tenant}/stores", row.id, row.created_at)


def no_store(store_id: str) -> NotFound:
    """What is raised for a store of another tenant and for one that nobody has."""
    return NotFound(f"There is no vector store {store_id!r}.", param="vector_store_id")


def counts_by(rows: Iterable[tuple[str, int]]) -> Counts:
    """Counts out of (state, number) pairs."""
    return Counts(**dict(rows))


def _own(tenant: str) -> Select[Any]:
    return select(_stores).where(_stores.c.tenant == tenant)


def _lives(now: int) -> ColumnElement[bool]:
    days = _stores.c.expires_after_days
    return or_(days.is_(None), _stores.c.last_active_at + days * DAY_S > now)


async def _counted(connection: AsyncConnection, rows: Sequence[Row[Any]]) -> list[Store]:
    """The stores with what their members come to."""
    query = select(_members.c.store_id, _members.c.state, func.count(), func.sum(_members.c.usage_bytes))
    query = query.where(_members.c.store_id.in_([row.id for row in rows]))
    found: dict[str, list[tuple[str, int, int]]] = {}
    for store_id, state, number, used in await connection.execute(
        query.group_by(_members.c.store_id, _members.c.state)
    ):
        found.setdefault(store_id, []).append((state, number, int(used)))
    return [
        Store(
            **row._mapping,
            counts=counts_by((state, number) for state, number, _ in found.get(row.id, ())),
            usage_bytes=sum(used for _, _, used in found.get(row.id, ())),
        )
        for row in rows
    ]
