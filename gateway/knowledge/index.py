"""The Milvus collections of chunks (docs/contracts.md), as their one writer sees them.

Every row belongs to one member (a file in a store) of one tenant, and carries the generation of the member that wrote it. A new
generation's rows take the place of those with the same index; what is then left of an older one is deleted. So a document stays
searchable while it is replaced, and writing a member twice is writing it once.

Analyzer of `text`, for BM25: Milvus has an `english` analyzer (stemming and stop words); Milvus Lite 3.2.2 refuses it when the
collection is made ("unknown tokenizer type: 'english'", it knows `standard` and `jieba`). Of the filters of a custom analyzer
Lite takes `stop` with a list of words and passes over all others without a word: `lowercase` (it always does that), `stemmer`,
and the name `_english_` in a stop list, which is taken as a word. So the analyzer is spelled out below: on a Milvus server it
is the `english` one, on Lite it has the stop words and no stemming.
"""

import asyncio
import hashlib
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pymilvus import DataType, Function, FunctionType, MilvusClient
from pymilvus.exceptions import MilvusException

from gateway.errors import KnowledgeUnavailable
from gateway.knowledge.filters import quote

log = logging.getLogger("ragfleet.knowledge")

T = TypeVar("T")

Vectors = NDArray[np.float32]

ALIAS = "ragfleet_chunks"
"""What stands for the active collection, for clients of Triton that know nothing of the catalog."""

SCHEMA_VERSION = 2
"""Raised when `_schema` changes, so that the rows are made anew beside the old ones."""

# Lucene's English list, which is Milvus's `_english_`, too.
_STOP_WORDS = (
    "a an and are as at be but by for if in into is it no not of on or such "
    "that the their then there these they this to was will with"
)

ANALYZER = {
    "tokenizer": "standard",
    "filter": [
        "lowercase",
        {"type": "stop", "stop_words": _STOP_WORDS.split()},
        {"type": "stemmer", "language": "english"},
    ],
}

_BATCH = 500
_PAGE = 1000
"""Rows that are read with their vectors at a time; 1,000 of 384 dimensions are 2 MB (the limit of a message is 64)."""


def collection_name(embedding_model: str) -> str:
    """The name of the collection that holds this model's vectors in the present schema."""
    digest = hashlib.sha256(f"{embedding_model}\0{SCHEMA_VERSION}".encode()).hexdigest()
    return f"{ALIAS}_{digest[:8]}"


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
    """Collections of chunks. One writer at a time; every method raises KnowledgeUnavailable when Milvus is away."""

    async def ensure(self, collection: str, dimension: int) -> None:
        """Make the collection if it is not there, and load it. Raises ValueError where it holds vectors of another dimension."""
        ...

    async def upsert(self, collection: str, rows: Sequence[Row], vectors: Vectors) -> None:
        """Write rows with their vectors (float32 (len(rows), dimension)), in place of those with the same ids."""
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


