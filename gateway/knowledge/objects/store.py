"""What an object store is: contents of files and what was converted out of them, by key."""

import re
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import Protocol

BLOCK = 1 << 20
"""Bytes that stores move at a time."""

_KEY = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*")


def content_key(file_id: str) -> str:
    """The bytes as they were uploaded."""
    return f"files/{file_id}/content"


def document_key(file_id: str) -> str:
    """The converted document, JSON."""
    return f"files/{file_id}/document.json"


def part_key(upload_id: str, part_id: str) -> str:
    """A part of an upload. It lies where a file's contents do, so that what deletes and looks for those does it for parts."""
    return f"files/{upload_id}/{part_id}/content"


@dataclass(frozen=True, slots=True)
class Stored:
    """An object in a listing."""

    key: str
    size: int
    """Bytes."""
    modified: float
    """Unix seconds of the last put."""


class ObjectStore(Protocol):
    """Methods raise NotFound for a key that is not there, and ObjectsUnavailable when the store is away."""

    async def put(self, key: str, chunks: bytes | AsyncIterable[bytes]) -> int:
        """Store the whole, in place of what was there; nothing is seen of it before its end. Its size in bytes."""
        ...

    def get(self, key: str) -> AsyncIterator[bytes]:
        """The bytes, in pieces. It raises with the first."""
        ...

    async def read(self, key: str) -> bytes: ...

    async def size(self, key: str) -> int: ...

    async def delete_prefix(self, prefix: str) -> None:
        """Remove what lies under a prefix that ends with a slash; nothing there is fine."""
        ...

    def listed(self, prefix: str = "") -> AsyncIterator[Stored]:
        """What lies under a prefix (empty, or ending with a slash), by key."""
        ...


def check_key(key: str) -> str:
    """The key. Raises ValueError for what could leave the store's folder; keys are made of ids, never of a client's words."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no key of an object: words of letters, digits, '.', '_', '-' between slashes")
    return key


def folder_of(prefix: str) -> str:
    """The prefix without its slash at the end. Raises ValueError where there is none."""
    if not prefix.endswith("/"):
        raise ValueError(f"{prefix!r} is no prefix: it must end with a slash")
    return check_key(prefix[:-1])


async def blocks(chunks: bytes | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in larger pieces: one trip to a thread writes many of a network's."""
    if isinstance(chunks, bytes):
        yield chunks
        return
    gathered = bytearray()
    async for chunk in chunks:
        gathered += chunk
        if len(gathered) >= BLOCK:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)
