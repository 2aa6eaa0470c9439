"""Vector stores."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import NotFound
from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.database import Database, check_storable, new_id
from gateway.knowledge.catalog.paging import fetch_page, record_tombstone
from gateway.knowledge.catalog.types import UNCHANGED, Counts, FileState, Page, PageQuery, Store
from gateway.knowledge.catalog.visibility import Visibility
from gateway.tenants.tenant import Tenant

_stores, _members = schema.stores, schema.members
_TOUCH_S = 60
DAY_S = 86_400


class TenantStores:
    """The vector stores of one tenant; what they hold is what its key may see of it."""

    def __init__(self, database: Database, tenant: Tenant) -> None:
        self._database = database
        self._tenant = tenant.name
        self._visibility = Visibility(database, tenant)

    async def create(
        self,
        *,
        name: str,
        description: str | None = None,
        metadata: Mapping[str, str] | None = None,
        settings: Mapping[str, object] | None = None,
        expires_after_days: int | None = None,
    ) -> Store:
        """A new store without members. `settings`: what `Store.settings` holds."""
        check_storable(name, description)
        now = self._database.now()
        values = {
            "id": new_id("vs_"),
            "tenant": self._tenant,
            "name": name,
            "description": description,
            "metadata": dict(metadata or {}),
            "settings": dict(settings or {}),
            "created_at": now,
            "last_active_at": now,
            "expires_after_days": expires_after_days,
        }
        async with self._database.write() as connection:
            await connection.execute(_stores.insert().values(values))
        return Store(**values)  # type: ignore[arg-type]

    async def get(self, store_id: str) -> Store:
        """One store with its counts, also an expired one: searching that is the caller's to refuse. Raises NotFound."""
        check_storable(store_id)
        async with self._database.read() as connection:
            row = (await connection.execute(self._own().where(_stores.c.id == store_id))).one_or_none()
            if row is None:
                raise no_store(store_id)
            return (await self._counted(connection, [row]))[0]

    async def page(self, page: PageQuery) -> Page[Store]:
        """One page of the stores, with their counts. Raises NotFound for a cursor that is not in the list."""
        check_storable(page.after, page.before)
        async with self._database.read() as connection:
            rows, more = await fetch_page(
                connection,
                self._own(),
                page,
                where=f"{self._tenant}/stores",
                created=_stores.c.created_at,
                ident=_stores.c.id,
                visibility=self._visibility,
            )
            return Page(await self._counted(connection, rows), more)

    async def resolve(self, names: Sequence[str]) -> Sequence[Store | None]:
        """For each name or id the store it means, or None. An id goes before a name. Names need not be unique: the oldest store
        that has not expired wins."""
        check_storable(*names)
        wanted = or_(_stores.c.id.in_(names), and_(_stores.c.name.in_(names), _lives(self._database.now())))
        async with self._database.read() as connection:
            query = self._own().where(wanted).order_by(_stores.c.created_at.desc(), _stores.c.id.desc())
            found = await self._counted(connection, (await connection.execute(query)).all())
        now = self._database.now()
        meant = {each.name: each for each in found if each.expires_at is None or each.expires_at > now}
        meant |= {each.id: each for each in found}
        return [meant.get(name) for name in names]

    async def names(self) -> Mapping[str, int]:
        """Names of stores that can be searched, sorted, and when the oldest one of each name was made."""
        query = select(_stores.c.name, func.min(_stores.c.created_at)).where(*self._searchable())
        async with self._database.read() as connection:
            rows = (await connection.execute(query.group_by(_stores.c.name))).all()
        return dict(sorted(map(tuple, rows)))

    async def newest(self, limit: int) -> Sequence[Store]:
        """The newest stores that can be searched."""
        query = select(_stores).where(*self._searchable()).order_by(_stores.c.created_at.desc(), _stores.c.id.desc())
        async with self._database.read() as connection:
            return await self._counted(connection, (await connection.execute(query.limit(limit))).all())

    async def update(
        self,
        store_id: str,
        *,
        name: object = UNCHANGED,
        description: object = UNCHANGED,
        metadata: object = UNCHANGED,
        settings: object = UNCHANGED,
        expires_after_days: object = UNCHANGED,
    ) -> Store:
        """Change what is not UNCHANGED; None clears a field. It counts as use: `last_active_at` is now. Raises NotFound."""
        check_storable(store_id, *(each for each in (name, description) if isinstance(each, str)))
        given = {
            "name": name,
            "description": description,
            "metadata": {} if metadata is None else metadata,
            "settings": {} if settings is None else settings,
            "expires_after_days": expires_after_days,
        }
        values = {key: value for key, value in given.items() if value is not UNCHANGED}
        async with self._database.write() as connection:
            own = and_(_stores.c.tenant == self._tenant, _stores.c.id == store_id)
            change = (
                update(_stores).where(own).values(**values, last_active_at=self._database.now()).returning(*_stores.c)
            )
            row = (await connection.execute(change)).one_or_none()
            if row is None:
                raise no_store(store_id)
            return (await self._counted(connection, [row]))[0]

    async def touch(self, store_ids: Sequence[str]) -> None:
        """Set `last_active_at` to now (at most once a minute each: searches are frequent, expiry is counted in days)."""
        now = self._database.now()
        mine = and_(_stores.c.tenant == self._tenant, _stores.c.id.in_(store_ids))
        stale = and_(mine, _stores.c.last_active_at <= now - _TOUCH_S)
        async with self._database.read() as connection:
            behind = (await connection.execute(select(_stores.c.id).where(stale))).scalars().all()
        if behind:
            async with self._database.write() as connection:
                free = select(_stores.c.id).where(stale).with_for_update(skip_locked=True)
                await connection.execute(update(_stores).where(_stores.c.id.in_(free)).values(last_active_at=now))

    async def delete(self, store_id: str) -> None:
        """Forget the store with its memberships, and leave a Removal; its files stay. Raises NotFound."""
        check_storable(store_id)
        async with self._database.write() as connection:
            query = self._own().where(_stores.c.id == store_id).with_for_update()
            row = (await connection.execute(query)).one_or_none()
            if row is None:
                raise no_store(store_id)
            await forget_store(self._database, connection, row)

    def _searchable(self) -> tuple[ColumnElement[bool], ...]:
        """Stores that have not expired and have a completed member that the key sees."""
        done = exists().where(
            _members.c.store_id == _stores.c.id,
            _members.c.state == FileState.COMPLETED.value,
            *self._visibility.of_members(),
        )
        return _stores.c.tenant == self._tenant, _lives(self._database.now()), done

    async def _counted(self, connection: AsyncConnection, rows: Sequence[Row[Any]]) -> list[Store]:
        """The stores with what those of their members come to that the key sees."""
        query = select(_members.c.store_id, _members.c.state, func.count(), func.sum(_members.c.usage_bytes))
        query = query.where(_members.c.store_id.in_([row.id for row in rows]), *self._visibility.of_members())
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

    def _own(self) -> Select[Any]:
        return select(_stores).where(_stores.c.tenant == self._tenant)


async def forget_store(database: Database, connection: AsyncConnection, row: Row[Any]) -> None:
    """Delete a store, whose row is locked, with its memberships; it leaves a Removal."""
    mine = select(_members.c.file_id).where(_members.c.store_id == row.id).order_by(_members.c.file_id)
    await connection.execute(mine.with_for_update())
    await connection.execute(schema.removals.insert().values(tenant=row.tenant, store_id=row.id))
    await connection.execute(delete(_stores).where(_stores.c.id == row.id))
    await record_tombstone(database, connection, f"{row.tenant}/stores", row.id, row.created_at)


def no_store(store_id: str) -> NotFound:
    """What is raised for a store of another tenant and for one that nobody has."""
    return NotFound(f"There is no vector store {store_id!r}.", param="vector_store_id")


def counts_by(rows: Iterable[tuple[str, int]]) -> Counts:
    """Counts out of (state, number) pairs."""
    return Counts(**dict(rows))


def _lives(now: int) -> ColumnElement[bool]:
    days = _stores.c.expires_after_days
    return or_(days.is_(None), _stores.c.last_active_at + days * DAY_S > now)
