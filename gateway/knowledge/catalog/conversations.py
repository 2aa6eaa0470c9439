"""Conversations: lists of items that several responses add to."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import Conflict, NotFound
from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.answer_types import ConversationRecord
from gateway.knowledge.catalog.database import Database, check_storable, new_id
from gateway.knowledge.catalog.item_sources import stored_sources
from gateway.knowledge.catalog.paging import fetch_page, record_tombstone
from gateway.knowledge.catalog.types import Json, Page, PageQuery
from gateway.knowledge.catalog.visibility import Visibility
from gateway.tenants.tenant import Tenant

_conversations, _items = schema.conversations, schema.conversation_items

MAX_ITEMS = 1000
"""Of one conversation: as many as one request may have."""


class TenantConversations:
    """The conversations of one tenant, without items that tell of files which its key does not see.

    One past its retention, which is counted from its last use, is not there.
    """

    def __init__(self, database: Database, tenant: Tenant) -> None:
        self._database = database
        self._tenant = tenant.name
        self._shown = Visibility(database, tenant).of_items(_items.c.sources)

    async def create(self, metadata: Mapping[str, str], items: Sequence[Json], *, keep_s: int) -> ConversationRecord:
        """A new conversation with these items, each of which has an `id`."""
        now = self._database.now()
        made = ConversationRecord(
            id=new_id("conv_"), tenant=self._tenant, created_at=now, expires_at=now + keep_s, metadata=dict(metadata)
        )
        async with self._database.write() as connection:
            row = {name: getattr(made, name) for name in _conversations.c.keys()}  # noqa: SIM118 - columns
            await connection.execute(_conversations.insert(), row)
            await append_items(self._database, connection, self._tenant, made.id, items, keep_s=keep_s)
        return made

    async def get(self, conversation_id: str) -> ConversationRecord:
        """One conversation. Raises NotFound."""
        async with self._database.read() as connection:
            return await self._found(connection, conversation_id)

    async def update(self, conversation_id: str, metadata: Mapping[str, str], *, keep_s: int) -> ConversationRecord:
        """Set the metadata. Raises NotFound."""
        async with self._database.write() as connection:
            await self._found(connection, conversation_id)
            values = {"metadata": dict(metadata), "expires_at": self._database.now() + keep_s}
            change = update(_conversations).where(_conversations.c.id == conversation_id).values(values)
            await connection.execute(change)
            return await self._found(connection, conversation_id)

    async def delete(self, conversation_id: str) -> None:
        """Forget a conversation and its items. Raises NotFound."""
        async with self._database.write() as connection:
            await self._found(connection, conversation_id)
            await connection.execute(delete(_conversations).where(_conversations.c.id == conversation_id))

    async def add(self, conversation_id: str, items: Sequence[Json], *, keep_s: int) -> None:
        """Append items, each of which has an `id`. Raises NotFound, and Conflict past MAX_ITEMS."""
        check_storable(conversation_id)
        async with self._database.write() as connection:
            await append_items(self._database, connection, self._tenant, conversation_id, items, keep_s=keep_s)

    async def all_items(self, conversation_id: str) -> Sequence[Json]:
        """Every item, oldest first. Raises NotFound."""
        async with self._database.read() as connection:
            await self._found(connection, conversation_id)
            query = select(_items.c.body).where(_items.c.conversation_id == conversation_id, *self._shown)
            query = query.order_by(_items.c.position)
            return [orjson.loads(body) for body in await connection.scalars(query)]

    async def items(self, conversation_id: str, page: PageQuery) -> Page[Json]:
        """One page of the items. Raises NotFound, for a cursor that is not among them, too."""
        check_storable(page.after, page.before)
        async with self._database.read() as connection:
            await self._found(connection, conversation_id)
            rows, more = await fetch_page(
                connection,
                select(_items).where(_items.c.conversation_id == conversation_id, *self._shown),
                page,
                where=f"{self._tenant}/{conversation_id}",
                created=_items.c.position,
                ident=_items.c.id,
            )
        return Page([orjson.loads(row.body) for row in rows], more)

    async def item(self, conversation_id: str, item_id: str) -> Json:
        """One item. Raises NotFound."""
        async with self._database.read() as connection:
            await self._found(connection, conversation_id)
            body = await connection.scalar(self._item(conversation_id, item_id))
        if body is None:
            raise _no_item(item_id)
        found: Json = orjson.loads(body)
        return found

    async def delete_item(self, conversation_id: str, item_id: str) -> ConversationRecord:
        """Forget one item. Raises NotFound."""
        async with self._database.write() as connection:
            found = await self._found(connection, conversation_id)
            at = await connection.scalar(self._item(conversation_id, item_id).with_only_columns(_items.c.position))
            if at is None:
                raise _no_item(item_id)
            gone = delete(_items).where(_items.c.conversation_id == conversation_id, _items.c.position == at)
            await connection.execute(gone)
            await record_tombstone(self._database, connection, f"{self._tenant}/{conversation_id}", item_id, at)
            return found

    def _item(self, conversation_id: str, item_id: str) -> Select[Any]:
        check_storable(item_id)
        mine = select(_items.c.body).where(_items.c.conversation_id == conversation_id, _items.c.id == item_id)
        return mine.where(*self._shown)

    async def _found(self, connection: AsyncConnection, conversation_id: str) -> ConversationRecord:
        check_storable(conversation_id)
        query = _own(self._database, self._tenant, conversation_id)
        row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise no_conversation(conversation_id)
        return ConversationRecord(**row._mapping)


async def append_items(
    database: Database,
    connection: AsyncConnection,
    tenant: str,
    conversation_id: str,
    items: Sequence[Json],
    *,
    keep_s: int,
) -> None:
    """Append items to a tenant's conversation, within a transaction; one whose id is there already is left out.

    Raises NotFound, and Conflict past MAX_ITEMS.
    """
    locked = _own(database, tenant, conversation_id).with_for_update()
    if (await connection.execute(locked)).one_or_none() is None:
        raise no_conversation(conversation_id)
    count, last = (
        await connection.execute(
            select(func.count(), func.max(_items.c.position)).where(_items.c.conversation_id == conversation_id)
        )
    ).one()
    if count + len(items) > MAX_ITEMS:
        raise Conflict(
            f"A conversation has at most {MAX_ITEMS} items; begin another one with those that matter.",
            param="conversation",
            code="conversation_too_long",
        )
    known = select(_items.c.id).where(
        _items.c.conversation_id == conversation_id, _items.c.id.in_([item["id"] for item in items])
    )
    there = set(await connection.scalars(known))
    sources = await stored_sources(connection, tenant, [item["id"] for item in items])
    rows = [
        {
            "conversation_id": conversation_id,
            "position": position,
            "tenant": tenant,
            "id": item["id"],
            "body": orjson.dumps(item).decode(),
            "sources": sorted(sources.get(item["id"], ())) or None,
        }
        for position, item in enumerate((each for each in items if each["id"] not in there), (last or 0) + 1)
    ]
    if rows:
        await connection.execute(_items.insert(), rows)
    used = update(_conversations).where(_conversations.c.id == conversation_id)
    await connection.execute(used.values(expires_at=database.now() + keep_s))


def no_conversation(conversation_id: str) -> NotFound:
    """What is raised for a conversation of another tenant and for one that nobody has."""
    return NotFound(f"There is no conversation {conversation_id!r}.", param="conversation_id")


def _no_item(item_id: str) -> NotFound:
    return NotFound(f"There is no item {item_id!r} in this conversation.", param="item_id")


def _own(database: Database, tenant: str, conversation_id: str) -> Select[Any]:
    return select(_conversations).where(
        _conversations.c.id == conversation_id,
        _conversations.c.tenant == tenant,
        _conversations.c.expires_at > database.now(),
    )
