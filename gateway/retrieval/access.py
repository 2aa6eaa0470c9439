"""Which documents a search may look at for a key, and the catalog's last word on what it has found."""

from collections.abc import Callable, Sequence

from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.knowledge.catalog.types import FileScope, Store
from gateway.retrieval.passage import Passage
from gateway.tenants.tenant import Tenant


class DocumentAccess:
    """The catalog as searches ask it. A key without groups sees all documents of its tenant, and costs no question.

    The index knows no groups and may be behind the catalog, so a search for a key with groups names the files, and what it
    finds is looked up again: what was hidden, deleted or detached in between does not leave the gateway.
    """

    def __init__(self, catalog: Callable[[Tenant], TenantCatalog]) -> None:
        self._catalog = catalog

    async def scope(self, tenant: Tenant, stores: Sequence[Store]) -> FileScope | None:
        """The files of these stores that the key sees; None: all. Raises CatalogUnavailable."""
        return await self._catalog(tenant).members.scope([store.id for store in stores])

    async def hidden(self, tenant: Tenant, passages: Sequence[Passage]) -> frozenset[str]:
        """The files of passages that the key does not see. Raises CatalogUnavailable."""
        return await self._catalog(tenant).members.hidden((each.store_id, each.file_id) for each in passages)
