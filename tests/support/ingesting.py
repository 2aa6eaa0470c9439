"""The ingestion by hand: what its process does to the catalog and the object store, without conversion and index."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from gateway.container import Container
from gateway.errors import NotFound
from gateway.knowledge.catalog.ingestion_types import Job
from gateway.knowledge.catalog.queue import LeaseLost
from gateway.knowledge.catalog.types import ChunkRecord, FileError
from gateway.knowledge.objects import content_key
from tests.support.running import COLLECTION, EMBEDDING


async def bring_in(gateway: Container) -> int:
    """Every waiting file becomes one chunk, its text; one that is not UTF-8 fails. How many there were."""
    catalog = gateway.catalog
    await catalog.collections.add(COLLECTION, embedding_model=EMBEDDING, dimension=8)
    jobs = await catalog.queue.claim("by hand", limit=100, lease_s=60)
    for job in jobs:
        with suppress(LeaseLost, NotFound):  # deleted meanwhile
            await _one(gateway, job)
    return len(jobs)


async def _one(gateway: Container, job: Job) -> None:
    catalog = gateway.catalog
    content = await gateway.objects.read(content_key(job.member.file_id))
    try:
        text = content.decode()
    except UnicodeDecodeError:
        await catalog.queue.fail(job, FileError(code="invalid_file", message="It is no text."))
        return
    chunk = ChunkRecord(index=0, text=text, page=0, start=0, end=len(text))
    receipt = {"characters": len(text), "skipped": []}
    await catalog.queue.put_chunks(job, [chunk], usage_bytes=len(content), receipt=receipt)
    await catalog.queue.complete(job, COLLECTION)


async def clear_away(gateway: Container) -> None:
    """Do every removal that is there."""
    removals = await gateway.catalog.removals.first(limit=1000)
    for each in removals:
        if each.store_id is None and each.file_id is not None:
            await gateway.objects.delete_prefix(f"files/{each.file_id}/")
    await gateway.catalog.removals.done(removals)


@asynccontextmanager
async def ingestion(gateway: Container) -> AsyncIterator[None]:
    """Both, all the time."""

    ended = False

    async def work() -> None:
        while not ended:  # not cancelled: SQLite's thread would be left in the middle of a call
            await bring_in(gateway)
            await clear_away(gateway)
            await asyncio.sleep(0.01)

    task = asyncio.create_task(work())
    try:
        yield
    finally:
        ended = True
        await task
