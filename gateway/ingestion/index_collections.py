"""Which collection is the active one, and that there is one; the alias follows it."""

from gateway.errors import KnowledgeUnavailable
from gateway.ingestion.chunk_embedder import ChunkEmbedder
from gateway.ingestion.metrics import NO_EMBEDDING
from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.types import Collection, CollectionState
from gateway.knowledge.index import ALIAS, ChunkIndex, collection_name


class Collections:
    """What the catalog says of collections, made true in Milvus. `active` is cheap after the first time."""

    def __init__(self, catalog: Catalog, index: ChunkIndex, embedder: ChunkEmbedder, *, alias: str = ALIAS) -> None:
        self._catalog = catalog
        self._index = index
        self._embedder = embedder
        self._alias = alias
        self._pointed = ""
        self._ready: set[str] = set()

    async def all(self) -> list[Collection]:
        """Every collection that is known."""
        return list(await self._catalog.collections.all())

    async def active(self) -> Collection:
        """The collection to write to. The first ever is made for the embedding model that the fleet serves.

        Raises KnowledgeUnavailable where there is none yet and no instance is ready, or Milvus is away.
        """
        found = await self._catalog.collections.all()
        active = next((each for each in found if each.state is CollectionState.ACTIVE), None)
        if active is None:
            models = self._embedder.models()
            if not models:
                raise KnowledgeUnavailable("No instance that embeds is ready.", code=NO_EMBEDDING, retry_after_s=2)
            await self.add(models[0])
            return await self.active()
        await self.ready(active)
        if self._pointed != active.name:
            await self._index.point(self._alias, active.name)
            self._pointed = active.name
        return active

    async def add(self, model: str) -> Collection:
        """A collection for this model: ACTIVE if it is the first, else BUILDING."""
        vectors = await self._embedder.embed(model, ["dimension"])
        name = collection_name(model)
        return await self._catalog.collections.add(name, embedding_model=model, dimension=vectors.shape[1])

    async def ready(self, collection: Collection) -> None:
        """It is in Milvus, and loaded; asked once, and again after `forget`."""
        if collection.name not in self._ready:
            try:
                await self._index.ensure(collection.name, collection.dimension)
            except ValueError as error:
                raise KnowledgeUnavailable(str(error)) from error
            self._ready.add(collection.name)

    def forget(self) -> None:
        """Milvus failed: it may come back with less."""
        self._ready.clear()
        self._pointed = ""
