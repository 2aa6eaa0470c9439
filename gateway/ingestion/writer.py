"""Chunks of members go into a collection: what is there already keeps its vector, the rest is embedded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.ingestion.embedding import ChunkEmbedder
from gateway.knowledge.catalog.types import ChunkRecord, Collection, Member
from gateway.knowledge.embedder import Vectors
from gateway.knowledge.index import ChunkIndex, Owner, Row
from gateway.knowledge.windows import Windows

SLICE = 1024
"""Chunks that are embedded and written together. What of a long document is written needs no vector again after a crash."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A member and its chunks. `known`: whether rows of it may be in the collection already."""

    member: Member
    chunks: Sequence[ChunkRecord]
    known: bool

    @property
    def owner(self) -> Owner:
        """Whose rows they are."""
        return owner_of(self.member)


def owner_of(member: Member) -> Owner:
    """The owner of a member's rows."""
    return Owner(tenant=member.tenant, store=member.store_id, file_id=member.file_id)


class Writer:
    """Writes members' rows. One for each process.

    count, window: how tokens of the embedding model are counted, and how many it reads at once.
    """

    def __init__(self, index: ChunkIndex, embedder: ChunkEmbedder, *, count: Callable[[str], int], window: int) -> None:
        self._index = index
        self._embedder = embedder
        self._count = count
        self._window = window

    async def write(self, collection: Collection, entries: Sequence[Entry]) -> list[Entry]:
        """Bring the rows in, take away what older generations had more, flush. Gives the entries whose rows are all there.

        Raises KnowledgeUnavailable; writing again is harmless.
        """
        held: dict[str, Mapping[str, NDArray[np.float32]]] = {}
        for entry in entries:
            if entry.known:
                held[_key(entry.member)] = await self._index.vectors(collection.name, entry.owner)
        rows = [_row(entry.member, chunk) for entry in entries for chunk in entry.chunks]
        for at in range(0, len(rows), SLICE):
            part = rows[at : at + SLICE]
            found = [held.get(f"{row.store}/{row.file_id}", {}).get(row.text) for row in part]
            fresh = await self._embed(
                collection.embedding_model, [row.text for row, old in zip(part, found, strict=True) if old is None]
            )
            new = iter(fresh)
            vectors = np.stack([next(new) if old is None else old for old in found]).astype(np.float32)
            await self._index.upsert(collection.name, part, vectors)
        for entry in entries:
            if entry.known:
                await self._index.delete(collection.name, entry.owner, before=entry.member.generation)
        await self._index.flush(collection.name)
        return [e for e in entries if await self._index.count(collection.name, e.owner) == len(e.chunks)]

    async def _embed(self, model: str, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.empty((0, 0), np.float32)
        windows = Windows.of(texts, self._count, self._window)
        return windows.join(await self._embedder.embed(model, windows.pieces))


def _key(member: Member) -> str:
    return f"{member.store_id}/{member.file_id}"


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
