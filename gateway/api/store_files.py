"""`/v1/vector_stores/{id}/files` and `/file_batches`: files join a store, alone or together, and leave it."""

from collections.abc import Callable

from gateway.api.deletion import removed
from gateway.api.idempotency import IdempotentRequests
from gateway.api.json_routes import Call, Endpoints, Reply
from gateway.api.pagination import choice, page_body, page_query
from gateway.api.serializers import batch_shape, deleted_shape, member_shape
from gateway.api.store_schemas import NewAttributes, NewBatch, NewFile
from gateway.api.validation import read, without_nulls
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.knowledge.catalog.types import Batch, Chunking, FileState, Member
from gateway.tenants.tenant import Tenant

POLL_AFTER_MS = 250
"""When to ask again for what is in progress: a document is searchable within two seconds, so often."""


class StoreFiles:
    """The paths of files within stores."""

    def __init__(self, catalog: Callable[[Tenant], TenantCatalog], *, auto: Chunking) -> None:
        """auto: how files are cut whose chunking is left to us."""
        self._catalog = catalog
        self._once = IdempotentRequests(catalog)
        self._auto = auto

    def install(self, endpoints: Endpoints) -> None:
        """Add the paths."""
        add, tag = endpoints.add, "Files in vector stores"
        path = "/v1/vector_stores/{store_id}/files"
        one = f"{path}/{{file_id}}"
        add("POST", path, self.attach_file, tag=tag, summary="Let a file join a store", schema=NewFile)
        add("GET", path, self.list_store_files, tag=tag, summary="Files of a store, newest first")
        add("GET", one, self.get_store_file, tag=tag, summary="One file with its status")
        add("POST", one, self.update_store_file, tag=tag, summary="Replace a file's attributes", schema=NewAttributes)
        add("DELETE", one, self.detach_file, tag=tag, summary="Take a file out of a store; it stays in /v1/files")
        add("GET", f"{one}/content", self.get_store_content, tag=tag, summary="The text as it is searched")
        path = "/v1/vector_stores/{store_id}/file_batches"
        one = f"{path}/{{batch_id}}"
        add("POST", path, self.create_batch, tag=tag, summary="Let files join a store together", schema=NewBatch)
        add("GET", one, self.get_batch, tag=tag, summary="One batch with its counts")
        add("POST", f"{one}/cancel", self.cancel_batch, tag=tag, summary="Stop what has not come in yet")
        add("GET", f"{one}/files", self.list_batch_files, tag=tag, summary="Files of a batch")

    async def attach_file(self, call: Call) -> Reply:
        """It is `in_progress` until it can be found."""
        raw = without_nulls(await call.json())
        request, store_id = read(NewFile, raw), _store(call)

        async def work(catalog: TenantCatalog) -> Reply:
            (member,) = await catalog.members.attach(store_id, [request.member])
            return self._member(member)

        return await self._once(call, raw, work)

    async def list_store_files(self, call: Call) -> Reply:
        """Members of a store, of one status where `filter` names it."""
        return await self._list(call, batch_id=None)

    async def get_store_file(self, call: Call) -> Reply:
        """With a header that says when to ask again."""
        return self._member(await self._catalog(call.tenant).members.get(_store(call), _file(call)))

    async def update_store_file(self, call: Call) -> Reply:
        """The file stays searchable."""
        raw = await call.json()
        attributes = read(NewAttributes, raw).attributes or {}
        store_id, file_id = _store(call), _file(call)

        async def work(catalog: TenantCatalog) -> Reply:
            return self._member(await catalog.members.set_attributes(store_id, file_id, attributes))

        return await self._once(call, raw, work)

    async def detach_file(self, call: Call) -> Reply:
        """Of this store only."""
        store_id, file_id = _store(call), _file(call)
        await self._catalog(call.tenant).members.detach(store_id, file_id)
        await removed(self._catalog(call.tenant), store_id=store_id, file_id=file_id)
        return Reply(deleted_shape("vector_store.file.deleted", file_id))

    async def get_store_content(self, call: Call) -> Reply:
        """Its chunks, in their order."""
        chunks = await self._catalog(call.tenant).members.chunks(_store(call), _file(call))
        return Reply(
            {
                "object": "vector_store.file_content.page",
                "data": [{"type": "text", "text": chunk.text} for chunk in chunks],
                "has_more": False,
                "next_page": None,
            }
        )

    async def create_batch(self, call: Call) -> Reply:
        """All of its files exist, or none joins."""
        raw = without_nulls(await call.json())
        members, store_id = read(NewBatch, raw).members(), _store(call)

        async def work(catalog: TenantCatalog) -> Reply:
            return _batch(await catalog.members.attach_batch(store_id, members))

        return await self._once(call, raw, work)

    async def get_batch(self, call: Call) -> Reply:
        """With a header that says when to ask again."""
        return _batch(await self._catalog(call.tenant).members.batch(_store(call), _batch_id(call)))

    async def cancel_batch(self, call: Call) -> Reply:
        """What is in stays in."""
        store_id, batch_id = _store(call), _batch_id(call)

        async def work(catalog: TenantCatalog) -> Reply:
            return _batch(await catalog.members.cancel_batch(store_id, batch_id))

        return await self._once(call, {}, work)

    async def list_batch_files(self, call: Call) -> Reply:
        """Members that joined with this batch."""
        return await self._list(call, batch_id=_batch_id(call))

    async def _list(self, call: Call, *, batch_id: str | None) -> Reply:
        page = page_query(call.query, also=("filter",))
        word = choice(call.query, "filter", [state.value for state in FileState])
        state = None if word is None else FileState(word)
        found = await self._catalog(call.tenant).members.page(_store(call), page, state=state, batch_id=batch_id)
        return Reply(page_body(found, lambda member: member_shape(member, self._auto)))

    def _member(self, member: Member) -> Reply:
        return Reply(member_shape(member, self._auto), _poll(member.state is FileState.IN_PROGRESS))


def _batch(batch: Batch) -> Reply:
    return Reply(batch_shape(batch), _poll(batch.counts.in_progress > 0))


def _poll(busy: bool) -> dict[str, str]:
    return {"openai-poll-after-ms": str(POLL_AFTER_MS)} if busy else {}


def _store(call: Call) -> str:
    return call.id("store_id", "vector store")


def _file(call: Call) -> str:
    return call.id("file_id", "file")


def _batch_id(call: Call) -> str:
    return call.id("batch_id", "file batch")
