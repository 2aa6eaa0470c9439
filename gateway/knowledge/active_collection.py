"""Which collection serves: the catalog's word, read anew now and then."""

from collections.abc import Callable

from gateway.errors import CatalogUnavailable
from gateway.knowledge.catalog.collections import CollectionRegistry
from gateway.knowledge.catalog.types import Collection, CollectionState


class ActiveCollection:
    """The active collection. With the catalog away it stays what it was: searching needs Milvus only."""

    def __init__(self, collections: CollectionRegistry, clock: Callable[[], float], *, fresh_s: float = 1.0) -> None:
        """`fresh_s`: how long an answer of the catalog is taken as it was. Longer: less SQL, and a later switch."""
        self._collections = collections
        self._clock = clock
        self._fresh_s = fresh_s
        self._known: Collection | None = None
        self._read_at: float | None = None

    async def get(self) -> Collection | None:
        """None before anything was brought in. Raises CatalogUnavailable while the catalog has never answered."""
        now = self._clock()
        if self._read_at is None or now - self._read_at >= self._fresh_s:
            try:
                collections = await self._collections.all()
            except CatalogUnavailable:
                if self._read_at is None:
                    raise
            else:
                self._known = next((each for each in collections if each.state is CollectionState.ACTIVE), None)
            self._read_at = now
        return self._known
