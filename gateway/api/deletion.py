"""Deleting answers once a following search finds nothing any more, or after a while all the same."""

import asyncio
import time

from gateway.knowledge.catalog.tenant_catalog import TenantCatalog

PATIENCE_S = 5.0


async def removed(catalog: TenantCatalog, *, store_id: str | None = None, file_id: str | None = None) -> bool:
    """Wait until the index and the object store have followed a deletion; False where they have not within PATIENCE_S.

    What is deleted is gone from the catalog already; its rows leave the index with the next round of the ingestion.
    """
    until = time.monotonic() + PATIENCE_S
    pause = 0.02
    while True:
        if not await catalog.is_removing(store_id=store_id, file_id=file_id):
            return True
        if time.monotonic() + pause > until:
            return False
        await asyncio.sleep(pause)
        pause = min(2 * pause, 0.25)
