"""For tests: collections of chunks in dictionaries."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gateway.errors import KnowledgeUnavailable
from gateway.knowledge.index.chunks import Owner, Row, RowsRefused, Vectors


class MemoryIndex:
    """Keeps what a ChunkIndex is given. `away` makes every call fail as an unreachable Milvus does; `flushes` counts them.

    poison: rows with this text are refused, though nothing about them looks wrong.
    """

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, tuple[Row, NDArray[np.float32]]]] = {}
        self.dimensions: dict[str, int] = {}
        self.aliases: dict[str, str] = {}
        self.away = False
        self.flushes = 0
        self.poison = ""

    async def ensure(self, collection: str, dimension: int) -> None:
        """See ChunkIndex."""
        self._answer()
        held = self.dimensions.setdefault(collection, dimension)
        self.rows.setdefault(collection, {})
        if held != dimension:
            raise ValueError(f"the collection {collection} holds vectors of {held} dimensions, not of {dimension}")

    async def upsert(self, collection: str, rows: Sequence[Row], vectors: Vectors) -> None:
        """See ChunkIndex."""
        self._answer()
        if collection not in self.rows:
            raise KnowledgeUnavailable(f"there is no collection {collection}")
        for row in rows:
            row.check()
            if self.poison and self.poison in row.text:
                raise RowsRefused(f"row {row.index} is poison")
        self.rows[collection] |= {row.id: (row, vector) for row, vector in zip(rows, vectors, strict=True)}

    async def delete(self, collection: str, owner: Owner, *, before: int | None = None) -> None:
        """See ChunkIndex."""
        self._answer()
        rows = self.rows.get(collection, {})
        for key in [key for key, (row, _) in rows.items() if _owns(owner, row)]:
            if before is None or rows[key][0].generation < before:
                del rows[key]

    async def vectors(self, collection: str, owner: Owner) -> Mapping[str, NDArray[np.float32]]:
        """See ChunkIndex."""
        self._answer()
        return {row.text: vector for row, vector in self.rows.get(collection, {}).values() if _owns(owner, row)}

    async def count(self, collection: str, owner: Owner) -> int:
        """See ChunkIndex."""
        self._answer()
        return sum(_owns(owner, row) for row, _ in self.rows.get(collection, {}).values())

    async def members(self, collection: str) -> Mapping[tuple[str, str, str], Mapping[int, int]]:
        """See ChunkIndex."""
        self._answer()
        found: dict[tuple[str, str, str], Counter[int]] = {}
        for row, _ in self.rows.get(collection, {}).values():
            found.setdefault((row.tenant, row.store, row.file_id), Counter())[row.generation] += 1
        return found

    async def flush(self, collection: str) -> None:
        """See ChunkIndex."""
        self._answer()
        self.flushes += 1

    async def point(self, alias: str, collection: str) -> None:
        """See ChunkIndex."""
        self._answer()
        self.aliases[alias] = collection

    async def drop(self, collection: str) -> None:
        """See ChunkIndex."""
        self._answer()
        self.rows.pop(collection, None)
        self.dimensions.pop(collection, None)

    async def close(self) -> None:
        """Nothing is open."""

    def _answer(self) -> None:
        if self.away:
            raise KnowledgeUnavailable("Milvus is away")


def _owns(owner: Owner, row: Row) -> bool:
    return (row.tenant, row.store) == (owner.tenant, owner.store) and owner.file_id in (None, row.file_id)
