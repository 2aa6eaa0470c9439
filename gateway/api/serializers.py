"""Files, stores and their members as OpenAI's clients read them."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from gateway.knowledge.catalog.ingestion_types import Pause
from gateway.knowledge.catalog.types import Attributes, Batch, Chunking, Counts, File, FileState, Member, Store
from gateway.knowledge.chunking import Chunker

State = Literal["in_progress", "completed", "failed", "cancelled"]


class FileObject(TypedDict):
    """A file. `allow` is an extension: the groups that may see it, where not all of the tenant may."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["processed"]
    expires_at: NotRequired[int]
    allow: NotRequired[list[str]]


class FileCounts(TypedDict):
    """Files by state."""

    in_progress: int
    completed: int
    failed: int
    cancelled: int
    total: int


class ExpiresAfterObject(TypedDict):
    """Days without use after which a store expires."""

    anchor: Literal["last_active_at"]
    days: int


class VectorStoreObject(TypedDict):
    """A vector store. `retrieval` is an extension: what differs from the deployment's defaults."""

    id: str
    object: Literal["vector_store"]
    created_at: int
    name: str
    description: str | None
    usage_bytes: int
    file_counts: FileCounts
    status: Literal["expired", "in_progress", "completed"]
    expires_after: ExpiresAfterObject | None
    expires_at: int | None
    last_active_at: int
    metadata: dict[str, str]
    retrieval: NotRequired[dict[str, Any]]


class LastError(TypedDict):
    """Why a file did not go in."""

    code: str
    message: str


class WaitingFor(TypedDict):
    """Why a file does not go in now; it goes in by itself when that is over."""

    reason: str
    message: str
    since: int


class ChunkLimits(TypedDict):
    """In tokens of the embedding model."""

    max_chunk_size_tokens: int
    chunk_overlap_tokens: int


class ChunkingObject(TypedDict):
    """How a file is cut."""

    type: Literal["static"]
    static: ChunkLimits


class StoreFileObject(TypedDict):
    """A file in a store. Extensions: `receipt`, what was read of it and what was not; `status_details`, while it waits for a part
    of the system that is away; `allow`, its file's."""

    id: str
    object: Literal["vector_store.file"]
    created_at: int
    usage_bytes: int
    vector_store_id: str
    status: State
    last_error: LastError | None
    attributes: Attributes
    chunking_strategy: ChunkingObject
    receipt: dict[str, Any] | None
    status_details: WaitingFor | None
    allow: NotRequired[list[str]]


class FileBatchObject(TypedDict):
    """Files that joined a store together."""

    id: str
    object: Literal["vector_store.files_batch"]
    created_at: int
    vector_store_id: str
    status: State
    file_counts: FileCounts


class DeletedObject(TypedDict):
    """What is answered to a DELETE."""

    id: str
    object: str
    deleted: Literal[True]


def file_shape(file: File) -> FileObject:
    """A file. It is `processed` as soon as it is there: what becomes of it in a store is the member's status."""
    shape: FileObject = {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": file.created_at,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
    }
    if file.expires_at is not None:
        shape["expires_at"] = file.expires_at
    if file.allow is not None:
        shape["allow"] = list(file.allow)
    return shape


def store_shape(store: Store, now: float) -> VectorStoreObject:
    """A vector store. `now` is Unix time, for `expired`."""
    expired = store.expires_at is not None and store.expires_at <= now
    busy = store.counts.in_progress > 0
    shape: VectorStoreObject = {
        "id": store.id,
        "object": "vector_store",
        "created_at": store.created_at,
        "name": store.name,
        "description": store.description,
        "usage_bytes": store.usage_bytes,
        "file_counts": counts_shape(store.counts),
        "status": "expired" if expired else "in_progress" if busy else "completed",
        "expires_after": None,
        "expires_at": store.expires_at,
        "last_active_at": store.last_active_at,
        "metadata": dict(store.metadata),
    }
    if store.expires_after_days is not None:
        shape["expires_after"] = {"anchor": "last_active_at", "days": store.expires_after_days}
    if store.settings:
        shape["retrieval"] = dict(store.settings)
    return shape


_WAITING = MappingProxyType(
    {
        "objects": "The object store does not answer.",
        "embedding": "No instance that embeds is ready.",
        "index": "The index does not answer, or does not let the ingestion in.",
        "disk": "The disk is full.",
    }
)


def member_shape(member: Member, pauses: Sequence[Pause] = ()) -> StoreFileObject:
    """A file in a store. `pauses`: what the ingestion waits for; what they say beyond the cause is for operators."""
    error: LastError | None = None
    if member.error is not None:
        error = {"code": member.error.code, "message": member.error.message}
    shape: StoreFileObject = {
        "id": member.file_id,
        "object": "vector_store.file",
        "created_at": member.created_at,
        "usage_bytes": member.usage_bytes,
        "vector_store_id": member.store_id,
        "status": member.state.value,
        "last_error": error,
        "attributes": dict(member.attributes),
        "chunking_strategy": _chunking_shape(member.chunking),
        "receipt": None if member.receipt is None else dict(member.receipt),
        "status_details": _waiting_for(pauses) if member.state is FileState.IN_PROGRESS else None,
    }
    if member.allow is not None:
        shape["allow"] = list(member.allow)
    return shape


def _waiting_for(pauses: Sequence[Pause]) -> WaitingFor | None:
    first = min(pauses, key=lambda pause: pause.since, default=None)
    if first is None:
        return None
    why = _WAITING.get(first.cause, "A part of the system is away.")
    return {
        "reason": f"{first.cause}_unavailable",
        "message": f"{why} The file waits and goes in by itself.",
        "since": int(first.since),
    }


def batch_shape(batch: Batch) -> FileBatchObject:
    """A batch; `failed` only where every one of its files is."""
    counts = batch.counts
    if batch.cancelled:
        status = FileState.CANCELLED
    elif counts.in_progress:
        status = FileState.IN_PROGRESS
    else:
        status = FileState.FAILED if counts.failed and counts.failed == counts.total else FileState.COMPLETED
    return {
        "id": batch.id,
        "object": "vector_store.files_batch",
        "created_at": batch.created_at,
        "vector_store_id": batch.store_id,
        "status": status.value,
        "file_counts": counts_shape(counts),
    }


def counts_shape(counts: Counts) -> FileCounts:
    """Files by state."""
    return {
        "in_progress": counts.in_progress,
        "completed": counts.completed,
        "failed": counts.failed,
        "cancelled": counts.cancelled,
        "total": counts.total,
    }


def deleted_shape(kind: str, item_id: str) -> DeletedObject:
    """What is answered to a DELETE."""
    return {"id": item_id, "object": kind, "deleted": True}


def _chunking_shape(chunking: Chunking) -> ChunkingObject:
    usual = Chunker(count=len)  # how files are cut whose chunking was left to us
    size = usual.max_tokens if chunking.max_tokens is None else chunking.max_tokens
    overlap = usual.overlap_tokens if chunking.overlap_tokens is None else chunking.overlap_tokens
    return {"type": "static", "static": {"max_chunk_size_tokens": size, "chunk_overlap_tokens": overlap}}
