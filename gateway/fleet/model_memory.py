"""The models that served last, in the catalog: a gateway that starts while nothing serves knows what can be started."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Protocol

from gateway.errors import CatalogUnavailable
from gateway.fleet.models import ServedModels

log = logging.getLogger("ragfleet.models")

PERIOD_S = 5.0
"""Between two looks."""


class KnownModels(Protocol):
    """Where they are kept. Both raise CatalogUnavailable."""

    async def read(self) -> Mapping[str, Any] | None:
        """What was written last; None where nothing was."""

    async def write(self, models: Mapping[str, Any]) -> None:
        """Keep this in place of what there is."""


class ModelMemory:
    """`run` is its life."""

    def __init__(self, models: ServedModels, source: KnownModels) -> None:
        self._models = models
        self._source = source
        self._recalled = False
        self._written: Mapping[str, Any] | None = None

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            # SQLite's thread must not be left in a call: whoever cancels us waits for its end.
            look = asyncio.create_task(self.look(), name="look at the known models")
            try:
                await asyncio.shield(look)
            except asyncio.CancelledError:
                await asyncio.gather(look, return_exceptions=True)
                raise
            await asyncio.sleep(PERIOD_S)

    async def look(self) -> None:
        """Recall what was known, once, and write what serves, where that is new."""
        try:
            if not self._recalled:
                known = await self._source.read()
                if known is not None:
                    self._models.recall(known)
                self._written, self._recalled = known, True
            if self._models.slots and (served := self._models.to_json()) != self._written:
                await self._source.write(served)
                self._written = served
        except CatalogUnavailable:
            log.warning("the catalog is away: the models that can be started are neither read nor written")
