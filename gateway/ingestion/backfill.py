"""Collections beside the active one are filled from the chunks in SQL."""

from collections.abc import Sequence

from gateway.errors import KnowledgeUnavailable
from gateway.ingestion.index_collections import Collections
from gateway.ingestion.writer import IndexEntry, Writer, key_of
from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.types import CollectionState


class Backfill:
    """Collections beside the active one are filled from the chunks in SQL, as far as instances serve their model."""

    def __init__(self, catalog: Catalog, collections: Collections, writer: Writer) -> None:
        self._catalog = catalog
        self._collections = collections
        self._writer = writer

    async def round(self, models: Sequence[str], limit: int = 16) -> int:
        """Bring some members into a collection that lacks them; how many. Raises KnowledgeUnavailable."""
        try:
            return await self._fill(models, limit)
        except KnowledgeUnavailable:
            self._collections.forget()  # Milvus lost something, or a collection was dropped and begun anew
            raise

    async def _fill(self, models: Sequence[str], limit: int) -> int:
        for collection in await self._collections.all():
            if collection.state is CollectionState.ACTIVE or collection.embedding_model not in models:
                continue  # of the active one no member is behind: it was completed there, or the switch has seen to it
            members = await self._catalog.collections.behind(collection.name, limit=limit)
            if not members:
                continue
            await self._collections.ready(collection)
            entries = [IndexEntry(member, await self._catalog.inventory.chunks(member), True) for member in members]
            written = await self._writer.write(collection, entries)
            done = [entry.member for entry in written.whole]
            await self._catalog.collections.indexed(collection.name, done)
            # What this collection refuses is written anew to the active one, which refuses it by name or takes it.
            refused = [entry.member for entry in entries if key_of(entry.member) in written.refused]
            await self._catalog.inventory.rewrite(refused)
            if not done and not refused:
                raise KnowledgeUnavailable(f"Nothing of what was written to {collection.name} is there.")
            return len(members)
        return 0
