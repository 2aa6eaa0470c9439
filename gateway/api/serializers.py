"""Files, stores and their members as OpenAI's clients read them."""

from collections.abc import Mapping
from typing import Any

from gateway.knowledge.catalog.types import Batch, Chunking, Counts, File, FileState, Member, Store


def file_shape(file: File) -> dict[str, Any]:
    """A file. It is `processed` as soon as it is there: what becomes of it in a store is the member's status."""
    shape: dict[str, Any] = {
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
    return shape


def store_shape(store: Store, now: float) -> dict[str, Any]:
    """A vector store. `now` is Unix time, for `expired`."""
    expired = store.expires_at is not None and store.expires_at <= now
    busy = store.counts.in_progress > 0
    shape: dict[str, Any] = {
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


def member_shape(member: Member, auto: Chunking) -> dict[str, Any]:
    """A file in a store. `auto` is how files are cut whose chunking was left to us."""
    error = None if member.error is None else {"code": member.error.code, "message": member.error.message}
    return {
        "id": member.file_id,
        "object": "vector_store.file",
        "created_at": member.created_at,
        "usage_bytes": member.usage_bytes,
        "vector_store_id": member.store_id,
        "status": member.state.value,
        "last_error": error,
        "attributes": dict(member.attributes),
        "chunking_strategy": _chunking_shape(member.chunking, auto),
        "receipt": None if member.receipt is None else dict(member.receipt),
    }


def batch_shape(batch: Batch) -> dict[str, Any]:
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


def counts_shape(counts: Counts) -> dict[str, int]:
    """Files by state."""
    return {
        "in_progress": counts.in_progress,
        "completed": counts.completed,
        "failed": counts.failed,
        "cancelled": counts.cancelled,
        "total": counts.total,
    }


def deleted_shape(kind: str, item_id: str) -> Mapping[str, Any]:
    """What is answered to a DELETE."""
    return {"id": item_id, "object": kind, "deleted": True}


def _chunking_shape(chunking: Chunking, auto: Chunking) -> dict[str, Any]:
    size = chunking.max_tokens if chunking.max_tokens is not None else auto.max_tokens
    overlap = chunking.overlap_tokens if chunking.overlap_tokens is not None else auto.overlap_tokens
    if size is None or overlap is None:
        return {"type": "other"}
    return {"type": "static", "static": {"max_chunk_size_tokens": size, "chunk_overlap_tokens": overlap}}
