"""The Milvus collections that the catalog knows, and which members have their rows in each."""

import asyncio
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, exists, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import Conflict, NotFound
from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.database import Database
from gateway.knowledge.catalog.member_rows import member_of
from gateway.knowledge.catalog.types import Collection, CollectionState, FileState, Member

_collections, _members, _entries = schema.collections, schema.members, schema.entries
_PAUSE_S = 0.05
"""Until `drop` looks again whether the entries that others held are gone."""


class CollectionRegistry:
    """Collections of all tenants' rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> Sequence[Collection]:
        """In the order that they were made."""
        query = select(_collections).order_by(_collections.c.created_at, _collections.c.name)
        async with self._database.read() as connection:
            return [_collection(row._mapping) for row in await connection.execute(query)]

    async def add(self, name: str, *, embedding_model: str, dimension: int) -> Collection:
        """ACTIVE if it is the first, else BUILDING. Idempotent for equal arguments; raises Conflict for others."""
        async with self._database.write() as connection:
            await self._database.alone(connection)
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
                "created_at": self._database.now(),
            }
            await connection.execute(_collections.insert().values(values))
            return _collection(values)

    async def behind(self, collection: str, *, limit: int, after: tuple[str, str] | None = None) -> Sequence[Member]:
        """COMPLETED members that are not in `collection` in their present generation, by (store_id, file_id)."""
        query = select(_members).where(_behind(collection)).order_by(_members.c.store_id, _members.c.file_id)
        if after is not None:
            query = query.where(tuple_(_members.c.store_id, _members.c.file_id) > tuple_(*after))
        async with self._database.read() as connection:
            return [member_of(row) for row in await connection.execute(query.limit(limit))]

    async def indexed(self, collection: str, members: Sequence[Member]) -> Sequence[Member]:
        """Record that these generations' rows are in `collection`; those that are no longer so are given back. Raises NotFound
        for an unknown collection."""
        stale = []
        async with self._database.write() as connection:
            # Before the members, as `complete` has it: their entries refer to it.
            here = select(_collections.c.name).where(_collections.c.name == collection)
            if await connection.scalar(here.with_for_update(read=True, key_share=True)) is None:
                raise _no_collection(collection)
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
                    await record_entries(self._database, connection, [{**key, "generation": each.generation}])
        return stale

    async def switch(self, name: str) -> None:
        """Make it ACTIVE and the active one PREVIOUS; one that was PREVIOUS stays so until it is dropped. Raises NotFound, and
        Conflict while members are behind in it."""
        async with self._database.write() as connection:
            await self._database.alone(connection)
            # Who completes a member reads its collection's row under a lock: past this line no one does.
            rows = await connection.execute(select(_collections).order_by(_collections.c.name).with_for_update())
            states = {row.name: row.state for row in rows}
            if name not in states:
                raise _no_collection(name)
            if states[name] == CollectionState.ACTIVE.value:
                return
            if await connection.scalar(select(1).select_from(_members).where(_behind(name)).limit(1)):
                raise Conflict(f"Members are behind in {name!r}: let it be filled first (ragfleet reembed).")
            active = _collections.c.state == CollectionState.ACTIVE.value
            await connection.execute(update(_collections).where(active).values(state=CollectionState.PREVIOUS.value))
            await connection.execute(
                update(_collections).where(_collections.c.name == name).values(state=CollectionState.ACTIVE.value)
            )

    async def drop(self, name: str) -> None:
        """Forget a collection. Raises NotFound, and Conflict for the active one."""
        while True:
            if await self._try_drop(name):
                return
            await asyncio.sleep(_PAUSE_S)

    async def _try_drop(self, name: str) -> bool:
        """Whether it is forgotten; else somebody takes a member out of it just now. Who waited for him here, with other members'
        entries in hand, could be who he waits for."""
        async with self._database.write() as connection:
            await self._database.alone(connection)
            state = select(_collections.c.state).where(_collections.c.name == name).with_for_update()
            if (found := await connection.scalar(state)) is None:
                raise _no_collection(name)
            if found == CollectionState.ACTIVE.value:
                raise Conflict(f"{name!r} is the active collection: switch to another one first.")
            here = _entries.c.collection == name
            free = select(_entries.c.store_id, _entries.c.file_id).where(here).with_for_update(skip_locked=True)
            await connection.execute(
                delete(_entries).where(here, tuple_(_entries.c.store_id, _entries.c.file_id).in_(free))
            )
            if await connection.scalar(select(1).where(here).limit(1)) is not None:
                return False
            await connection.execute(delete(_collections).where(_collections.c.name == name))
            return True


async def record_entries(database: Database, connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Which generations are in a collection; rows of `entries`."""
    insert = database.insert(_entries)
    newer = {"generation": insert.excluded.generation}
    await connection.execute(insert.on_conflict_do_update(index_elements=list(_entries.primary_key), set_=newer), rows)


def _behind(collection: str) -> ColumnElement[bool]:
    present = exists().where(
        _entries.c.collection == collection,
        _entries.c.store_id == _members.c.store_id,
        _entries.c.file_id == _members.c.file_id,
        _entries.c.generation == _members.c.generation,
    )
    return and_(_members.c.state == FileState.COMPLETED.value, ~present)


def _no_collection(name: str) -> NotFound:
    return NotFound(f"There is no collection {name!r}.")


def _collection(values) -> Collection:  # type: ignore[no-untyped-def]
    return Collection(**{**values, "state": CollectionState(values["state"])})
