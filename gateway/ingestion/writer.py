"""Chunks of members go into a collection: what is there already keeps its vector, the rest is embedded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gateway.ingestion.chunk_embedder import ChunkEmbedder, TextsRefused
from gateway.knowledge.catalog.types import ChunkRecord, Collection, Member
from gateway.knowledge.embedder import Vectors
from gateway.knowledge.index import ChunkIndex, Owner, Row, RowsRefused
from gateway.knowledge.text_windows import Windows
from gateway.telemetry import OFF, Tracing

SLICE = 1024
"""Chunks that are embedded and written together. What of a long document is written needs no vector again after a crash."""


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A member and its chunks. `known`: whether rows of it may be in the collection already."""

    member: Member
    chunks: Sequence[ChunkRecord]
    known: bool

    @property
    def owner(self) -> Owner:
        """Whose rows they are."""
        return owner_of(self.member)


@dataclass(frozen=True, slots=True)
class Written:
    """What became of entries: whose rows are all there, and which are refused, by the key of the member, with the reason. Of the
    rest rows are missing, or too many."""

    whole: list[IndexEntry] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def owner_of(member: Member) -> Owner:
    """The owner of a member's rows."""
    return Owner(tenant=member.tenant, store=member.store_id, file_id=member.file_id)


class Writer:
    """Writes members' rows. One for each process.

    count, window: how tokens of the embedding model are counted, and how many it reads at once.
    """

    def __init__(
        self,
        index: ChunkIndex,
        embedder: ChunkEmbedder,
        *,
        count: Callable[[str], int],
        window: int,
        tracing: Tracing = OFF,
    ) -> None:
        self._index = index
        self._tracing = tracing
        self._embedder = embedder
        self._count = count
        self._window = window

    async def write(self, collection: Collection, entries: Sequence[IndexEntry]) -> Written:
        """Bring the rows in, take away what older generations had more, flush. A member whose rows index or model refuse leaves
        the others alone.

        Raises KnowledgeUnavailable; writing again is harmless.
        """
        made = Written()
        held: dict[str, Mapping[str, NDArray[np.float32]]] = {}
        for entry in entries:
            if entry.known:
                held[key_of(entry.member)] = await self._index.vectors(collection.name, entry.owner)
        rows = [_row(entry.member, chunk) for entry in entries for chunk in entry.chunks]
        for row in rows:
            try:
                row.check()
            except RowsRefused as error:
                made.refused.setdefault(_key(row), str(error))
        for at in range(0, len(rows), SLICE):
            await self._bring(collection, rows[at : at + SLICE], held, made.refused)
        entries = [entry for entry in entries if key_of(entry.member) not in made.refused]
        for entry in entries:
            if entry.known:
                await self._index.delete(collection.name, entry.owner, before=entry.member.generation)
        await self._index.flush(collection.name)
        for entry in entries:
            if await self._index.count(collection.name, entry.owner) == len(entry.chunks):
                made.whole.append(entry)
        return made

    async def _bring(
        self,
        collection: Collection,
        rows: Sequence[Row],
        held: Mapping[str, Mapping[str, NDArray[np.float32]]],
        refused: dict[str, str],
    ) -> None:
        """Embed and write rows. Where they are refused, the half with the fault is looked for, down to the one member: it goes to
        `refused`, and the rows of others are written."""
        rows = [row for row in rows if _key(row) not in refused]
        if not rows:
            return
        try:
            found = [held.get(_key(row), {}).get(row.text) for row in rows]
            new = iter(
                await self._embed(collection, [row for row, old in zip(rows, found, strict=True) if old is None])
            )
            vectors = np.stack([next(new) if old is None else old for old in found]).astype(np.float32)
            with self._tracing.span("write rows", attributes={"ragfleet.rows": len(rows)}):
                await self._index.upsert(collection.name, rows, vectors)
        except (RowsRefused, TextsRefused) as error:
            if len({_key(row) for row in rows}) == 1:
                refused[_key(rows[0])] = str(error)
                return
            middle = len(rows) // 2
            for half in (rows[:middle], rows[middle:]):
                await self._bring(collection, half, held, refused)

    async def _embed(self, collection: Collection, rows: Sequence[Row]) -> Vectors:
        if not rows:
            return np.empty((0, 0), np.float32)
        windows = Windows.of([row.text for row in rows], self._count, self._window)
        model, tenant = collection.embedding_model, rows[0].tenant
        with self._tracing.span(
            "embed", attributes={"ragfleet.texts": len(windows.pieces), "gen_ai.request.model": model}
        ):
            return windows.join(await self._embedder.embed(model, windows.pieces, tenant=tenant))


def key_of(member: Member) -> str:
    """Names a member among those that are written together."""
    return f"{member.store_id}/{member.file_id}"


def _key(row: Row) -> str:
    return f"{row.store}/{row.file_id}"


def _row(member: Member, chunk: ChunkRecord) -> Row:
    return Row(
        tenant=member.tenant,
        store=member.store_id,
        file_id=member.file_id,
        filename=member.filename,
        index=chunk.index,
        text=chunk.text,
        page=chunk.page,
        start=chunk.start,
        end=chunk.end,
        attributes=dict(member.attributes),
        generation=member.generation,
    )
