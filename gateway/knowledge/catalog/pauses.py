"""What the ingestion waits for, told to everybody who asks for a file that does not go in."""

from collections.abc import Sequence

from sqlalchemy import delete, select

from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.database import Database, storable
from gateway.knowledge.catalog.ingestion_types import Pause

_pauses = schema.pauses


class Pauses:
    """Written by the one ingestion that works, read by all gateways."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, pause: Pause) -> None:
        """The ingestion waits for this; of what it waits for already `since` stays."""
        insert = self._database.insert(_pauses)
        insert = insert.values(cause=pause.cause, message=storable(pause.message), since=pause.since)
        newer = {"message": insert.excluded.message}
        async with self._database.write() as connection:
            await connection.execute(insert.on_conflict_do_update(index_elements=[_pauses.c.cause], set_=newer))

    async def clear(self) -> None:
        """The ingestion waits for nothing any more."""
        async with self._database.write() as connection:
            await connection.execute(select(_pauses.c.cause).order_by(_pauses.c.cause).with_for_update())
            await connection.execute(delete(_pauses))

    async def all(self) -> Sequence[Pause]:
        """By cause."""
        async with self._database.read() as connection:
            rows = await connection.execute(select(_pauses).order_by(_pauses.c.cause))
            return [Pause(**row._mapping) for row in rows]
