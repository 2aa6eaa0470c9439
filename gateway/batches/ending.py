"""A batch's end: the files of what was answered and of what failed, and the word that it has ended, in one transaction."""

import secrets
import time
from collections.abc import AsyncIterator, Sequence

from gateway.batches.input_file import Json
from gateway.batches.output_file import OutputFile
from gateway.knowledge.catalog.answer_types import BatchLine
from gateway.knowledge.catalog.batches import BatchQueue
from gateway.knowledge.catalog.queue import LeaseLost
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.knowledge.objects import ObjectStore, content_key


class BatchEnding:
    """Of the batches that one gateway works on."""

    def __init__(self, queue: BatchQueue, objects: ObjectStore, owner: str) -> None:
        """owner: under which the gateway holds their leases."""
        self._queue = queue
        self._objects = objects
        self._owner = owner

    async def finish(self, catalog: TenantCatalog, batch: Json, status: str, wrong: Sequence[Json] = ()) -> None:
        """Make the files, and tell the end. catalog: the tenant's; wrong: why it has failed. Raises LeaseLost."""
        output = await self._write(batch, ok=True)
        failed = await self._write(batch, ok=False)
        ended = {**batch, "status": status, f"{status}_at": now_s()}
        if wrong:
            ended["errors"] = {"object": "list", "data": wrong}
        if status == "cancelled":
            ended["cancelling_at"] = batch["cancelling_at"] or now_s()
        counts = {"completed": output.lines, "failed": failed.lines}
        ended["request_counts"] = {**batch["request_counts"], **counts}
        made = {name: file for name, file in (("output", output), ("error", failed)) if file.lines}
        try:
            async with catalog.transaction() as inner:
                for name, file in made.items():
                    await inner.files.add(
                        file_id=file.id,
                        filename=f"{batch['id']}_{name}.jsonl",
                        purpose="batch_output",
                        size=file.size,
                        sha256=file.hash.hexdigest(),
                        expires_at=_expiry(batch),
                    )
                    ended[f"{name}_file_id"] = file.id
                await inner.batches.finish(self._owner, ended)
        except LeaseLost:
            for file in made.values():
                await self._objects.delete_prefix(f"files/{file.id}/")
            raise

    async def _write(self, batch: Json, *, ok: bool) -> OutputFile:
        """The lines of one kind in the object store, where there are any."""
        file = OutputFile(f"file-{secrets.token_hex(12)}")
        first = await self._queue.lines(batch["id"], ok=ok, after=0, limit=1)
        if first:
            await self._objects.put(content_key(file.id), file.written(self._pages(batch["id"], ok=ok)))
        return file

    async def _pages(self, batch_id: str, *, ok: bool) -> AsyncIterator[BatchLine]:
        after = 0
        while lines := await self._queue.lines(batch_id, ok=ok, after=after, limit=100):
            for line in lines:
                yield line
            after = lines[-1].number


def now_s() -> int:
    """Unix seconds, as the API tells times."""
    return int(time.time())


def _expiry(batch: Json) -> int | None:
    """When the batch's own files go, where the client has said so."""
    after = batch.get("output_expires_after")
    return None if after is None else now_s() + int(after["seconds"])
