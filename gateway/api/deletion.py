"""Deleting answers once a following search finds nothing any more, or after a while all the same."""

import asyncio
import time

from gateway.knowledge.catalog.catalog import Catalog

PATIENCE_S = 5.0
_LOOK = 256
"""Removals that are looked through. They are done oldest first, so a queue longer than this says that ours is in it."""


async def removed(catalog: Catalog, *, store_id: str | None = None, file_id: str | None = None) -> bool:
    """Wait until the index and the object store have followed a deletion; False where they have not within PATIENCE_S.

    What is deleted is gone from the catalog already; its rows leave the index with the next round of the ingestion.
    """
    until = time.monotonic() + PATIENCE_S
    pause = 0.02
    while True:
        pending = await catalog.removals(limit=_LOOK)
        ours = len(pending) == _LOOK or any(
            (store_id is None or each.store_id == store_id) and (file_id is None or each.file_id == file_id)
            for each in pending
        )
        if not ours:
            return True
        if time.monotonic() + pause > until:
            return False
        await asyncio.sleep(pause)
        pause = min(2 * pause, 0.25)
