"""The files that stored items tell of: who does not see these files does not see the items."""

from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.types import SOURCES, Json

_answers, _said = schema.response_items, schema.conversation_items


async def stored_sources(connection: AsyncConnection, tenant: str, item_ids: Sequence[str]) -> dict[str, set[str]]:
    """The files of those of these items that are stored already, here or there, and tell of some."""
    found: dict[str, set[str]] = {}
    for table in (_answers, _said):
        query = select(table.c.id, table.c.sources).where(table.c.tenant == tenant, table.c.id.in_(item_ids))
        for row in await connection.execute(query.where(table.c.sources.is_not(None))):
            found.setdefault(row.id, set()).update(row.sources)
    return found


async def answer_sources(
    connection: AsyncConnection,
    tenant: str,
    output: Iterable[Json],
    asked: Iterable[set[str]],
    *,
    previous_id: str | None,
    conversation_id: str | None,
) -> list[str]:
    """The files that an answer was made from: what was found for it, and what went before tells of.

    asked: the files of the items that it was asked with. The response before it tells of all that went before that one.
    """
    used = {file_id for item in output for file_id in item.get(SOURCES) or ()}.union(*asked)
    history = (
        select(_answers.c.sources).where(_answers.c.tenant == tenant, _answers.c.response_id == previous_id),
        select(_said.c.sources).where(_said.c.tenant == tenant, _said.c.conversation_id == conversation_id),
    )
    for query in history:
        for sources in await connection.scalars(query):
            used.update(sources or ())
    return sorted(used)
