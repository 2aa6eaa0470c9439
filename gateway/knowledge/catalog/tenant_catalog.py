"""What one tenant has in the catalog: the only way to it for whoever serves a client."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from gateway.knowledge.catalog.batches import TenantBatches
from gateway.knowledge.catalog.chat_completions import TenantChatCompletions
from gateway.knowledge.catalog.code_names import TenantCodeNames
from gateway.knowledge.catalog.conversations import TenantConversations
from gateway.knowledge.catalog.database import Database
from gateway.knowledge.catalog.files import TenantFiles
from gateway.knowledge.catalog.idempotency import IdempotencyKeys
from gateway.knowledge.catalog.ingestion_types import Pause
from gateway.knowledge.catalog.journals import TenantJournals
from gateway.knowledge.catalog.members import TenantMembers
from gateway.knowledge.catalog.pauses import Pauses
from gateway.knowledge.catalog.removals import is_removing
from gateway.knowledge.catalog.responses import TenantResponses
from gateway.knowledge.catalog.stores import TenantStores
from gateway.knowledge.catalog.uploads import TenantUploads
from gateway.tenants.tenant import Tenant


class TenantCatalog:
    """Files, stores, members, stored answers and idempotency keys of one tenant. An id of another tenant raises NotFound exactly
    as an id that nobody has, and so does a file that the tenant's key may not see. No method takes a tenant: whose rows it sees
    was decided when the request was authenticated.
    """

    def __init__(self, database: Database, tenant: Tenant) -> None:
        self._database = database
        self._tenant = tenant
        self.files = TenantFiles(database, tenant)
        self.uploads = TenantUploads(database, tenant)
        self.stores = TenantStores(database, tenant)
        self.members = TenantMembers(database, tenant)
        self.code_names = TenantCodeNames(database, tenant)
        self.keys = IdempotencyKeys(database, tenant)
        self.batches = TenantBatches(database, tenant)
        self.responses = TenantResponses(database, tenant)
        self.chats = TenantChatCompletions(database, tenant)
        self.journals = TenantJournals(database, tenant)
        self.conversations = TenantConversations(database, tenant)
        self.restricted = tenant.key.groups is not None
        """Whether there may be documents of the tenant that its key does not see."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["TenantCatalog"]:
        """All calls of the catalog that the block gets are one transaction, which is undone where the block raises. After a call
        that raised, the block must end. Waiting for anything else in it holds up others."""
        async with self._database.write() as connection:
            yield TenantCatalog(self._database.within(connection), self._tenant)

    async def is_removing(self, *, store_id: str | None = None, file_id: str | None = None) -> bool:
        """Whether the index or the object store still has something of a deleted store, file, or file in a store."""
        return await is_removing(self._database, self._tenant, store_id=store_id, file_id=file_id)

    async def pauses(self) -> Sequence[Pause]:
        """What files that are in progress wait for, whose they may be."""
        return await Pauses(self._database).all()
