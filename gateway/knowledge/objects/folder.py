"""Objects in a folder of a file system."""

import asyncio
import errno
import os
import secrets
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from gateway.errors import NotFound, ObjectsUnavailable, StorageFull
from gateway.knowledge.objects.store import BLOCK, Stored, blocks, check_key, folder_of

_PARTIAL = ".partial"
"""Where a folder keeps what is not whole yet; no key begins with a point."""
_STALE_S = 86_400
"""What was not written to for so long belongs to a process that was killed."""
_RACES = 100


class FolderStore:
    """A folder; each key is a file under it. A put is durable: written aside, synced, then renamed. What is made here is its
    owner's alone to read.

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
            with _translated():
                await asyncio.to_thread(_sweep, self._root, self._clock() - _STALE_S)
            self._swept = True
        partial = self._root / _PARTIAL / secrets.token_hex(12)
        size = 0
        try:
            with _translated():
                file = await asyncio.to_thread(_open_partial, partial)
            try:
                async for block in blocks(chunks):
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
        with _translated(key, self._root):
            file = await asyncio.to_thread(self._path(key).open, "rb")
        with file:
            while block := await asyncio.to_thread(file.read, BLOCK):
                yield block

    async def read(self, key: str) -> bytes:
        """See ObjectStore."""
        with _translated(key, self._root):
            return await asyncio.to_thread(self._path(key).read_bytes)

    async def size(self, key: str) -> int:
        """See ObjectStore."""
        with _translated(key, self._root):
            return (await asyncio.to_thread(self._path(key).stat)).st_size

    async def delete_prefix(self, prefix: str) -> None:
        """See ObjectStore."""
        folder = self._path(folder_of(prefix))
        with _translated():
            await asyncio.to_thread(_remove, folder)

    async def listed(self, prefix: str = "") -> AsyncIterator[Stored]:
        """See ObjectStore."""
        folder = self._path(folder_of(prefix)) if prefix else self._root
        with _translated():
            found = await asyncio.to_thread(_walk, self._root, folder)
        for each in found:
            yield each

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)


class _translated:  # noqa: N801 - a context manager
    """The operating system's errors as ours. With a key and the root: what is not there raises NotFound, but ObjectsUnavailable
    where nothing was ever put, as in the empty place that a volume leaves when it is not mounted."""

    def __init__(self, key: str = "", root: Path | None = None) -> None:
        self._key = key
        self._root = root

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FileNotFoundError) and self._root is not None:
            if _is_empty(self._root):
                raise ObjectsUnavailable(
                    "The object store is empty.", detail=f"Is the volume of {self._root} mounted?", retry_after_s=5
                ) from error
            raise NotFound(f"There is no object {self._key!r}.") from error
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull("The disk is full: free some space.") from error
        if isinstance(error, OSError):
            raise ObjectsUnavailable("The object store failed.", detail=f"{error}", retry_after_s=5) from error


def _is_empty(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except FileNotFoundError:
        return True


def _open_partial(path: Path) -> BinaryIO:
    """Its folder was made once. Where it is gone the volume is, and what is written would lie hidden under the next one."""
    return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")


def _sweep(root: Path, before: float) -> None:
    """Make the folders; delete what was last written to before that moment. Another process may do the same."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    (root / _PARTIAL).mkdir(exist_ok=True)
    for path in (root / _PARTIAL).glob("*"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < before:
                path.unlink()


def _publish(file: BinaryIO, partial: Path, target: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    for left in reversed(range(_RACES)):  # a delete of the same prefix may take the folder away between the two
        if not partial.exists():
            raise FileNotFoundError(errno.ENOENT, "Its folder is gone: is the volume mounted?")
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


def _walk(root: Path, folder: Path) -> list[Stored]:
    found = []
    for parent, folders, files in os.walk(folder, onerror=_unless_gone):
        if Path(parent) == root and _PARTIAL in folders:
            folders.remove(_PARTIAL)
        for path in (Path(parent, name) for name in files):
            with suppress(FileNotFoundError):
                status = path.stat()
                found.append(Stored(path.relative_to(root).as_posix(), status.st_size, status.st_mtime))
    return sorted(found, key=lambda each: each.key)


def _unless_gone(error: OSError) -> None:
    """What cannot be read must not look empty; a folder that was deleted meanwhile is."""
    if not isinstance(error, FileNotFoundError):
        raise error
