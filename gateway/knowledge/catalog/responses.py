"""Stored answers of `/v1/responses`, with what they were asked."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Row, Select, delete, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import Conflict, NotFound
from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.conversations import append_items
from gateway.knowledge.catalog.database import Database, check_storable
from gateway.knowledge.catalog.paging import fetch_page
from gateway.knowledge.catalog.types import Json, Page, PageQuery, ResponseRecord
from gateway.tenants.tenant import Tenant

_responses, _items = schema.responses, schema.response_items

MAX_CHAIN = 256
"""Responses that one continues, one after the other."""
_LINK = _responses.c.id, _responses.c.previous_id, _responses.c.status


class TenantResponses:
    """The stored answers of one tenant. An answer past its retention is not there, whether or not it has been deleted yet."""

    def __init__(self, database: Database, tenant: Tenant) -> None:
        self._database = database
        self._tenant = tenant.name

    async def add(self, record: ResponseRecord, *, keep_s: int) -> None:
        """Keep an answer for so many seconds, and append it to its conversation. Raises NotFound where that one is gone."""
        now = self._database.now()
        body = record.body
        row = {
            "id": body["id"],
            "tenant": self._tenant,
            "created_at": body["created_at"],
            "expires_at": now + keep_s,
            "status": body["status"],
            "previous_id": record.chain[-1] if record.chain else None,
            "conversation_id": record.conversation_id,
            "body": _dumped({name: value for name, value in body.items() if name != "output"}),
        }
        items = [
            {
                "response_id": body["id"],
                "position": position,
                "tenant": self._tenant,
                "id": item["id"],
                "is_output": position >= len(record.input),
                "body": _dumped(item),
            }
            for position, item in enumerate([*record.input, *body["output"]])
        ]
        async with self._database.write() as connection:
            await connection.execute(_responses.insert(), row)
            if items:
                await connection.execute(_items.insert(), items)
            if record.chain:
                kept = update(_responses).where(_responses.c.id.in_(record.chain), _responses.c.tenant == self._tenant)
                await connection.execute(kept.values(expires_at=now + keep_s))
            if record.conversation_id is not None:
                both = [*record.input, *body["output"]]
                await append_items(
                    self._database, connection, self._tenant, record.conversation_id, both, keep_s=keep_s
                )

    async def get(self, response_id: str) -> Json:
        """The response object. Raises NotFound."""
        async with self._database.read() as connection:
            body = await self._body(connection, response_id)
            query = select(_items.c.body).where(_items.c.response_id == response_id, _items.c.is_output)
            output = (await connection.scalars(query.order_by(_items.c.position))).all()
        return {**orjson.loads(body), "output": [orjson.loads(each) for each in output]}

    async def input_items(self, response_id: str, page: PageQuery) -> Page[Json]:
        """One page of what it was asked. Raises NotFound, for a cursor that is not among it, too."""
        check_storable(page.after, page.before)
        async with self._database.read() as connection:
            await self._body(connection, response_id)
            rows, more = await fetch_page(
                connection,
                select(_items).where(_items.c.response_id == response_id, ~_items.c.is_output),
                page,
                where=f"{self._tenant}/{response_id}",
                created=_items.c.position,
                ident=_items.c.id,
            )
        return Page([orjson.loads(row.body) for row in rows], more)

    async def delete(self, response_id: str) -> None:
        """Forget an answer and what it was asked. Raises NotFound."""
        check_storable(response_id)
        mine = delete(_responses).where(_responses.c.id == response_id, _responses.c.tenant == self._tenant)
        async with self._database.write() as connection:
            if not (await connection.execute(mine)).rowcount:
                raise no_response(response_id)

    async def chain(self, response_id: str) -> tuple[Sequence[str], Sequence[Json]]:
        """The ids of a response and of those before it, and what was asked and answered in them, oldest first.

        Raises NotFound where one of them is gone, and Conflict for one that has no answer (yet), and for too many.
        """
        check_storable(response_id)
        first = self._own().with_only_columns(*_LINK, literal(1).label("depth"))
        links = first.where(_responses.c.id == response_id).cte("links", recursive=True)
        before = self._own().with_only_columns(*_LINK, links.c.depth + 1)
        before = before.join(links, _responses.c.id == links.c.previous_id).where(links.c.depth <= MAX_CHAIN)
        links = links.union_all(before)
        async with self._database.read() as connection:
            rows = (await connection.execute(select(links).order_by(links.c.depth.desc()))).all()
            _check_chain(response_id, rows)
            items = select(_items.c.body).join(links, links.c.id == _items.c.response_id)
            found = (await connection.scalars(items.order_by(links.c.depth.desc(), _items.c.position))).all()
        return [row.id for row in rows], [orjson.loads(each) for each in found]

    async def items(self, item_ids: Sequence[str]) -> Mapping[str, Json]:
        """Those of these items that there are, in answers or conversations, by their ids."""
        check_storable(*item_ids)
        said, now = schema.conversation_items, self._database.now()
        of_answers = (
            select(_items.c.id, _items.c.body)
            .join(_responses, _responses.c.id == _items.c.response_id)
            .where(_items.c.tenant == self._tenant, _items.c.id.in_(item_ids), _responses.c.expires_at > now)
        )
        of_conversations = (
            select(said.c.id, said.c.body)
            .join(schema.conversations, schema.conversations.c.id == said.c.conversation_id)
            .where(said.c.tenant == self._tenant, said.c.id.in_(item_ids), schema.conversations.c.expires_at > now)
        )
        async with self._database.read() as connection:
            rows = [*await connection.execute(of_conversations), *await connection.execute(of_answers)]
        return {row.id: orjson.loads(row.body) for row in rows}

    async def _body(self, connection: AsyncConnection, response_id: str) -> str:
        check_storable(response_id)
        row = (await connection.execute(self._own().where(_responses.c.id == response_id))).one_or_none()
        if row is None:
            raise no_response(response_id)
        return str(row.body)

    def _own(self) -> Select[Any]:
        return select(_responses).where(
            _responses.c.tenant == self._tenant, _responses.c.expires_at > self._database.now()
        )


def no_response(response_id: str) -> NotFound:
    """What is raised for an answer of another tenant and for one that nobody has."""
    return NotFound(f"There is no response {response_id!r}.", param="response_id")


def no_previous(response_id: str, missing: str) -> NotFound:
    """What is raised for a response that cannot be continued."""
    why = "" if missing == response_id else f" {missing!r}, which it continues, has been deleted."
    return NotFound(
        f"Previous response with id {response_id!r} not found.{why}",
        param="previous_response_id",
        code="previous_response_not_found",
    )


def _check_chain(response_id: str, rows: Sequence[Row[Any]]) -> None:
    """rows: the links that were found, oldest first. Raises NotFound, Conflict."""
    if len(rows) > MAX_CHAIN:
        raise Conflict(
            f"More than {MAX_CHAIN} responses follow each other here; begin anew with the turns that matter.",
            param="previous_response_id",
            code="previous_response_chain_too_long",
        )
    if not rows or rows[0].previous_id is not None:
        raise no_previous(response_id, rows[0].previous_id if rows else response_id)
    for row in rows:
        if row.status not in ("completed", "incomplete"):
            raise Conflict(
                f"The response {row.id!r} is {row.status}: only one that has ended with an answer can be continued.",
                param="previous_response_id",
                code="previous_response_unfinished",
            )


def _dumped(value: Json) -> str:
    return orjson.dumps(value).decode()
