"""Makes a vector store hold what folders hold: new files go in, changed ones take the place of the old, removed ones leave.

A client of the public API. What a file was is kept with it as attributes of the member: `folder` (`folder_label`), `path` (within
it) and `sha256`; so unchanged files are never sent.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ragfleet.local_files import UNREADABLE, Find, LocalDocument, find_files, folder_label, in_unicode

Progress = Callable[[int, int, str], None]
"""Called with the files that are done, all files to bring in, and what is happening."""

BATCH = 100
"""Files that are sent before they are attached together."""
POLL_SECONDS = 0.25
SILENCE_SECONDS = 600.0
"""How long no file of a batch may come in before the run gives up; the ingestion goes on without us."""


class SyncError(Exception):
    """The run cannot go on; the text says why, and what was done so far stays."""


class FileRefused(Exception):
    """One file is not taken, for what it is; others may be."""


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A member of the store that a run like this one brought in."""

    file_id: str
    folder: str
    path: str
    sha256: str
    status: str
    allow: tuple[str, ...] | None = None
    """The groups that may see it; None: all of the tenant."""

    @property
    def key(self) -> tuple[str, str]:
        """See LocalDocument."""
        return self.folder, self.path


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that did not go in, and why, in the words of the API."""

    name: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was read of a file that went in, as the API tells it (docs/ingestion.md)."""

    name: str
    read: Mapping[str, Any]

    @property
    def lacks(self) -> list[str]:
        """What is not there, in words; empty where everything is."""
        lacks = [f"{each['part']}: {each['reason']}" for each in self.read.get("skipped", ())]
        if replaced := self.read.get("replaced"):
            lacks.append(f"bytes that are no {self.read.get('encoding', 'text')} were replaced ({replaced})")
        return lacks


@dataclass(slots=True)
class SyncReport:
    """What a run did, by the files' paths."""

    store: str
    store_id: str = ""
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """What was passed over, with the reason: links that lead out of their folder; of repositories, what nobody wrote."""
    receipts: list[Receipt] = field(default_factory=list)

    def total(self, what: str) -> int:
        """Of all that was read now: `pages`, `rows` or `characters`."""
        return sum(receipt.read.get(what, 0) for receipt in self.receipts)

    @property
    def files(self) -> int:
        """All files that were looked at."""
        return len(self.added) + len(self.changed) + len(self.unchanged) + len(self.failed)


class VectorStore(Protocol):
    """What a run needs of a store (ragfleet/vector_store.py speaks to the gateway)."""

    id: str

    def held(self) -> Sequence[StoredDocument]: ...
    def upload(self, document: LocalDocument, allow: Sequence[str] | None) -> str:
        """Send a file, for these groups, or as the gateway has it; its id. Raises FileRefused, and OSError if it cannot be
        read."""
        ...

    def allow(self, file_id: str, groups: Sequence[str]) -> None:
        """Let these groups see a member, and no others."""
        ...

    def attach(self, files: Mapping[str, Mapping[str, str]]) -> str:
        """Let files (id → attributes) join; the batch's id."""
        ...

    def pending(self, batch_id: str) -> int: ...
    def failures(self, batch_id: str) -> Mapping[str, tuple[str, str]]:
        """File id → code and message."""
        ...

    def receipts(self, batch_id: str) -> Mapping[str, Mapping[str, Any]]:
        """File id → what was read of it."""
        ...

    def delete(self, file_id: str) -> None: ...


def sync(
    store: VectorStore,
    name: str,
    paths: Sequence[Path],
    progress: Progress | None = None,
    *,
    allow: Sequence[str] | None = None,
    find: Find | None = None,
) -> SyncReport:
    """Bring the store up to what the paths hold. Files given by themselves are never removed from it. Raises SyncError, and what
    `find` raises.

    find: what of the paths is looked at.
    allow: the groups that may see these files. None: a file that was there keeps its own.
    """
    report = SyncReport(name, store.id)
    documents = _documents(paths, report, find or find_files)
    unread = [place for place, reason in report.skipped.items() if reason.startswith(UNREADABLE)]
    report.failed += (Failure(place, "invalid_file", report.skipped.pop(place)) for place in unread)
    held: dict[tuple[str, str], list[StoredDocument]] = {}
    for member in store.held():
        held.setdefault(member.key, []).append(member)
    wanted: list[tuple[LocalDocument, str]] = []
    for document in documents.values():
        digest = _digest(document, report)
        if digest is None:
            continue
        same = [
            old
            for old in held.get(document.key, ())
            if old.sha256 == digest and old.status in ("completed", "in_progress")
        ]
        if same:
            others = [] if allow is None else [old for old in same if old.allow != tuple(allow)]
            for old in others:
                store.allow(old.file_id, allow or ())
            (report.changed if others else report.unchanged).append(document.path)
        else:
            wanted.append((document, digest))
    for start in range(0, len(wanted), BATCH):

        def tell(count: int, what: str, start: int = start) -> None:
            if progress is not None:
                progress(start + count, len(wanted), what)

        _bring(store, wanted[start : start + BATCH], held, report, tell, allow=allow)
    gone = {
        key: members
        for key, members in held.items()
        if key not in documents and not any(key[1].startswith(f"{place}/") or place == "." for place in unread)
    }
    _remove(store, [folder_label(path) for path in paths if path.is_dir()], gone, report)
    return report


