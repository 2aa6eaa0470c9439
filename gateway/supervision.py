"""Background loops that never end by an error: what one did not foresee is logged, and it starts again."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

log = logging.getLogger("ragfleet.supervision")

RESTART_S = 1.0


@asynccontextmanager
async def supervised(loops: Mapping[str, Callable[[], Awaitable[None]]]) -> AsyncIterator[None]:
    """Run each of these (by its name) in a task of its own while the block runs; then cancel them and wait for their end."""
    tasks = [asyncio.create_task(_repeated(name, run), name=name) for name, run in loops.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _repeated(name: str, run: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await run()
        except Exception:
            log.exception("background task '%s' failed; it starts again in %g s", name, RESTART_S)
        await asyncio.sleep(RESTART_S)
