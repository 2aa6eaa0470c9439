"""The models that served last, for gateways that start while nothing serves (gateway/fleet/model_memory.py)."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.database import Database

_known = schema.known_models
_FLEET = "fleet"
"""The one row."""


class CatalogModels:
    """Of the whole fleet: every gateway writes the same row. Every method raises CatalogUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self) -> Mapping[str, Any] | None:
        """What was written last; None where nothing was."""
        async with self._database.read() as connection:
            found: Mapping[str, Any] | None = (
                await connection.execute(select(_known.c.models).where(_known.c.name == _FLEET))
            ).scalar()
        return found

    async def write(self, models: Mapping[str, Any]) -> None:
        """Keep this in place of what there is."""
        insert = self._database.insert(_known).values(name=_FLEET, models=dict(models))
        newer = {"models": insert.excluded.models}
        async with self._database.write() as connection:
            await connection.execute(insert.on_conflict_do_update(index_elements=[_known.c.name], set_=newer))
