"""The object store: contents of files and what was converted out of them, by key."""

import asyncio
import errno
import os
import re
import secrets
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

from gateway.config import ConfigError
from gateway.errors import NotFound, ObjectsUnavailable

_KEY = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*")
_BLOCK = 1 << 20
_PARTIAL = ".partial"
"""Where a folder keeps what is not whole yet; no key begins with a point."""
_STALE_S = 86_400
"""What was not written to for so long belongs to a process that was killed."""
_RACES = 100


def content_key(file_id: str) -> str:
    """The bytes as they were uploaded."""
    return f"files/{file_id}/content"


def document_key(file_id: str) -> str:
    """The converted document, JSON."""
    return f"files/{file_id}/document.json"


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

    async def modified(self, key: str) -> float:
        """Unix seconds of the last put."""
        ...

    async def delete_prefix(self, prefix: str) -> None:
        """Remove what lies under a prefix that ends with a slash; nothing there is fine."""
        ...

    def keys(self, prefix: str = "") -> AsyncIterator[str]:
        """Keys under a prefix (empty, or ending with a slash), sorted."""
        ...


def object_store(url: str, home: Path) -> ObjectStore:
    """The store that a setting names: `file:///folder`, or empty for `<home>/objects`. Raises ConfigError."""
    if not url:
        return FolderStore(home.resolve() / "objects")
    parts = urlsplit(url)
    if parts.scheme == "s3":
        raise ConfigError(
            f"RAGFLEET_OBJECTS_URL={url!r}: S3 is not supported yet; mount a file system that all gateways share, "
            "and give file:///folder"
        )
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not parts.path.strip("/"):
        raise ConfigError(
            f"RAGFLEET_OBJECTS_URL={url!r} names no store: give file:///folder (of a file system that all gateways share)"
        )
    return FolderStore(Path(unquote(parts.path)))


class FolderStore:
    """A folder; each key is a file under it. A put is durable: written aside, synced, then renamed.

    clock: Unix seconds. Halves that a killed process left are deleted before the first put.
    """

    def __init__(self, root: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._root = root
        self._clock = clock
        self._swept = False

    async def put(self, key: str, chunks: bytes | AsyncIterable[bytes]) -> int:
        """See ObjectStore."""
        target = self._path(key)
        if not self._swept:
            self._swept = True
            with _translated():
                await asyncio.to_thread(_sweep, self._root / _PARTIAL, self._clock() - _STALE_S)
        partial = self._root / _PARTIAL / secrets.token_hex(12)
        size = 0
        try:
            with _translated():
                file = await asyncio.to_thread(_open_partial, partial)
            try:
                async for block in _blocks(chunks):
                    with _translated():
                        await asyncio.to_thread(file.write, block)
                    size += len(block)
                with _translated():
                    await asyncio.to_thread(_publish, file, partial, target)
            finally:
                file.close()
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        return size

    async def get(self, key: str) -> AsyncIterator[bytes]:
        """See ObjectStore."""
        with _translated(key):
            file = await asyncio.to_thread(self._path(key).open, "rb")
        with file:
            while block := await asyncio.to_thread(file.read, _BLOCK):
                yield block

    async def read(self, key: str) -> bytes:
        """See ObjectStore."""
        with _translated(key):
            return await asyncio.to_thread(self._path(key).read_bytes)

    async def size(self, key: str) -> int:
        """See ObjectStore."""
        with _translated(key):
            return (await asyncio.to_thread(self._path(key).stat)).st_size

    async def modified(self, key: str) -> float:
        """See ObjectStore."""
        with _translated(key):
            return (await asyncio.to_thread(self._path(key).stat)).st_mtime

    async def delete_prefix(self, prefix: str) -> None:
        """See ObjectStore."""
        folder = self._path(_folder(prefix))
        with _translated():
            await asyncio.to_thread(_remove, folder)

    async def keys(self, prefix: str = "") -> AsyncIterator[str]:
        """See ObjectStore."""
        folder = self._path(_folder(prefix)) if prefix else self._root
        with _translated():
            found = await asyncio.to_thread(_walk, self._root, folder)
        for key in found:
            yield key

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)


