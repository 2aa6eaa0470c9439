"""Rows of members of vector stores: read, locked, emptied."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, bindparam, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.types import (
    Chunking,
    ChunkRecord,
    FileError,
    FileState,
    Member,
)


def queued(now: float) -> dict[str, Any]:
    """The columns of a member that is a job from now on."""
    return {"pending": True, "queued_at": now, "free_at": now, "owner": None, "attempts": 0, "excused": 0}


async def chunks_of(connection: AsyncConnection, store_id: str, file_id: str) -> Sequence[ChunkRecord]:
    """A member's chunks, in their order."""
    table = schema.chunks.c
    query = select(table["index"], table.text, table.page, table.start, table.end)
    query = query.where(table.store_id == store_id, table.file_id == file_id).order_by(table["index"])
    return [ChunkRecord(**row._mapping) for row in await connection.execute(query)]


async def lock_members(connection: AsyncConnection, scope: ColumnElement[bool]) -> Sequence[Row[Any]]:
    """The members, locked in one order, see `database.py`."""
    query = select(schema.members).where(scope).order_by(schema.members.c.store_id, schema.members.c.file_id)
    return (await connection.execute(query.with_for_update())).all()


def member_of(row: Row[Any]) -> Member:
    """The member in a row of its table, with its file's `allow` where that was asked for."""
    return Member(
        store_id=row.store_id,
        file_id=row.file_id,
        tenant=row.tenant,
        filename=row.filename,
        created_at=row.created_at,
        state=FileState(row.state),
        attributes=row.attributes,
        chunking=Chunking(max_tokens=row.max_tokens, overlap_tokens=row.overlap_tokens),
        batch_id=row.batch_id,
        error=None if row.error_code is None else FileError(code=row.error_code, message=row.error_message),
        usage_bytes=row.usage_bytes,
        chunk_count=row.chunk_count,
        receipt=row.receipt,
        generation=row.generation,
        pending=row.pending,
        allow=row._mapping.get("allow"),
    )


def removal_values(row: Row[Any]) -> dict[str, Any]:
    """What is to be removed of a member, as a row of `removals`."""
    return {"tenant": row.tenant, "store_id": row.store_id, "file_id": row.file_id, "generation": row.generation}


async def forget_contents(connection: AsyncConnection, rows: Sequence[Row[Any]]) -> None:
    """Delete chunks and names of members that stay without them, and leave removals for what is in the index."""
    if rows:
        keys = [{"store": row.store_id, "file": row.file_id} for row in rows]
        for table in (schema.chunks, schema.code_names, schema.entries):
            # One by one: SQLite would look at every row for `(store_id, file_id) IN (…)`.
            mine = and_(table.c.store_id == bindparam("store"), table.c.file_id == bindparam("file"))
            await connection.execute(delete(table).where(mine), keys)
        await connection.execute(schema.removals.insert(), [removal_values(row) for row in rows])


def is_member(row: Row[Any]) -> ColumnElement[bool]:
    return and_(schema.members.c.store_id == row.store_id, schema.members.c.file_id == row.file_id)