def _documents(paths: Sequence[Path], report: SyncReport, find: Find) -> dict[tuple[str, str], LocalDocument]:
    documents: dict[tuple[str, str], LocalDocument] = {}
    for document in find(paths, report.skipped):
        twin = documents.setdefault(document.key, document)
        if twin.file != document.file:
            text = f"{document.path} is here twice, as {twin.file} and {document.file}; rename one"
            report.failed.append(Failure(document.path, "invalid_file", text))
    return documents


def _digest(document: LocalDocument, report: SyncReport) -> str | None:
    if document.file.exists() and not document.file.is_file():  # to open a pipe is to wait for who writes to it
        report.failed.append(Failure(document.path, "invalid_file", f"{in_unicode(str(document.file))} is no file"))
        return None
    try:
        with document.file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        text = f"{in_unicode(str(document.file))} cannot be read: {error.strerror}"
        report.failed.append(Failure(document.path, "invalid_file", text))
        return None


def _bring(
    store: VectorStore,
    batch: Sequence[tuple[LocalDocument, str]],
    held: Mapping[tuple[str, str], Sequence[StoredDocument]],
    report: SyncReport,
    tell: Callable[[int, str], None],
    *,
    allow: Sequence[str] | None,
) -> None:
    """Send, attach, wait; then let the files go whose place was taken."""
    sent: dict[str, tuple[LocalDocument, str]] = {}
    for document, digest in batch:
        tell(0, f"sending {document.path}")
        before = held.get(document.key, ())
        groups = before[-1].allow if allow is None and before else allow
        try:
            sent[store.upload(document, groups)] = (document, digest)
        except FileRefused as error:
            report.failed.append(Failure(document.path, "invalid_file", str(error)))
        except OSError as error:  # it went away, or its disk did, since it was looked at
            text = f"{in_unicode(str(document.file))} cannot be read: {error.strerror or error}"
            report.failed.append(Failure(document.path, "invalid_file", text))
    if not sent:
        return
    attributes = {
        file_id: {**document.attributes, "folder": document.folder, "path": document.path, "sha256": digest}
        for file_id, (document, digest) in sent.items()
    }
    batch_id = store.attach(attributes)
    _wait(store, batch_id, len(sent), tell)
    failures, receipts = store.failures(batch_id), store.receipts(batch_id)
    for file_id, (document, _) in sent.items():
        old = held.get(document.key, ())
        if file_id in failures:
            report.failed.append(Failure(document.path, *failures[file_id]))
            old = [member for member in old if member.status != "completed"]  # the last good one goes on serving
        else:
            (report.changed if old else report.added).append(document.path)
            report.receipts.append(Receipt(document.path, receipts.get(file_id, {})))
        for member in old:
            store.delete(member.file_id)


def _wait(store: VectorStore, batch_id: str, total: int, tell: Callable[[int, str], None]) -> None:
    pending, heard = total, time.monotonic()
    while left := store.pending(batch_id):
        now = time.monotonic()
        pending, heard = left, now if left != pending else heard
        if now - heard > SILENCE_SECONDS:
            raise SyncError(
                f"no file was ingested for {SILENCE_SECONDS:.0f} s; {left} are still waiting, and their ingestion continues. "
                "See: ragfleet logs ingestion"
            )
        tell(total - left, "reading, embedding")
        time.sleep(POLL_SECONDS)
    tell(total, "done")


def _remove(
    store: VectorStore,
    folders: Sequence[str],
    gone: Mapping[tuple[str, str], Sequence[StoredDocument]],
    report: SyncReport,
) -> None:
    for key, members in gone.items():
        if key[0] in folders:
            for member in members:
                store.delete(member.file_id)
            report.removed.append(key[1])
