"""Which gateways of this machine live: each holds a lock on a file, which the kernel lets go of when its process ends."""

import contextlib
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO


class GatewayLock:
    """A gateway's own, and a look at the others'. Gateways on other machines have other folders: of them nothing is known."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._file: IO[bytes] | None = None

    def take(self) -> None:
        """This one lives. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        fresh = self._folder / f".{self._name}"  # under its own name it is never seen without its lock
        self._file = fresh.open("wb")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        fresh.replace(self._folder / self._name)

    def dead(self) -> Sequence[str]:
        """Names of gateways that ended without a word. Each is told until it is forgotten."""
        try:
            names = os.listdir(self._folder)  # noqa: PTH208 - five times a second, and a path of each is made for nothing
        except OSError:
            return []
        others = [name for name in names if name != self._name and not name.startswith(".")]
        return [name for name in others if self._is_free(name)]

    def forget(self, name: str) -> None:
        """What it left is seen to."""
        (self._folder / name).unlink(missing_ok=True)

    def release(self) -> None:
        """This one ends in order."""
        if self._file is not None:
            self.forget(self._name)
            self._file.close()
            self._file = None

    def _is_free(self, name: str) -> bool:
        with contextlib.suppress(OSError), (self._folder / name).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False
