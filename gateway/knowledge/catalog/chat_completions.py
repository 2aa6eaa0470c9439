"""Stored answers of `/v1/chat/completions`, with what they were asked."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Row, Select, delete, exists, func, select, type_coerce, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import NotFound
from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.answer_types import ChatRecord
from gateway.knowledge.catalog.database import Database, check_storable
from gateway.knowledge.catalog.paging import fetch_page, record_tombstone
from gateway.knowledge.catalog.types import Json, Page, PageQuery
from gateway.knowledge.catalog.visibility import Visibility
from gateway.tenants.tenant import Tenant

_chats, _messages, _jobs = schema.chat_completions, schema.chat_messages, schema.journaled_answers


class TenantChatCompletions:
    """The stored chats of one tenant, without those that tell of files which its key does not see.

    One past its retention is not there, whether or not it has been deleted yet.
    """

    def __init__(self, database: Database, tenant: Tenant) -> None:
        self._database = database
        self._tenant = tenant.name
        self._visibility = Visibility(database, tenant)

    async def add(self, record: ChatRecord, *, keep_s: int) -> None:
        """Keep an answer for so many seconds. It may be said twice."""
        ident = record.body["id"]
        row = {
            "id": ident,
            "tenant": self._tenant,
            "created_at": record.body["created"],
            "expires_at": self._database.now() + keep_s,
            "model": record.body["model"],
            "metadata": dict(record.metadata),
            "body": orjson.dumps(record.body).decode(),
            "sources": sorted(record.sources) or None,
        }
        messages = [
            {
                "completion_id": ident,
                "position": position,
                "id": f"{ident}-{position}",
                "body": orjson.dumps(message).decode(),
            }
            for position, message in enumerate(record.messages)
        ]
        async with self._database.write() as connection:
            if (await connection.execute(self._database.insert(_chats).on_conflict_do_nothing(), row)).rowcount:
                await connection.execute(_messages.insert(), messages)

    async def get(self, completion_id: str) -> Json:
        """The completion with its metadata. Raises NotFound."""
        async with self._database.read() as connection:
            return _body(await self._found(connection, completion_id))

    async def list(self, page: PageQuery, *, model: str | None, metadata: Mapping[str, str]) -> Page[Json]:
        """One page of them: of one model, and with all of these metadata. Raises NotFound for an unknown cursor."""
        check_storable(page.after, page.before, model, *metadata, *metadata.values())
        filters = [self._noted(key, value) for key, value in metadata.items()]
        if model is not None:
            filters.append(_chats.c.model == model)
        async with self._database.read() as connection:
            rows, more = await fetch_page(
                connection,
                self._own(),
                page,
                where=f"{self._tenant}/chats",
                created=_chats.c.created_at,
                ident=_chats.c.id,
                visibility=self._visibility,
                filters=filters,
            )
        return Page([_body(row) for row in rows], more)

    async def messages(self, completion_id: str, page: PageQuery) -> Page[Json]:
        """One page of what it was asked, each with an `id`. Raises NotFound, for a cursor that is not among them, too."""
        check_storable(page.after, page.before)
        async with self._database.read() as connection:
            await self._found(connection, completion_id)
            rows, more = await fetch_page(
                connection,
                select(_messages).where(_messages.c.completion_id == completion_id),
                page,
                where=f"{self._tenant}/{completion_id}",
                created=_messages.c.position,
                ident=_messages.c.id,
            )
        return Page([{**orjson.loads(row.body), "id": row.id} for row in rows], more)

    async def update(self, completion_id: str, metadata: Mapping[str, str]) -> Json:
        """Set the metadata. Raises NotFound."""
        async with self._database.write() as connection:
            found = await self._found(connection, completion_id)
            change = update(_chats).where(_chats.c.id == completion_id).values(metadata=dict(metadata))
            await connection.execute(change)
        return {**_body(found), "metadata": dict(metadata)}

    async def delete(self, completion_id: str) -> None:
        """Forget a completion and what it was asked. Raises NotFound."""
        async with self._database.write() as connection:
            row = await self._found(connection, completion_id)
            await connection.execute(delete(_chats).where(_chats.c.id == completion_id))
            await connection.execute(delete(_jobs).where(_jobs.c.id == completion_id))
            # Who may not have seen it is not told that it was there.
            allow: Sequence[str] | None = None if row.sources is None else ()
            where = f"{self._tenant}/chats"
            await record_tombstone(self._database, connection, where, row.id, row.created_at, allow=allow)

    def _noted(self, key: str, value: str) -> ColumnElement[bool]:
        """What holds for rows with this among their metadata."""
        if self._database.is_sqlite:  # whose paths know no escape for a quotation mark
            each = func.json_each(_chats.c.metadata).table_valued("key", "value")
            return exists().select_from(each).where(each.c.key == key, each.c.value == value)
        noted: ColumnElement[bool] = type_coerce(_chats.c.metadata, JSONB).contains({key: value})
        return noted

    async def _found(self, connection: AsyncConnection, completion_id: str) -> Row[Any]:
        check_storable(completion_id)
        query = self._own().where(_chats.c.id == completion_id)
        row: Row[Any] | None = (await connection.execute(query)).one_or_none()
        if row is None:
            raise NotFound(f"There is no chat completion {completion_id!r}.", param="completion_id")
        return row

    def _own(self) -> Select[Any]:
        shown = self._visibility.of_items(_chats.c.sources)
        now = self._database.now()
        return select(_chats).where(_chats.c.tenant == self._tenant, _chats.c.expires_at > now, *shown)


def _body(row: Row[Any]) -> Json:
    return {**orjson.loads(row.body), "metadata": row.metadata}
