"""Cursor lists: one page out of a table, by `created_at` and then id; also behind something that was deleted meanwhile."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import NotFound
from gateway.knowledge.catalog.database import Database
from gateway.knowledge.catalog.schema import tombstones
from gateway.knowledge.catalog.types import PageQuery
from gateway.knowledge.catalog.visibility import Visibility


async def fetch_page(
    connection: AsyncConnection,
    scope: Select[Any],
    page: PageQuery,
    *,
    where: str,
    created: ColumnElement[int],
    ident: ColumnElement[str],
    visibility: Visibility | None = None,
    filters: Sequence[ColumnElement[bool]] = (),
) -> tuple[Sequence[Any], bool]:
    """The rows of a page, and whether there are more in that direction.

    scope: whose things these are; a cursor must be among them, whether or not it passes the filters, or among those tombstones of
    the list `where` that the key may see. With `before` alone it is the page that ends just before the cursor. Raises NotFound
    for an unknown cursor.
    """
    query = scope.where(*filters)
    ascending = page.order == "asc"
    for param, cursor in (("after", page.after), ("before", page.before)):
        if cursor is not None:
            at = await connection.scalar(scope.with_only_columns(created).where(ident == cursor))
            if at is None:
                shown = [] if visibility is None else visibility.conditions(tombstones.c.allow)
                deleted = select(tombstones.c.created_at).where(tombstones.c.id == f"{where}/{cursor}", *shown)
                at = await connection.scalar(deleted)
            if at is None:
                raise NotFound(f"There is no {cursor!r} in this list.", param=param)
            later = or_(created > at, and_(created == at, ident > cursor))
            earlier = or_(created < at, and_(created == at, ident < cursor))
            query = query.where(later if (param == "after") == ascending else earlier)
    backwards = page.before is not None and page.after is None
    order = (created, ident) if ascending != backwards else (created.desc(), ident.desc())
    rows = (await connection.execute(query.order_by(*order).limit(page.limit + 1))).all()
    kept = rows[: page.limit]
    return (kept[::-1] if backwards else kept), len(rows) > page.limit


async def record_tombstone(
    database: Database,
    connection: AsyncConnection,
    where: str,
    ident: str,
    created_at: int,
    *,
    allow: Sequence[str] | None = None,
) -> None:
    """Remember where in the list `where` something stood that is deleted now, and whose groups might see it."""
    tombstone = {"id": f"{where}/{ident}", "created_at": created_at, "deleted_at": database.now(), "allow": allow}
    insert = database.insert(tombstones).values(tombstone)
    await connection.execute(insert.on_conflict_do_update(index_elements=[tombstones.c.id], set_=tombstone))
