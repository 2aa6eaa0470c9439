"""What was deleted and is still to leave the index and the object store; and what expires."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Table, delete, select, tuple_

from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.database import Database
from gateway.knowledge.catalog.files import forget_file
from gateway.knowledge.catalog.ingestion_types import Removal
from gateway.knowledge.catalog.responses import forget_responses
from gateway.knowledge.catalog.stores import DAY_S, forget_store
from gateway.knowledge.catalog.types import File
from gateway.knowledge.catalog.uploads import forget_uploads
from gateway.tenants.tenant import Tenant

_removals = schema.removals
_EXPIRE = 200
"""Things that one call of `expire` deletes at the most, of a kind."""
_FORGET = 1000
"""Rows that nothing hangs on, likewise."""
_LOOK = 256
"""Removals that `is_removing` looks through. They are done oldest first, so a queue longer than this says that ours is in it."""


class RemovalQueue:
    """Removals of all tenants. A file, store or member that is deleted leaves one in the same transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def first(self, *, limit: int) -> Sequence[Removal]:
        """The oldest ones."""
        query = select(_removals).order_by(_removals.c.id).limit(limit)
        async with self._database.read() as connection:
            return [Removal(**row._mapping) for row in await connection.execute(query)]

    async def done(self, removals: Sequence[Removal]) -> None:
        """Nothing is left of these."""
        async with self._database.write() as connection:
            done = select(_removals.c.id).where(_removals.c.id.in_([each.id for each in removals]))
            done = done.order_by(_removals.c.id).with_for_update()
            await connection.execute(delete(_removals).where(_removals.c.id.in_(done)))

    async def expire(self) -> int:
        """Delete files past their `expires_at`, and stores past theirs by a day, with all traces; how many there were. Each is a
        transaction of its own: what is used meanwhile stays. Old uploads, stored answers,
        tombstones and idempotency keys are forgotten, too."""
        now, files, stores = self._database.now(), schema.files, schema.stores
        old = files.c.expires_at <= now
        gone = stores.c.last_active_at + (stores.c.expires_after_days + 1) * DAY_S <= now
        async with self._database.read() as connection:
            file_ids = (await connection.scalars(select(files.c.id).where(old).limit(_EXPIRE))).all()
            store_ids = (await connection.scalars(select(stores.c.id).where(gone).limit(_EXPIRE))).all()
        ended = 0
        for ident in file_ids:
            async with self._database.write() as connection:
                query = select(files).where(files.c.id == ident, old).with_for_update()
                if (row := (await connection.execute(query)).one_or_none()) is not None:
                    await forget_file(self._database, connection, File(**row._mapping))
                    ended += 1
        for ident in store_ids:
            async with self._database.write() as connection:
                query = select(stores).where(stores.c.id == ident, gone).with_for_update()
                if (row := (await connection.execute(query)).one_or_none()) is not None:
                    await forget_store(self._database, connection, row)
                    ended += 1
        await forget_uploads(self._database, limit=_EXPIRE)
        await forget_responses(self._database, limit=_EXPIRE)
        for table in schema.chat_completions, schema.conversations, schema.idempotency:
            await self._forget(table, table.c.expires_at <= now)
        await self._forget(schema.tombstones, schema.tombstones.c.deleted_at <= now - DAY_S)
        return ended

    async def _forget(self, table: Table, old: ColumnElement[bool]) -> None:
        """Delete rows that are old, but for those that somebody uses just now."""
        key = table.primary_key.columns.values()
        free = select(*key).where(old).limit(_FORGET).with_for_update(skip_locked=True)
        async with self._database.write() as connection:
            rows = [tuple(row) for row in await connection.execute(free)]
            if rows:
                await connection.execute(delete(table).where(tuple_(*key).in_(rows)))


async def is_removing(database: Database, tenant: Tenant, *, store_id: str | None, file_id: str | None) -> bool:
    """Whether a removal of the tenant's store, file, or file in a store may still wait."""
    oldest = select(_removals.c.tenant, _removals.c.store_id, _removals.c.file_id).order_by(_removals.c.id).limit(_LOOK)
    async with database.read() as connection:
        waiting = (await connection.execute(oldest)).all()
    return len(waiting) == _LOOK or any(
        row.tenant == tenant.name
        and (store_id is None or row.store_id == store_id)
        and (file_id is None or row.file_id == file_id)
        for row in waiting
    )
