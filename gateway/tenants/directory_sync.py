"""Keeps a directory as the catalog is: each gateway asks twice a second whether anything changed."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from gateway.errors import CatalogUnavailable
from gateway.tenants.directory import Directory
from gateway.tenants.records import DirectoryChanges

log = logging.getLogger("ragfleet.tenants")

PERIOD_S = 0.5
"""Between two looks. A change is in force everywhere after this and one look."""
PAUSE_S = 0.1
"""From one look to the next at the least, however many ask for one."""
WAIT_S = 5.0
"""For a look that a request waits for; a catalog that hangs holds it up no longer."""
USE_EVERY_S = 60.0
"""Between two writings of when keys were used."""


class TenantSource(Protocol):
    """Where tenants and keys are. Both raise CatalogUnavailable."""

    async def changes(self, since: int | None) -> DirectoryChanges | None:
        """What was changed after a revision; None: nothing."""

    async def record_use(self, used: Mapping[str, float]) -> None:
        """When keys were last used, by id, in Unix seconds."""


class DirectorySync:
    """`run` follows; a request whose key is unknown can wait for a look that begins after it came."""

    def __init__(
        self,
        directory: Directory,
        source: TenantSource,
        *,
        period_s: float = PERIOD_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._source = source
        self._period_s = period_s
        self._clock = clock
        self._wanted = asyncio.Event()
        self._next_look: asyncio.Event = asyncio.Event()
        """Set when the look that begins next is over."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._wanted.clear()
            over, self._next_look = self._next_look, asyncio.Event()
            try:
                await self.look()
            finally:
                over.set()
            await asyncio.sleep(min(PAUSE_S, self._period_s))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), self._period_s - min(PAUSE_S, self._period_s))

    async def look(self) -> None:
        """Ask the catalog once; that it is away is told to the directory, which knows what to do."""
        # SQLite's thread must not be left in a call: whoever cancels us waits for its end.
        look = asyncio.create_task(self._look(), name="look at the tenants")
        try:
            await asyncio.shield(look)
        except asyncio.CancelledError:
            await asyncio.gather(look, return_exceptions=True)
            raise

    async def fresh(self) -> None:
        """Wait for a look that begins from now on, but not for long, nor where the last one failed."""
        if self._directory.lost:
            return
        over = self._next_look
        self._wanted.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), WAIT_S)

    async def write_use(self, every_s: float = USE_EVERY_S) -> None:
        """Write now and then when keys were used; until cancelled. Not in `run`, where a lock would hold up what is new."""
        while True:
            await asyncio.sleep(every_s)
            if used := self._directory.take_use():
                writing = asyncio.create_task(self._source.record_use(used), name="write the use of keys")
                try:
                    await asyncio.shield(writing)
                except CatalogUnavailable as error:
                    log.warning("when keys were used cannot be written: %s", error)
                except asyncio.CancelledError:
                    await asyncio.gather(writing, return_exceptions=True)
                    raise

    async def _look(self) -> None:
        began = self._clock()
        try:
            changes = await self._source.changes(self._directory.revision)
            if changes is not None:
                self._directory.apply(changes)
            self._directory.confirm(began)
        except CatalogUnavailable:
            self._directory.lose()
