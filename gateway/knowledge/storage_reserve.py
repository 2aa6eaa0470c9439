"""Disk space that is kept free: a full disk loses what others write, so nothing more is taken before it is full."""

import asyncio
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from gateway.config import Settings
from gateway.errors import StorageFull


def free_bytes(folder: Path) -> int:
    """Bytes that are free where the folder is, or will be."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    return shutil.disk_usage(there).free


class StorageReserve:
    """Watches the disks of some folders, by what is kept there. reserve_bytes: 0 keeps nothing free."""

    def __init__(
        self, folders: Mapping[str, Path], reserve_bytes: int, free: Callable[[Path], int] = free_bytes
    ) -> None:
        self._folders = folders
        self._reserve_bytes = reserve_bytes
        self._free = free

    @classmethod
    def from_settings(cls, settings: Settings) -> "StorageReserve":
        """Of the state folder, and of the contents' where they lie in one."""
        folders = {"state": settings.home.resolve()}
        if (url := urlsplit(settings.objects_url)).scheme == "file":
            folders["contents"] = Path(unquote(url.path))
        return cls(folders, settings.disk_reserve_mb << 20)

    async def check(self, size: int = 0) -> None:
        """Raises StorageFull where less than the reserve would be free after `size` bytes more."""
        if self._reserve_bytes:
            await asyncio.to_thread(self._check, size)

    def _check(self, size: int) -> None:
        for kept, folder in self._folders.items():
            free = self._free(folder)
            if free - size < self._reserve_bytes:
                raise StorageFull(
                    f"There is no room for {size >> 20} MiB more: the disk of the {kept} has {free >> 20} MiB free, and "
                    f"{self._reserve_bytes >> 20} stay free (RAGFLEET_DISK_RESERVE_MB). Delete files, or ask for space."
                )
