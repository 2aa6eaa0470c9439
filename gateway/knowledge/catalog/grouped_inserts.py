"""Rows of several requests that are inserted in one transaction, for each costs the event loop as much as a dozen rows."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from gateway.errors import CatalogUnavailable
from gateway.knowledge.catalog.sqlite_thread import Rows, Values

GATHER_S = 0.002
"""For which a row waits for others. Raising it makes fewer transactions, and each answer begins later by it."""

_Waiting = tuple[Values, "asyncio.Future[None]"]


class GroupedInserts:
    """Of one table."""

    def __init__(self, write: Callable[[Rows], Awaitable[object]]) -> None:
        """write: inserts these rows, all of them or none."""
        self._write = write
        self._waiting: list[_Waiting] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def add(self, row: Values) -> None:
        """It is committed when this returns. Raises what the writing of it raises."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((row, done))
        if len(self._waiting) == 1:
            task = asyncio.create_task(self._gather(), name="grouped inserts")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        await done

    async def _gather(self) -> None:
        try:
            await asyncio.sleep(GATHER_S)
        finally:
            batch, self._waiting = self._waiting, []
        try:
            await self._insert(batch)
        finally:
            for _, done in batch:  # whatever went wrong, none waits for ever
                done.cancel()

    async def _insert(self, batch: Sequence[_Waiting]) -> None:
        wanted = [each for each in batch if not each[1].done()]  # who has given up needs no row
        if not wanted:
            return
        try:
            await self._write([row for row, _ in wanted])
        except Exception as error:  # noqa: BLE001 - whoever waits gets it
            if len(wanted) > 1 and not isinstance(error, CatalogUnavailable):
                for each in wanted:  # one of them is at fault, and the others are not
                    await self._insert([each])
                return
            for _, done in wanted:
                if not done.done():
                    done.set_exception(error)
        else:
            for _, done in wanted:
                if not done.done():
                    done.set_result(None)