class MilvusIndex:
    """Collections in a Milvus server or in Milvus Lite's.

    pymilvus's AsyncMilvusClient cannot make an index on Lite (it asks for a timestamp, which Lite does not give), so this is the
    blocking one in a thread of its own: one, because Lite wants the writes to a collection one at a time, also after a
    caller was cancelled.

    replicas: in-memory copies of each collection (`load_collection(replica_number=…)`); more than one needs as many query nodes.
    """

    def __init__(self, uri: str, *, token: str = "", replicas: int = 1, timeout_s: float = 15.0) -> None:
        self._uri = uri
        self._token = token
        self._replicas = replicas
        self._timeout_s = timeout_s
        self._client: Any = None
        self._loaded: set[str] = set()
        self._thread = ThreadPoolExecutor(1, "milvus")

    async def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, client.close)
        self._thread.shutdown(wait=False)

    async def ensure(self, collection: str, dimension: int) -> None:
        """See ChunkIndex."""
        held = await self._run(self._ensure, collection, dimension)
        if held != dimension:
            raise ValueError(
                f"the collection {collection} holds vectors of {held} dimensions, the embedding model makes {dimension}; "
                "give the new model's folder another name and re-embed (ragfleet reembed)"
            )

    async def upsert(self, collection: str, rows: Sequence[Row], vectors: Vectors) -> None:
        """See ChunkIndex."""
        for at in range(0, len(rows), _BATCH):
            await self._run(self._upsert, collection, rows[at : at + _BATCH], vectors[at : at + _BATCH])

    async def delete(self, collection: str, owner: Owner, *, before: int | None = None) -> None:
        """See ChunkIndex."""
        expression = owner.filter if before is None else f"{owner.filter} and generation < {before:d}"
        await self._run(self._delete, collection, expression)

    async def vectors(self, collection: str, owner: Owner) -> Mapping[str, NDArray[np.float32]]:
        """See ChunkIndex. The indices of a member have no gaps, so an empty page is behind the last."""
        found: dict[str, NDArray[np.float32]] = {}
        for first in itertools.count(0, _PAGE):
            page = f"{owner.filter} and index >= {first} and index < {first + _PAGE}"
            rows = await self._run(self._query, collection, page, ["text", "dense"])
            if not rows:
                break
            found |= {row["text"]: np.asarray(row["dense"], np.float32) for row in rows}
        return found

    async def count(self, collection: str, owner: Owner) -> int:
        """See ChunkIndex."""
        rows = await self._run(self._query, collection, owner.filter, ["count(*)"])
        return int(rows[0]["count(*)"]) if rows else 0

    async def members(self, collection: str) -> Mapping[tuple[str, str, str], Mapping[int, int]]:
        """See ChunkIndex."""
        found: dict[tuple[str, str, str], Counter[int]] = {}
        iterator = await self._run(self._iterator, collection, ["tenant", "store", "file_id", "generation"])
        while iterator is not None:
            rows = await self._run(iterator.next)
            if not rows:
                await self._run(iterator.close)
                break
            for row in rows:
                key = row["tenant"], row["store"], row["file_id"]
                found.setdefault(key, Counter())[row["generation"]] += 1
        return found

    async def flush(self, collection: str) -> None:
        """See ChunkIndex."""
        await self._run(self._flush, collection)

    async def point(self, alias: str, collection: str) -> None:
        """See ChunkIndex."""
        await self._run(self._point, alias, collection)

    async def drop(self, collection: str) -> None:
        """See ChunkIndex."""
        await self._run(self._drop, collection)

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
        except MilvusException as error:
            self._loaded.clear()  # it may have been restarted, and Lite has then forgotten what was loaded
            raise KnowledgeUnavailable(f"Milvus at {self._uri}: {error.message}") from error

    # In the thread

    @property
    def _milvus(self) -> Any:
        if self._client is None:
            self._client = MilvusClient(self._uri, token=self._token, timeout=self._timeout_s)
        return self._client

    def _ready(self, collection: str) -> bool:
        """Whether there is the collection; it is loaded, too."""
        if collection not in self._loaded:
            if not self._milvus.has_collection(collection, timeout=self._timeout_s):
                return False
            self._milvus.load_collection(collection, replica_number=self._replicas, timeout=self._timeout_s)
            self._loaded.add(collection)
        return True

    def _ensure(self, collection: str, dimension: int) -> int:
        if not self._ready(collection):
            schema, indices = _schema(dimension)
            self._milvus.create_collection(
                collection, schema=schema, index_params=indices, timeout=self._timeout_s, num_replicas=self._replicas
            )
            self._ready(collection)
        described = self._milvus.describe_collection(collection, timeout=self._timeout_s)
        return next(int(each["params"]["dim"]) for each in described["fields"] if each["name"] == "dense")

    def _upsert(self, collection: str, rows: Sequence[Row], vectors: Vectors) -> None:
        self._ready(collection)
        data = [{**asdict(row), "id": row.id, "dense": vector} for row, vector in zip(rows, vectors, strict=True)]
        self._milvus.upsert(collection, data, timeout=self._timeout_s)

    def _delete(self, collection: str, expression: str) -> None:
        if self._ready(collection):
            self._milvus.delete(collection, filter=expression, timeout=self._timeout_s)

    def _flush(self, collection: str) -> None:
        if self._ready(collection):
            self._milvus.flush(collection, timeout=self._timeout_s)

    def _point(self, alias: str, collection: str) -> None:
        if alias in self._milvus.list_collections(timeout=self._timeout_s):  # of version 0.1, which had no aliases
            log.warning("a collection has the name %r: the alias is not set until it is dropped or renamed", alias)
            return
        if alias in self._milvus.list_aliases("", timeout=self._timeout_s)["aliases"]:
            self._milvus.alter_alias(collection, alias, timeout=self._timeout_s)
        else:
            self._milvus.create_alias(collection, alias, timeout=self._timeout_s)

    def _drop(self, collection: str) -> None:
        self._loaded.discard(collection)
        if self._milvus.has_collection(collection, timeout=self._timeout_s):
            self._milvus.drop_collection(collection, timeout=self._timeout_s)

    # Strong: what was written a moment ago is there. Lite has no levels and passes over it.

    def _query(self, collection: str, expression: str, fields: list[str]) -> list[dict[str, Any]]:
        if not self._ready(collection):
            return []
        return list(
            self._milvus.query(
                collection, expression, output_fields=fields, timeout=self._timeout_s, consistency_level="Strong"
            )
        )

    def _iterator(self, collection: str, fields: list[str]) -> Any:
        if not self._ready(collection):
            return None
        return self._milvus.query_iterator(
            collection,
            _PAGE,
            filter="generation >= 0",
            output_fields=fields,
            timeout=self._timeout_s,
            consistency_level="Strong",
        )


def _schema(dimension: int) -> tuple[Any, Any]:
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=256)
    schema.add_field("tenant", DataType.VARCHAR, is_partition_key=True, max_length=256)
    schema.add_field("store", DataType.VARCHAR, max_length=64)
    schema.add_field("file_id", DataType.VARCHAR, max_length=64)
    schema.add_field("filename", DataType.VARCHAR, max_length=4096)
    schema.add_field("index", DataType.INT64)
    schema.add_field("text", DataType.VARCHAR, max_length=65535, enable_analyzer=True, analyzer_params=ANALYZER)
    schema.add_field("page", DataType.INT64)
    schema.add_field("start", DataType.INT64)
    schema.add_field("end", DataType.INT64)
    schema.add_field("attributes", DataType.JSON)
    schema.add_field("generation", DataType.INT64)
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=dimension)
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(
        Function("bm25", FunctionType.BM25, input_field_names=["text"], output_field_names=["sparse"]),
    )
    indices = MilvusClient.prepare_index_params()
    indices.add_index("dense", index_type="AUTOINDEX", metric_type="COSINE")
    indices.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    return schema, indices
