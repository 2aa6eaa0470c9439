"""From files to a searchable store: walk, convert, chunk, embed, write. What is already there costs nothing.

Every file stands for itself: one that cannot be read is reported, and the others go in. When Milvus or every Triton is away, the
run ends with KnowledgeUnavailable; what was done stays, and the next run goes on from there.
"""

import fcntl
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gateway.config import Settings
from gateway.errors import Unavailable
from gateway.knowledge.chunking import Chunker, embedding_folder, token_counter
from gateway.knowledge.conversion import convert_bytes
from gateway.knowledge.documents import DocumentError
from gateway.knowledge.embedder import Embedder, TritonEmbedder
from gateway.knowledge.filters import quote
from gateway.knowledge.legacy_index import COLLECTION, ChunkIndex, MilvusIndex, Row
from gateway.knowledge.manifest import Entry, Manifest

Progress = Callable[[int, int, str], None]
"""Called after each file with the files done, all files, and the file's name."""

Outcome = Literal["added", "changed", "unchanged"]

_RECIPE_VERSION = 1
"""Raise it when converting or chunking changes, so that files are ingested again."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that did not go in, and why. `code` is one of OpenAI's: unsupported_file, invalid_file."""

    name: str
    code: str
    message: str


@dataclass(slots=True)
class IngestReport:
    """What a run did. `chunks` counts those that were written; those of unchanged files are not among them."""

    store: str
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    chunks: int = 0

    @property
    def files(self) -> int:
        """All files that were looked at."""
        return len(self.added) + len(self.changed) + len(self.unchanged) + len(self.failed)


def ingest_paths(
    paths: Sequence[Path],
    *,
    store: str,
    milvus_uri: str,
    embed_urls: Sequence[str],
    progress: Progress | None = None,
    settings: Settings | None = None,
    collection: str = COLLECTION,
) -> IngestReport:
    """Bring files, and all files in folders, into `store`.

    `embed_urls` are HTTP addresses of Tritons (`http://127.0.0.1:8101`). The state is kept in `settings.home`; without
    settings they are read from the environment. Raises KnowledgeUnavailable when Milvus or all Tritons are away,
    Unavailable when another ingestion is running, ValueError for a name that no store can have, FileNotFoundError
    without an embedding model.
    """
    settings = settings or Settings.from_env()
    settings.home.mkdir(parents=True, exist_ok=True)
    folder = embedding_folder(settings.embedding_dir)
    chunker = Chunker(count=token_counter(folder))
    embedder = TritonEmbedder(embed_urls)
    with one_writer(settings.home / "knowledge.lock"), closing(MilvusIndex(milvus_uri, collection=collection)) as index:
        manifest = Manifest(settings.home / "knowledge.db")
        return Ingestion(index, embedder, chunker, manifest, recipe=recipe(chunker, folder)).run(paths, store, progress)


def recipe(chunker: Chunker, folder: Path) -> str:
    """What besides a file's content decides about its chunks and vectors, as one word."""
    model = hashlib.sha256()
    for name in ("config.json", "modules.json", "tokenizer.json"):
        if (folder / name).is_file():
            model.update((folder / name).read_bytes())
    limits = (chunker.max_tokens, chunker.overlap_tokens, chunker.context_tokens, chunker.max_chars)
    return f"{_RECIPE_VERSION}/{'-'.join(map(str, limits))}/{model.hexdigest()[:16]}"


def file_id(store: str, name: str) -> str:
    """The id of a file: the same for the same name in the same store, on every machine."""
    return "file-" + hashlib.sha256(f"{store}\0{name}".encode()).hexdigest()[:24]


@contextmanager
def one_writer(lock: Path, *, deadline_s: float = 10.0) -> Iterator[None]:
    """Hold the ingestion lock; the system frees it when the process ends. Raises Unavailable when another keeps it."""
    with lock.open("a") as handle:
        until = time.monotonic() + deadline_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise Unavailable(
                        f"another ingestion is running (it holds {lock}); try again when it is done"
                    ) from None
                time.sleep(0.1)
        yield


class Ingestion:
    """The work itself, with everything it needs given to it."""

    def __init__(
        self, index: ChunkIndex, embedder: Embedder, chunker: Chunker, manifest: Manifest, *, recipe: str
    ) -> None:
        self._index = index
        self._embedder = embedder
        self._chunker = chunker
        self._manifest = manifest
        self._recipe = recipe

    def run(self, paths: Sequence[Path], store: str, progress: Progress | None = None) -> IngestReport:
        """See ingest_paths."""
        quote(store)  # refuses, before anything is written, a name that no filter could hold
        if not 0 < len(store.encode()) <= 512:
            raise ValueError(f"a store's name has 1 to 512 bytes, not {len(store.encode())}")
        report = IngestReport(store)
        known = self._whole(store)
        found = list(find(paths))
        seen: dict[str, Path] = {}
        for done, (name, path) in enumerate(found, 1):
            try:
                if seen.setdefault(name, path) != path:
                    raise DocumentError(f"{name} is here twice, as {seen[name]} and {path}; rename one")
                outcome, chunks = self._file(store, name, path, known)
                getattr(report, outcome).append(name)
                report.chunks += chunks
            except DocumentError as error:
                report.failed.append(Failure(name, error.code, str(error)))
            except OSError as error:
                report.failed.append(Failure(name, "invalid_file", f"{path} cannot be read: {error.strerror}"))
            if progress is not None:
                progress(done, len(found), name)
        if report.added or report.changed:
            self._index.flush()
        return report

    def _whole(self, store: str) -> dict[str, Entry]:
        """The files that the manifest has and the index holds whole. Files are counted one by one only if the sum is wrong."""
        entries = self._manifest.entries(store)
        if self._index.count(store) == sum(entry.chunks for entry in entries.values()):
            return entries
        return {key: entry for key, entry in entries.items() if self._index.count(store, key) == entry.chunks}

    def _file(self, store: str, name: str, path: Path, known: dict[str, Entry]) -> tuple[Outcome, int]:
        """Bring one file in. Raises DocumentError or OSError; what was there of the file stays, then."""
        key = file_id(store, name)
        content = path.read_bytes()
        digest = hashlib.sha256(self._recipe.encode() + b"\0" + content).hexdigest()
        before = known.get(key)
        if before and before.digest == digest:
            return "unchanged", 0
        chunks = self._chunker.chunks(convert_bytes(name, content))
        rows = [
            Row(
                f"{key}:{chunk.index}", store, key, name, chunk.index, chunk.indexed, chunk.page, chunk.start, chunk.end
            )
            for chunk in chunks
        ]
        vectors = self._embedder.embed([row.text for row in rows])
        self._manifest.remove(store, key)
        self._index.delete_file(store, key)
        self._index.upsert(rows, vectors)
        self._manifest.put(store, Entry(key, name, digest, len(rows)))
        return ("changed" if before else "added"), len(rows)


def find(paths: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    """Every file with its name in the store: relative to the folder that was given, or just the name of a file that was given.

    Hidden files and folders (with a leading dot) inside a folder are passed over. A path that does not exist is given back as
    it is, so that it is reported.
    """
    for path in paths:
        if not path.is_dir():
            yield path.name, path
            continue
        for entry in sorted(path.rglob("*")):
            relative = entry.relative_to(path)
            if entry.is_file() and not any(part.startswith(".") for part in relative.parts):
                yield relative.as_posix(), entry
