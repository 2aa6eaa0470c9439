"""Another process on the same catalog: `worker_process.py URL NAME STEP`.

STEP `all`: claims and completes until nothing is left, and prints what it completed. Any other: takes one job, and is killed (9)
right after that step.
"""

import asyncio
import os
import signal
import sys

from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.queue import IngestionQueue
from gateway.knowledge.catalog.types import ChunkRecord

CHUNKS = [ChunkRecord(index=i, text=f"words {i}", page=1, start=i, end=i + 1) for i in range(3)]


async def work(url: str, name: str, step: str) -> None:
    catalog = Catalog(url)

    def reached(point: str) -> None:
        if step == point:
            os.kill(os.getpid(), signal.SIGKILL)

    while jobs := await catalog.queue.claim(name, limit=1 if step != "all" else 3, lease_s=60):
        reached("claimed")
        for job in jobs:
            await catalog.queue.put_chunks(job, CHUNKS, usage_bytes=9)
            reached("chunks")
            if step == "within":  # a transaction that will never end
                async with catalog.database.write() as connection:
                    await IngestionQueue(catalog.database.within(connection)).complete(job, "c1")
                    reached("within")
            await catalog.queue.complete(job, "c1")
            reached("completed")
            print(job.member.file_id, flush=True)
    await catalog.close()


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:]))
