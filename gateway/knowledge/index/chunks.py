"""What an index of chunks is, as its one writer sees it.

Every row belongs to one member (a file in a store) of one tenant, and carries the generation of the member that wrote it. A new
generation's rows take the place of those with the same index; what is then left of an older one is deleted. So a document stays
searchable while it is replaced, and writing a member twice is writing it once.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gateway.knowledge.filters import quote

Vectors = NDArray[np.float32]

TEXT_BYTES = 65_535
"""Of a row's text in UTF-8, the most that Milvus takes. A Milvus server counts bytes, Milvus Lite characters."""
FILENAME_BYTES = 4096
ATTRIBUTES_BYTES = 65_536


class RowsRefused(Exception):
    """The index answered, and does not take these rows: it will not take them later either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One chunk as it stands in a collection, without its vector. `text` ends with the `end - start` characters of its span."""

    tenant: str
    store: str
    file_id: str
    filename: str
    index: int
    text: str
    page: int
    start: int
    end: int
    attributes: Mapping[str, Any] = field(default_factory=dict)
    generation: int = 1

    @property
    def id(self) -> str:
        """The primary key: `<store>/<file>/<index>`."""
        return f"{self.store}/{self.file_id}/{self.index}"

    def check(self) -> None:
        """Raises RowsRefused for what no index takes; cheaper than to embed it first."""
        sizes = (
            ("text", self.text, TEXT_BYTES),
            ("file name", self.filename, FILENAME_BYTES),
            ("attributes", json.dumps(dict(self.attributes), ensure_ascii=False), ATTRIBUTES_BYTES),
        )
        for name, value, limit in sizes:
            if 4 * len(value) > limit and (size := len(value.encode(errors="replace"))) > limit:
                raise RowsRefused(f"the {name} of its chunk {self.index} has {size:,} bytes, {limit:,} are the most")


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose rows: a member's, or without `file_id` a whole store's."""

    tenant: str
    store: str
    file_id: str | None = None

    @property
    def filter(self) -> str:
        """As a Milvus expression. The tenant comes first: it is the partition key."""
        parts = [f"tenant == {quote(self.tenant)}", f"store == {quote(self.store)}"]
        if self.file_id is not None:
            parts.append(f"file_id == {quote(self.file_id)}")
        return " and ".join(parts)


class ChunkIndex(Protocol):
    """Collections of chunks. One writer at a time; every method raises KnowledgeUnavailable when Milvus is away or refuses us."""

    async def ensure(self, collection: str, dimension: int) -> None:
        """Make the collection if it is not there, and load it. Raises ValueError where it holds vectors of another dimension."""
        ...

    async def upsert(self, collection: str, rows: Sequence[Row], vectors: Vectors) -> None:
        """Write rows with their vectors (float32 (len(rows), dimension)), in place of those with the same ids. Raises RowsRefused
        where the fault is in one of them; some of the others may then be written."""
        ...

    async def delete(self, collection: str, owner: Owner, *, before: int | None = None) -> None:
        """Remove the rows of a member or a store; with `before`, those of older generations only. No collection: nothing."""
        ...

    async def vectors(self, collection: str, owner: Owner) -> Mapping[str, NDArray[np.float32]]:
        """What is there already, by text: a text that did not change needs no new vector."""
        ...

    async def count(self, collection: str, owner: Owner) -> int:
        """Rows of a member or a store; 0 where there is no collection."""
        ...

    async def members(self, collection: str) -> Mapping[tuple[str, str, str], Mapping[int, int]]:
        """Every member that has rows, as (tenant, store, file id), with the number of its rows by generation."""
        ...

    async def flush(self, collection: str) -> None:
        """Make what was written durable and quick to search: Milvus Lite scans what is not flushed, ten times slower."""
        ...

    async def point(self, alias: str, collection: str) -> None:
        """Let the alias stand for this collection, whatever it stood for."""
        ...

    async def drop(self, collection: str) -> None:
        """Remove a collection; nothing happens when there is none."""
        ...
