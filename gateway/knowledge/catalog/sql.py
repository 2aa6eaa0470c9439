"""The catalog in SQL: SQLite on one machine, PostgreSQL in a fleet."""

import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from copy import copy
from pathlib import Path
from typing import Self

from sqlalchemy import ColumnElement, and_, delete, exists, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import Conflict, NotFound
from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.database import Database
from gateway.knowledge.catalog.idempotency import SqlKeys
from gateway.knowledge.catalog.sql_jobs import SqlJobs
from gateway.knowledge.catalog.sql_members import member_of
from gateway.knowledge.catalog.types import Collection, CollectionState, FileState, Member

_collections, _members, _entries = schema.collections, schema.members, schema.entries


def new_id(prefix: str) -> str:
    """The prefix and 24 hexadecimal digits that nobody can guess."""
    return prefix + secrets.token_hex(12)


def catalog_url(setting: str, home: Path) -> str:
    """The setting, or SQLite in the state folder."""
    return setting or f"sqlite:///{home.resolve() / 'catalog.db'}"


class SqlCatalog(SqlJobs, SqlKeys):
    """See Catalog. Nothing is opened until the first call, which makes the tables where there are none."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time, ids: Callable[[str], str] = new_id) -> None:
        super().__init__(Database(url), clock, ids)

    @property
    def database(self) -> Database:
        """Where it stands."""
        return self._db

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Self]:
        """See Catalog."""
        async with self._db.write() as connection:
            joined = copy(self)
            joined._db = self._db.within(connection)
            yield joined

    async def collections(self) -> Sequence[Collection]:
        """See Catalog. In the order that they were made."""
        query = select(_collections).order_by(_collections.c.created_at, _collections.c.name)
        async with self._db.read() as connection:
            return [_collection(row._mapping) for row in await connection.execute(query)]

    async def add_collection(self, name: str, *, embedding_model: str, dimension: int) -> Collection:
        """See Catalog."""
        async with self._db.write() as connection:
            await self._db.alone(connection)
            known = (await connection.execute(select(_collections).where(_collections.c.name == name))).one_or_none()
            if known is not None:
                if (known.embedding_model, known.dimension) != (embedding_model, dimension):
                    raise Conflict(
                        f"The collection {name!r} is of {known.embedding_model!r} with {known.dimension} dimensions."
                    )
                return _collection(known._mapping)
            first = await connection.scalar(select(_collections.c.name).limit(1)) is None
            values = {
                "name": name,
                "embedding_model": embedding_model,
                "dimension": dimension,
                "state": (CollectionState.ACTIVE if first else CollectionState.BUILDING).value,
                "created_at": self._now(),
            }
            await connection.execute(_collections.insert().values(values))
            return _collection(values)

    async def behind(self, collection: str, *, limit: int, after: tuple[str, str] | None = None) -> Sequence[Member]:
        """See Catalog."""
        query = select(_members).where(_behind(collection)).order_by(_members.c.store_id, _members.c.file_id)
        if after is not None:
            query = query.where(tuple_(_members.c.store_id, _members.c.file_id) > tuple_(*after))
        async with self._db.read() as connection:
            return [member_of(row) for row in await connection.execute(query.limit(limit))]

    async def indexed(self, collection: str, members: Sequence[Member]) -> Sequence[Member]:
        """See Catalog. Raises NotFound for an unknown collection."""
        stale = []
        async with self._db.write() as connection:
            await _known(connection, collection)
            for each in sorted(members, key=lambda each: (each.store_id, each.file_id)):
                same = and_(
                    _members.c.store_id == each.store_id,
                    _members.c.file_id == each.file_id,
                    _members.c.generation == each.generation,
                    _members.c.state == FileState.COMPLETED.value,
                )
                if await connection.scalar(select(1).where(same).with_for_update()) is None:
                    stale.append(each)
                else:
                    key = {"collection": collection, "store_id": each.store_id, "file_id": each.file_id}
                    await self._record(connection, [{**key, "generation": each.generation}])
        return stale

    async def switch(self, name: str) -> None:
        """See Catalog. The one that was PREVIOUS stays so until it is dropped."""
        async with self._db.write() as connection:
            await self._db.alone(connection)
            # Who completes a member reads its collection's row under a lock: past this line no one does.
            rows = await connection.execute(select(_collections).with_for_update())
            states = {row.name: row.state for row in rows}
            if name not in states:
                raise NotFound(f"There is no collection {name!r}.")
            if states[name] == CollectionState.ACTIVE.value:
                return
            if await connection.scalar(select(1).select_from(_members).where(_behind(name)).limit(1)):
                raise Conflict(f"Members are behind in {name!r}: let it be filled first (ragfleet reembed).")
            active = _collections.c.state == CollectionState.ACTIVE.value
            await connection.execute(update(_collections).where(active).values(state=CollectionState.PREVIOUS.value))
            await connection.execute(
                update(_collections).where(_collections.c.name == name).values(state=CollectionState.ACTIVE.value)
            )

    async def drop_collection(self, name: str) -> None:
        """See Catalog. Raises Conflict for the active one."""
        async with self._db.write() as connection:
            await self._db.alone(connection)
            if await _known(connection, name) == CollectionState.ACTIVE.value:
                raise Conflict(f"{name!r} is the active collection: switch to another one first.")
            await connection.execute(delete(_collections).where(_collections.c.name == name))

    async def close(self) -> None:
        """See Catalog."""
        await self._db.close()


def _behind(collection: str) -> ColumnElement[bool]:
    present = exists().where(
        _entries.c.collection == collection,
        _entries.c.store_id == _members.c.store_id,
        _entries.c.file_id == _members.c.file_id,
        _entries.c.generation == _members.c.generation,
    )
    return and_(_members.c.state == FileState.COMPLETED.value, ~present)


async def _known(connection: AsyncConnection, name: str) -> str:
    state = await connection.scalar(select(_collections.c.state).where(_collections.c.name == name))
    if state is None:
        raise NotFound(f"There is no collection {name!r}.")
    return str(state)


def _collection(values) -> Collection:  # type: ignore[no-untyped-def]
    return Collection(**{**values, "state": CollectionState(values["state"])})
