"""The catalog: the source of truth about files, stores and their members. SQL behind it (sql.py); Milvus is only its index.

Every method of the first part takes the tenant and sees nothing of others: an id of another tenant raises NotFound exactly as
an id that nobody has. The second part is the ingestion's, which works for all tenants. Each call is one transaction, or
part of one (`transaction`).
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from gateway.knowledge.catalog.types import (
    Attributes,
    Backlog,
    Batch,
    ChunkRecord,
    Collection,
    File,
    FileError,
    FileState,
    Job,
    Member,
    NewMember,
    Page,
    PageQuery,
    Removal,
    Store,
    StoredReply,
)

UNCHANGED = object()
"""For `update_store`: leave the field as it is (None clears it)."""


class LeaseLost(Exception):
    """The job is no longer the caller's: cancelled, deleted, taken up anew, or another owner's."""


class Catalog(Protocol):
    """Methods raise NotFound (naming what), Conflict where stated, and CatalogUnavailable when the database is away."""

    def transaction(self) -> "AbstractAsyncContextManager[Catalog]":
        """All calls of the catalog that the block gets are one transaction, which is undone where the block raises. After a call
        that raised, the block must end. Waiting for anything else in it holds up others."""
        ...

    # Files

    async def add_file(
        self,
        tenant: str,
        *,
        file_id: str,
        filename: str,
        purpose: str,
        size: int,
        sha256: str,
        expires_at: int | None = None,
    ) -> File:
        """Record an upload; its content is in the object store already."""
        ...

    async def file(self, tenant: str, file_id: str) -> File: ...

    async def files(self, tenant: str, page: PageQuery, *, purpose: str | None = None) -> Page[File]: ...

    async def delete_file(self, tenant: str, file_id: str) -> None:
        """Forget the file, its memberships and chunks, and leave a Removal for each trace elsewhere."""
        ...

    # Stores

    async def create_store(
        self,
        tenant: str,
        *,
        name: str,
        description: str | None = None,
        metadata: Mapping[str, str] | None = None,
        settings: Mapping[str, object] | None = None,
        expires_after_days: int | None = None,
    ) -> Store: ...

    async def store(self, tenant: str, store_id: str) -> Store:
        """With its counts. An expired store is found; searching it is refused by the caller (`Store.expires_at`)."""
        ...

    async def resolve(self, tenant: str, names: Sequence[str]) -> Sequence[Store | None]:
        """For each name or id the store it means, or None. Names need not be unique: the oldest one that has not expired wins."""
        ...

    async def stores(self, tenant: str, page: PageQuery) -> Page[Store]: ...

    async def store_names(self, tenant: str) -> Sequence[str]:
        """Names of stores that have not expired and have a completed member, sorted, each once."""
        ...

    async def update_store(
        self,
        tenant: str,
        store_id: str,
        *,
        name: object = UNCHANGED,
        description: object = UNCHANGED,
        metadata: object = UNCHANGED,
        settings: object = UNCHANGED,
        expires_after_days: object = UNCHANGED,
    ) -> Store: ...

    async def touch_stores(self, store_ids: Sequence[str]) -> None:
        """Set `last_active_at` to now (at most once a minute each: searches are frequent, expiry is counted in days)."""
        ...

    async def delete_store(self, tenant: str, store_id: str) -> None: ...

    # Members and batches

    async def attach(self, tenant: str, store_id: str, members: Sequence[NewMember]) -> Sequence[Member]:
        """Let files join a store, IN_PROGRESS. A file that is a member already is taken up anew if its attributes or its chunking
        differ or it had failed or been cancelled, and is otherwise given back as it is. Raises NotFound naming the file."""
        ...

    async def attach_batch(self, tenant: str, store_id: str, members: Sequence[NewMember]) -> Batch: ...

    async def member(self, tenant: str, store_id: str, file_id: str) -> Member: ...

    async def members(
        self,
        tenant: str,
        store_id: str,
        page: PageQuery,
        *,
        state: FileState | None = None,
        batch_id: str | None = None,
    ) -> Page[Member]: ...

    async def set_attributes(self, tenant: str, store_id: str, file_id: str, attributes: Attributes) -> Member:
        """Replace them. The member stays COMPLETED and searchable; the index follows as a job."""
        ...

    async def detach(self, tenant: str, store_id: str, file_id: str) -> None: ...

    async def batch(self, tenant: str, store_id: str, batch_id: str) -> Batch: ...

    async def cancel_batch(self, tenant: str, store_id: str, batch_id: str) -> Batch:
        """Members that are still IN_PROGRESS become CANCELLED."""
        ...

    async def chunks(self, tenant: str, store_id: str, file_id: str) -> Sequence[ChunkRecord]: ...

    # Idempotency keys: both calls belong into the transaction that does the work

    async def claim_key(self, tenant: str, key: str, request: str) -> StoredReply | None:
        """What this request, known by its hash, was answered when its key came first; None: it is to be done now. Where the same
        key is being claimed elsewhere, it waits a moment for that. Raises BadRequest for an unusable key, Conflict for one of
        another request and for one that is still in use."""
        ...

    async def keep_answer(self, tenant: str, key: str, answer: StoredReply) -> None:
        """The request of this key was answered so."""
        ...

    # The ingestion's part, for all tenants

    async def claim(
        self, owner: str, *, limit: int, lease_s: float, weights: Mapping[str, float] | None = None
    ) -> Sequence[Job]:
        """Members whose index entry in the active collection is behind, and that nobody holds; attempts are counted. A tenant's
        own come oldest first; tenants that wait take turns, in proportion to their weights (1 where none is named)."""
        ...

    async def renew(self, jobs: Sequence[Job], *, lease_s: float) -> Sequence[Job]:
        """The jobs that are still held (not cancelled, deleted, taken up anew or lost to another owner), with longer leases."""
        ...

    async def put_chunks(self, job: Job, chunks: Sequence[ChunkRecord], *, usage_bytes: int) -> None:
        """Replace the member's chunks. Raises LeaseLost."""
        ...

    async def complete(self, job: Job, collection: str) -> None:
        """The member's rows are in `collection` and searchable: COMPLETED. Raises LeaseLost; the rows are then to be removed."""
        ...

    async def fail(self, job: Job, error: FileError) -> None: ...

    async def release(self, job: Job, *, not_before: float) -> None:
        """Give the job back to be claimed later: the fault was not the file's."""
        ...

    async def removals(self, *, limit: int) -> Sequence[Removal]: ...

    async def removed(self, removals: Sequence[Removal]) -> None: ...

    async def backlog(self) -> Backlog:
        """What waits for the ingestion. It counts all of it: 0.3 s for 300,000 files on SQLite on a busy machine."""
        ...

    async def expire(self) -> int:
        """Delete files past their `expires_at`, and stores past theirs by a day, with all traces; how many there were."""
        ...

    # What reconciling needs

    async def all_files(self, *, limit: int, after: str | None = None) -> Sequence[File]:
        """Of all tenants, by id."""
        ...

    async def all_members(self, *, limit: int, after: tuple[str, str] | None = None) -> Sequence[Member]:
        """Of all tenants, by (store_id, file_id)."""
        ...

    async def rewrite(self, members: Sequence[Member], *, above: int = 0) -> None:
        """Those that are still COMPLETED in this generation are to be written to the index anew, as jobs, of a generation higher
        than theirs and than `above`."""
        ...

    async def remove(self, tenant: str, store_id: str | None, file_id: str | None, generation: int | None) -> None:
        """Leave a Removal of something that the catalog does not know. Nothing happens where it does know it
        meanwhile: a file, or a member that is IN_PROGRESS or COMPLETED in one of these generations."""
        ...

    # Collections

    async def collections(self) -> Sequence[Collection]: ...

    async def add_collection(self, name: str, *, embedding_model: str, dimension: int) -> Collection:
        """ACTIVE if it is the first, else BUILDING. Idempotent for equal arguments, Conflict for others."""
        ...

    async def behind(self, collection: str, *, limit: int, after: tuple[str, str] | None = None) -> Sequence[Member]:
        """COMPLETED members that are not in `collection` in their present generation, by (store_id, file_id)."""
        ...

    async def indexed(self, collection: str, members: Sequence[Member]) -> Sequence[Member]:
        """Record that these generations' rows are in `collection`; those that are no longer so are given back."""
        ...

    async def switch(self, name: str) -> None:
        """Make it ACTIVE and the active one PREVIOUS. Raises Conflict while members are behind in it."""
        ...

    async def drop_collection(self, name: str) -> None:
        """Forget a collection that is not ACTIVE."""
        ...

    async def close(self) -> None: ...
