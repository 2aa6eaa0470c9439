"""Stored answers of `/v1/responses`, with what they were asked."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Row, Select, and_, delete, func, literal, not_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import BadRequest, Conflict, NotFound, Overloaded
from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.answer_types import AnswerKind, BackgroundJob, EventRow, ResponseRecord
from gateway.knowledge.catalog.background import begun, lock_jobs
from gateway.knowledge.catalog.conversations import append_items
from gateway.knowledge.catalog.database import Database, check_storable
from gateway.knowledge.catalog.item_sources import answer_sources, stored_sources
from gateway.knowledge.catalog.journals import events_after, note_reading
from gateway.knowledge.catalog.paging import fetch_page
from gateway.knowledge.catalog.storage_limits import alone_for
from gateway.knowledge.catalog.types import Json, Page, PageQuery
from gateway.knowledge.catalog.visibility import Visibility
from gateway.tenants.tenant import Tenant

_responses, _items = schema.responses, schema.response_items
_jobs = schema.journaled_answers

UNFINISHED = ("queued", "in_progress")
ENDED_WELL = ("completed", "incomplete")
MAX_CHAIN = 256
"""Responses that one continues, one after the other."""
_LINK = _responses.c.id, _responses.c.previous_id, _responses.c.status


class TenantResponses:
    """The stored answers of one tenant. An answer past its retention is not there, whether or not it has been deleted yet."""

    def __init__(self, database: Database, tenant: Tenant) -> None:
        self._database = database
        self._tenant = tenant.name
        visibility = Visibility(database, tenant)
        self._shown = visibility.of_items(_items.c.sources)
        self._shown_said = visibility.of_items(schema.conversation_items.c.sources)

    async def add(self, record: ResponseRecord, *, keep_s: int) -> None:
        """Keep an answer for so many seconds, and append it to its conversation. Raises NotFound where that one is gone."""
        async with self._database.write() as connection:
            await self._insert(connection, record, keep_s)
            await self._converse(connection, record, record.conversation_id, keep_s)

    async def begin(
        self, record: ResponseRecord, job: BackgroundJob, *, owner: str, lease_s: float, keep_s: int, limit: int
    ) -> None:
        """Keep a response that a gateway is to make. Raises Overloaded where the tenant has `limit` unfinished ones in the
        background."""
        now = self._database.clock()
        open_jobs = select(func.count()).where(
            _jobs.c.tenant == self._tenant, _jobs.c.ended_at.is_(None), _jobs.c.kind == AnswerKind.BACKGROUND
        )
        async with self._database.write() as connection:
            if job.kind is AnswerKind.BACKGROUND:
                await alone_for(self._database, connection, self._tenant)
                if (await connection.scalar(open_jobs) or 0) >= limit:
                    raise Overloaded(
                        f"{limit} answers are being made in the background already; wait for one of them.",
                        retry_after_s=5,
                    )
            await self._insert(connection, record, keep_s)
            await connection.execute(_jobs.insert(), begun(job, self._tenant, owner=owner, now=now, lease_s=lease_s))

    async def finish(self, body: Json, *, keep_s: int) -> None:
        """The end of a response that a gateway has made: its output is stored, and added to its conversation.

        It may be said twice. Raises Conflict where it was cancelled, NotFound where it was deleted.
        """
        async with self._database.write() as connection:
            query = self._own().where(_responses.c.id == body["id"]).with_for_update()
            row = (await connection.execute(query)).one_or_none()
            if row is None:
                raise no_response(body["id"])
            if row.status == body["status"]:
                return
            if row.status not in UNFINISHED:
                raise Conflict(f"The response {body['id']!r} is {row.status}.")
            asked = select(_items.c.body).where(_items.c.response_id == row.id).order_by(_items.c.position)
            record = ResponseRecord(body=body, input=[orjson.loads(each) for each in await connection.scalars(asked)])
            values = {"status": body["status"], "body": _without_output(body)}
            await connection.execute(update(_responses).where(_responses.c.id == row.id).values(values))
            if body["output"]:
                made = await self._rows(connection, record, row.previous_id, row.conversation_id)
                await connection.execute(_items.insert(), made[len(record.input) :])
            if body["status"] in ENDED_WELL:
                await self._converse(connection, record, row.conversation_id, keep_s)

    async def cancel(self, response_id: str) -> Json:
        """Stop a response that is made in the background; one that has ended stays as it is. Raises NotFound, BadRequest."""
        async with self._database.write() as connection:
            body = await self._body(connection, response_id)
            if not body["background"]:
                raise BadRequest(
                    "Only a response that was made with background=true can be cancelled.", code="not_cancellable"
                )
            await lock_jobs(connection, [response_id])
            mine = _responses.c.id == response_id
            change = update(_responses).where(mine, _responses.c.status.in_(UNFINISHED)).values(status="cancelled")
            if (await connection.execute(change)).rowcount:
                ended = {"ended_at": self._database.clock(), "owner": None}
                await connection.execute(update(_jobs).where(_jobs.c.id == response_id).values(ended))
        return await self.get(response_id)

    async def events(self, response_id: str, after: int) -> tuple[Sequence[EventRow], bool]:
        """Events behind the one with this number, with some before it perhaps; and whether there will be no more.

        It counts as reading. Raises NotFound; BadRequest for a response without a journal, Conflict (`stream_cursor_expired`)
        where the events are gone.
        """
        async with self._database.read() as connection:
            body = await self._body(connection, response_id)
            job = (await connection.execute(select(_jobs).where(_jobs.c.id == response_id))).one_or_none()
            rows = await events_after(connection, response_id, after)
        if job is None and not body["background"]:
            raise BadRequest(
                "This response was not made in the background, and its stream has no journal, or not any more; get it "
                "without stream.",
                param="stream",
                code="not_resumable",
            )
        if job is None:
            raise Conflict(
                "The events of this response are gone; get it without stream.",
                param="starting_after",
                code="stream_cursor_expired",
            )
        await note_reading(self._database, job)
        return rows, job.ended_at is not None

    async def get(self, response_id: str) -> Json:
        """The response object. Raises NotFound."""
        async with self._database.read() as connection:
            body = await self._body(connection, response_id)
            query = select(_items.c.body).where(_items.c.response_id == response_id, _items.c.is_output)
            output = (await connection.scalars(query.order_by(_items.c.position))).all()
        return {**body, "output": [orjson.loads(each) for each in output]}

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
            await self._check_shown(connection, response_id)
            await lock_jobs(connection, [response_id])
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
            items = items.where(*self._shown)
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
            .where(*self._shown)
        )
        of_conversations = (
            select(said.c.id, said.c.body)
            .join(schema.conversations, schema.conversations.c.id == said.c.conversation_id)
            .where(said.c.tenant == self._tenant, said.c.id.in_(item_ids), schema.conversations.c.expires_at > now)
            .where(*self._shown_said)
        )
        async with self._database.read() as connection:
            rows = [*await connection.execute(of_conversations), *await connection.execute(of_answers)]
        return {row.id: orjson.loads(row.body) for row in rows}

    async def _insert(self, connection: AsyncConnection, record: ResponseRecord, keep_s: int) -> None:
        body, expires_at = record.body, self._database.now() + keep_s
        row = {
            "id": body["id"],
            "tenant": self._tenant,
            "created_at": body["created_at"],
            "expires_at": expires_at,
            "status": body["status"],
            "previous_id": record.chain[-1] if record.chain else None,
            "conversation_id": record.conversation_id,
            "body": _without_output(body),
        }
        await connection.execute(_responses.insert(), row)
        if items := await self._rows(connection, record, row["previous_id"], record.conversation_id):
            await connection.execute(_items.insert(), items)
        if record.chain:
            # In one order: several answers may continue the same ones.
            chain = select(_responses.c.id).where(
                _responses.c.id.in_(record.chain), _responses.c.tenant == self._tenant
            )
            lock = chain.order_by(_responses.c.id).with_for_update(key_share=True)
            ids = (await connection.scalars(lock)).all()
            kept = update(_responses).where(_responses.c.id.in_(ids))
            await connection.execute(kept.values(expires_at=expires_at))

    async def _converse(
        self, connection: AsyncConnection, record: ResponseRecord, conversation_id: str | None, keep_s: int
    ) -> None:
        if conversation_id is not None:
            both = [*record.input, *record.body["output"]]
            await append_items(self._database, connection, self._tenant, conversation_id, both, keep_s=keep_s)

    async def _rows(
        self, connection: AsyncConnection, record: ResponseRecord, previous_id: str | None, conversation_id: str | None
    ) -> list[Json]:
        output = record.body["output"]
        asked = await stored_sources(connection, self._tenant, [item["id"] for item in record.input])
        used = await answer_sources(
            connection,
            self._tenant,
            output,
            asked.values(),
            previous_id=previous_id,
            conversation_id=conversation_id,
        )
        sources = asked | {item["id"]: set(used) for item in output}
        return [
            {
                "response_id": record.body["id"],
                "position": position,
                "tenant": self._tenant,
                "id": item["id"],
                "is_output": position >= len(record.input),
                "body": _dumped(item),
                "sources": sorted(sources.get(item["id"], ())) or None,
            }
            for position, item in enumerate([*record.input, *output])
        ]

    async def _check_shown(self, connection: AsyncConnection, response_id: str) -> None:
        """Raises NotFound for an answer that tells of files which the key does not see."""
        if self._shown:
            mine = select(1).where(_items.c.response_id == response_id, _items.c.is_output, not_(and_(*self._shown)))
            if await connection.scalar(mine.limit(1)) is not None:
                raise no_response(response_id)

    async def _body(self, connection: AsyncConnection, response_id: str) -> Json:
        """The object without its output. Raises NotFound."""
        check_storable(response_id)
        row = (await connection.execute(self._own().where(_responses.c.id == response_id))).one_or_none()
        if row is None:
            raise no_response(response_id)
        await self._check_shown(connection, response_id)
        return {**orjson.loads(row.body), "status": row.status}

    def _own(self) -> Select[Any]:
        return select(_responses).where(
            _responses.c.tenant == self._tenant, _responses.c.expires_at > self._database.now()
        )


async def forget_responses(database: Database, *, limit: int) -> None:
    """Delete answers past their retention, but for those that somebody changes just now."""
    old = select(_responses.c.id).where(_responses.c.expires_at <= database.now())
    async with database.write() as connection:
        ids = (await connection.scalars(old.limit(limit))).all()
        await lock_jobs(connection, ids)
        free = old.where(_responses.c.id.in_(ids)).with_for_update(skip_locked=True)
        gone = (await connection.scalars(free)).all()
        await connection.execute(delete(_responses).where(_responses.c.id.in_(gone)))


def no_response(response_id: str) -> NotFound:
    """What is raised for an answer of another tenant, for one that the key may not see, and for one that nobody has."""
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
        if row.status not in ENDED_WELL:
            raise Conflict(
                f"The response {row.id!r} is {row.status}: only one that has ended with an answer can be continued.",
                param="previous_response_id",
                code="previous_response_unfinished",
            )


def _without_output(body: Json) -> str:
    return _dumped({name: value for name, value in body.items() if name != "output"})


def _dumped(value: Json) -> str:
    return orjson.dumps(value).decode()