class MemoryStore:
    """For tests: objects in a dictionary. `away` makes every call fail as an unreachable store does."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.away = False

    async def put(self, key: str, chunks: bytes | AsyncIterable[bytes]) -> int:
        """See ObjectStore."""
        self._answer()
        content = b"".join([block async for block in _blocks(chunks)])
        self.objects[check_key(key)] = content
        return len(content)

    async def get(self, key: str) -> AsyncIterator[bytes]:
        """See ObjectStore."""
        content = await self.read(key)
        for at in range(0, len(content), _BLOCK):
            yield content[at : at + _BLOCK]

    async def read(self, key: str) -> bytes:
        """See ObjectStore."""
        self._answer()
        if key not in self.objects:
            raise NotFound(f"There is no object {key!r}.")
        return self.objects[key]

    async def size(self, key: str) -> int:
        """See ObjectStore."""
        return len(await self.read(key))

    async def modified(self, key: str) -> float:
        """See ObjectStore. Always long ago."""
        await self.read(key)
        return 0.0

    async def delete_prefix(self, prefix: str) -> None:
        """See ObjectStore."""
        self._answer()
        check_key(_folder(prefix))
        for key in [key for key in self.objects if key.startswith(prefix)]:
            del self.objects[key]

    async def keys(self, prefix: str = "") -> AsyncIterator[str]:
        """See ObjectStore."""
        self._answer()
        for key in sorted(key for key in self.objects if key.startswith(prefix)):
            yield key

    def _answer(self) -> None:
        if self.away:
            raise ObjectsUnavailable("The object store is away.", retry_after_s=1)


def check_key(key: str) -> str:
    """The key. Raises ValueError for what could leave the folder; keys are made of ids, never of a client's words."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no key of an object: words of letters, digits, '.', '_', '-' between slashes")
    return key


def _folder(prefix: str) -> str:
    if not prefix.endswith("/"):
        raise ValueError(f"{prefix!r} is no prefix: it must end with a slash")
    return prefix[:-1]


async def _blocks(chunks: bytes | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in larger pieces: one trip to a thread writes many of a network's."""
    if isinstance(chunks, bytes):
        yield chunks
        return
    gathered = bytearray()
    async for chunk in chunks:
        gathered += chunk
        if len(gathered) >= _BLOCK:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)


class _translated:  # noqa: N801 - a context manager
    """The operating system's errors as ours."""

    def __init__(self, key: str = "") -> None:
        self._key = key

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FileNotFoundError) and self._key:
            raise NotFound(f"There is no object {self._key!r}.") from error
        if isinstance(error, OSError):
            raise ObjectsUnavailable(f"The object store failed: {error.strerror or error}.", retry_after_s=5) from error


def _open_partial(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("xb")


def _sweep(folder: Path, before: float) -> None:
    """Delete what was last written to before that moment; another process may do the same."""
    for path in folder.glob("*"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < before:
                path.unlink()


def _publish(file: BinaryIO, partial: Path, target: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    for left in reversed(range(_RACES)):  # a delete of the same prefix may take the folder away between the two
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.replace(target)
            break
        except FileNotFoundError:
            if not left:
                raise
    with suppress(FileNotFoundError):  # deleted already: then there is no name to keep
        for folder in (target.parent, target.parent.parent):  # the name must be as durable as the bytes
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def _remove(folder: Path) -> None:
    """Delete the files that are there; a folder stays if one was put into it meanwhile."""
    for parent, _, files in os.walk(folder, topdown=False):
        for name in files:
            Path(parent, name).unlink(missing_ok=True)
        try:
            Path(parent).rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                raise


def _walk(root: Path, folder: Path) -> list[str]:
    found = []
    for parent, folders, files in os.walk(folder):
        if Path(parent) == root and _PARTIAL in folders:
            folders.remove(_PARTIAL)
        found += [Path(parent, name).relative_to(root).as_posix() for name in files]
    return sorted(found)
