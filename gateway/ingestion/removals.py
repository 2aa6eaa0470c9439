"""What was deleted leaves the index and the object store."""

from gateway.ingestion.metrics import IngestionMetrics
from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.index import ChunkIndex, Owner
from gateway.knowledge.objects import ObjectStore


class Removals:
    """What was deleted leaves the index and the object store."""

    def __init__(
        self, catalog: Catalog, objects: ObjectStore, index: ChunkIndex, metrics: IngestionMetrics | None = None
    ) -> None:
        self._catalog = catalog
        self._objects = objects
        self._index = index
        self._metrics = metrics or IngestionMetrics()

    async def round(self, limit: int = 64) -> int:
        """Do some removals; how many. Doing one again is harmless. Raises Unavailable."""
        wanted = await self._catalog.removals.first(limit=limit)
        if not wanted:
            return 0
        collections = await self._catalog.collections.all()
        for each in wanted:
            if each.store_id is None:
                assert each.file_id is not None
                await self._objects.delete_prefix(f"files/{each.file_id}/")
                continue
            owner = Owner(tenant=each.tenant, store=each.store_id, file_id=each.file_id)
            before = None if each.generation is None else each.generation + 1
            for collection in collections:
                await self._index.delete(collection.name, owner, before=before)
        await self._catalog.removals.done(wanted)
        self._metrics.removals.inc(len(wanted))
        return len(wanted)
