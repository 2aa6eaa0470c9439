"""Files of this machine that a store is to hold: which there are, and by what they are known."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

UNREADABLE = "it cannot be read"
"""How the reason begins that a folder within a folder was passed over; what the store has of it stays."""


@dataclass(frozen=True, slots=True)
class LocalDocument:
    """A file on this machine. `folder` is empty for a file that was named by itself. `attributes` go with it beside these."""

    folder: str
    path: str
    file: Path
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """What stays the same while the content changes."""
        return self.folder, self.path


Find = Callable[[Iterable[Path], dict[str, str]], Iterable[LocalDocument]]
"""The files of paths; what is passed over goes into the dictionary, with the reason."""


def folder_label(folder: Path) -> str:
    """What a folder is known by in attributes, which everybody sees who searches: its name, and a digest of where it is."""
    place = folder.resolve()
    return f"{place.name}-{hashlib.sha256(str(place).encode()).hexdigest()[:8]}"


def find_files(paths: Iterable[Path], skipped: dict[str, str] | None = None) -> Iterator[LocalDocument]:
    """Every file, in order. Hidden files and folders (with a leading dot) within a folder are passed over, and so are links that
    lead out of it, which are told in `skipped`: who may write into a folder does not choose what else of the machine is read.
    Folders that cannot be listed are told there, too."""
    passed = {} if skipped is None else skipped
    for path in paths:
        if not path.is_dir():
            yield LocalDocument("", in_unicode(path.name), path)
            continue
        root = path.resolve()
        for entry in _entries(path, passed):
            name = in_unicode(entry.relative_to(path).as_posix())
            if not entry.resolve().is_relative_to(root):
                if entry.is_symlink():
                    passed[name] = "it is a link that leads out of the folder"
            elif entry.is_file():
                yield LocalDocument(folder_label(path), name, entry)


def _entries(root: Path, skipped: dict[str, str]) -> list[Path]:
    """All that is in a folder and is not hidden, in order. `Path.rglob` says nothing of folders that it cannot list."""

    def tell(error: OSError) -> None:
        place = Path(error.filename).relative_to(root).as_posix()
        skipped[in_unicode(place)] = f"{UNREADABLE}: {error.strerror}"

    found: list[Path] = []
    for folder, folders, files in os.walk(root, onerror=tell):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inner = [Path(folder, name) for name in folders]
        found += [
            *(each for each in inner if each.is_symlink()),
            *(Path(folder, name) for name in files if name[0] != "."),
        ]
    return sorted(found)


def in_unicode(path: str) -> str:
    """A name on the disk is bytes, and those of old machines are no UTF-8; nobody else takes such a name."""
    try:
        path.encode()
    except UnicodeEncodeError:
        parts = (os.fsencode(part) for part in path.split("/"))
        return "/".join(part.decode("utf-8" if _is_utf8(part) else "cp1252", "replace") for part in parts)
    return path


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def look(paths: Iterable[Path], find: Find | None = None) -> Mapping[tuple[str, str], tuple[int, int]]:
    """What `--watch` compares: for each file its time of change (ns) and its size (bytes)."""
    seen: dict[tuple[str, str], tuple[int, int]] = {}
    for document in (find or find_files)(paths, {}):
        try:
            stat = document.file.stat()
        except OSError:
            continue  # it went away between two looks
        seen[document.key] = (stat.st_mtime_ns, stat.st_size)
    return seen
