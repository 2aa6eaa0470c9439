"""The journals of one tenant's chats, as its clients read them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import NotFound
from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.answer_types import EventRow
from gateway.knowledge.catalog.database import Database, check_storable
from gateway.tenants.caller import load_caller
from gateway.tenants.tenant import Tenant

_jobs, _entries = schema.journaled_answers, schema.journal_entries

READ_S = 1.0
"""A reading is noted so often at the most."""


class TenantJournals:
    """Of chats: a stored response is read through TenantResponses, which knows whether it may be shown."""

    def __init__(self, database: Database, tenant: Tenant) -> None:
        self._database = database
        self._tenant = tenant

    async def events(self, answer_id: str, after: int) -> tuple[Sequence[EventRow], bool]:
        """Events behind the one with this number, with some before it perhaps; and whether there will be no more.

        It counts as reading. Raises NotFound where there is no such stream, or not any more, or another key began it.
        """
        check_storable(answer_id)
        async with self._database.read() as connection:
            mine = _jobs.c.id == answer_id, _jobs.c.tenant == self._tenant.name, _jobs.c.response_id.is_(None)
            job = (await connection.execute(select(_jobs).where(*mine))).one_or_none()
            if job is None or not self._is_whose(job.caller):
                raise NotFound(f"There is no stream {answer_id!r}, or not any more.", code="stream_not_found")
            rows = await events_after(connection, answer_id, after)
        await note_reading(self._database, job)
        return rows, job.ended_at is not None

    def _is_whose(self, caller: str) -> bool:
        """What a stream says may be of documents that not every key of the tenant sees."""
        began, asks = load_caller(caller).key, self._tenant.key
        return (began.id, began.groups) == (asks.id, asks.groups)


async def events_after(connection: AsyncConnection, answer_id: str, after: int) -> Sequence[EventRow]:
    """The rows of a journal with what is behind the event of this number."""
    query = select(_entries.c.last, _entries.c.events).where(_entries.c.answer_id == answer_id, _entries.c.last > after)
    rows = (await connection.execute(query.order_by(_entries.c.position))).all()
    return [EventRow(row.last, row.events.encode()) for row in rows]


async def note_reading(database: Database, job: Row[Any]) -> None:
    """Somebody reads an answer: it is wanted."""
    now = database.clock()
    often_s = min(READ_S, job.unread_s / 4) if job.unread_s else READ_S
    if job.ended_at is None and now - job.read_at > often_s:
        async with database.write() as connection:
            await connection.execute(update(_jobs).where(_jobs.c.id == job.id).values(read_at=now))
