"""The catalog: the source of truth about files, stores and their members, in SQL; Milvus is only its index."""

import time
from collections.abc import Callable
from pathlib import Path

from gateway.knowledge.catalog.background import BackgroundQueue
from gateway.knowledge.catalog.batches import BatchQueue
from gateway.knowledge.catalog.collections import CollectionRegistry
from gateway.knowledge.catalog.database import Database
from gateway.knowledge.catalog.inventory import Inventory
from gateway.knowledge.catalog.pauses import Pauses
from gateway.knowledge.catalog.queue import IngestionQueue
from gateway.knowledge.catalog.removals import RemovalQueue
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.knowledge.catalog.tenant_registry import TenantRegistry
from gateway.tenants.tenant import Tenant


def catalog_url(setting: str, home: Path) -> str:
    """The setting, or SQLite in the state folder."""
    return setting or f"sqlite:///{home.resolve() / 'catalog.db'}"


class Catalog:
    """One database and what is done in it. Nothing is opened until the first call, which makes the tables where there are none.

    What clients ask goes through `of(tenant)`. The other parts work for all tenants: they are the ingestion's and the
    operators'. Every method is one transaction, or part of one (`TenantCatalog.transaction`). All raise CatalogUnavailable while
    the database is away, and CatalogUnusable for one that this program must not write to.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time, timeout_s: float = 5.0) -> None:
        """url: `sqlite:///path` or `postgresql://user@host/name`. clock: Unix seconds. timeout_s: for a lock, and a statement."""
        self.database = Database(url, clock=clock, timeout_s=timeout_s)
        self.batches = BatchQueue(self.database)
        self.background = BackgroundQueue(self.database)
        self.queue = IngestionQueue(self.database)
        self.pauses = Pauses(self.database)
        self.removals = RemovalQueue(self.database)
        self.collections = CollectionRegistry(self.database)
        self.inventory = Inventory(self.database)
        self.tenants = TenantRegistry(self.database)

    def of(self, tenant: Tenant) -> TenantCatalog:
        """What this tenant has."""
        return TenantCatalog(self.database, tenant)

    async def close(self) -> None:
        """Close the connections."""
        await self.database.close()
