"""The source code of a repository, as `ragfleet ingest --code` takes it: what git has or would add, without what others wrote.

Without git, or outside a repository, it is what the folder holds, hidden files and folders aside.
"""

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from ragfleet.local_files import LocalDocument, folder_label

MAX_FILES = 20_000
"""Of one repository."""
MAX_BYTES = 1 << 20
"""Of one file: what is longer is data, or was made by a program."""
_LOOKED_AT = 8192
"""Bytes in which a binary file has a zero."""
_GIT_SECONDS = 120
_ELSEWHERE = frozenset(
    {
        *("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"),
        *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_CONFIG_PARAMETERS"),
    }
)
"""By these a caller that git has started, a hook perhaps, would have us look into its own repository."""
_VENDORED = frozenset(
    {
        "node_modules",
        "bower_components",
        "vendor",
        "third_party",
        "thirdparty",
        "site-packages",
        ".venv",
        "venv",
        "dist",
    }
)
_LOCKS = frozenset({"package-lock.json", "pnpm-lock.yaml", "go.sum", "npm-shrinkwrap.json"})


class RepositoryError(Exception):
    """It cannot be taken; the text says why."""


@dataclass(frozen=True, slots=True)
class _Commit:
    """`changed`: files that differ from it, or that it does not have."""

    id: str
    changed: frozenset[str]

    def of(self, path: str) -> Mapping[str, str]:
        """As an attribute: the commit that has the file as it is; with `-dirty` behind it where none has."""
        return {"commit": f"{self.id}-dirty" if path in self.changed else self.id}


def find_code(paths: Iterable[Path], skipped: dict[str, str] | None = None) -> Iterator[LocalDocument]:
    """Every text file that somebody wrote, in order. skipped: gets what is passed over, with the reason. Raises
    RepositoryError."""
    passed_over: dict[str, str] = {} if skipped is None else skipped
    for root in paths:
        if not root.is_dir():
            raise RepositoryError(f"{root} is no folder: --code takes repositories")
        listed = _listed(root)
        names = _walked(root) if listed is None else listed
        commit = None if listed is None else _commit(root)
        count = 0
        for name in names:
            file = root / name
            if not file.is_file() and not file.is_symlink():
                continue  # deleted and still in git's index, or another repository
            if reason := _reason(root, name, file):
                passed_over[name] = reason
                continue
            count += 1
            if count > MAX_FILES:
                raise RepositoryError(f"{root} has more than {MAX_FILES:,} files of source code: name folders of it")
            yield LocalDocument(folder_label(root), name, file, {} if commit is None else commit.of(name))


def _reason(root: Path, name: str, file: Path) -> str:
    """Why a file is passed over; "" where it is not."""
    path = PurePath(name)
    if _VENDORED.intersection(path.parts[:-1]):
        return "it is vendored"
    if path.name in _LOCKS or path.suffix == ".lock" or path.name.endswith((".min.js", ".min.css", ".map")):
        return "a program has written it"
    if (
        path.suffix.lower() == ".svg"
    ):  # text, but of numbers: one of 100 KB takes as long as thirty files of source code
        return "it is a picture"
    if not file.resolve().is_relative_to(root.resolve()):
        return "it is a link that leads out of the folder"
    try:
        return _content_reason(file)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"


def _content_reason(file: Path) -> str:
    """Raises OSError."""
    size = file.stat().st_size
    if size > MAX_BYTES:
        return f"it has more than {MAX_BYTES >> 10} KiB"
    if not size:
        return "it is empty"
    with file.open("rb") as content:
        return "it is binary" if b"\0" in content.read(_LOOKED_AT) else ""


def _walked(root: Path) -> Sequence[str]:
    found = (entry.relative_to(root) for entry in root.rglob("*"))
    return sorted(each.as_posix() for each in found if not any(part.startswith(".") for part in each.parts))


def _listed(root: Path) -> Sequence[str] | None:
    """What git has, and what it would add; None where it knows no repository there."""
    answer = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
    return None if answer is None else sorted(name for name in answer.split("\0") if name)


def _commit(root: Path) -> _Commit | None:
    """None before the first commit, and where git cannot compare files with it."""
    head = _git(root, "rev-parse", "--verify", "HEAD")
    if head is None:
        return None
    # Not into submodules: git would look at them by their own settings.
    compare = "diff-index", "--name-only", "--relative", "--ignore-submodules=all", "-z", "HEAD"
    changed = _git(root, *compare, overridden=_filters(root))
    if changed is None:
        return None
    added = _git(root, "ls-files", "-z", "--others", "--exclude-standard") or ""
    return _Commit(head.strip(), frozenset(f"{changed}\0{added}".split("\0")))


def _filters(root: Path) -> Mapping[str, str]:
    """Settings by which no filter of the repository is run: each is a program that git puts files through to compare them."""
    listed = _git(root, "config", "--name-only", "-z", "--get-regexp", r"^filter\.") or ""
    return {name: "false" if name.endswith(".required") else "" for name in listed.split("\0") if name}


def _git(root: Path, *arguments: str, overridden: Mapping[str, str] | None = None) -> str | None:
    """What git says; None where it fails or is not there. A repository may come from anywhere: its own settings start no program.

    overridden: settings that count instead of the repository's.
    """
    git = shutil.which("git")
    if git is None:
        return None
    settings = {"core.fsmonitor": "false", **({} if overridden is None else overridden)}
    environment = {
        **{name: value for name, value in os.environ.items() if name not in _ELSEWHERE},
        # What a repository lacks git would have fetched, by a program that the repository names.
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": str(len(settings)),
    }
    for number, (name, value) in enumerate(settings.items()):
        environment |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    asked = [git, "-C", str(root), "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(asked, capture_output=True, timeout=_GIT_SECONDS, check=False, env=environment)
    except subprocess.TimeoutExpired as error:
        raise RepositoryError(f"git did not answer within {_GIT_SECONDS} s in {root}") from error
    return done.stdout.decode(errors="surrogateescape") if done.returncode == 0 else None
