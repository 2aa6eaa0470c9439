"""The Milvus collection of all knowledge stores (docs/contracts.md), as its one writer sees it.

Analyzer of `text`, for BM25: Milvus has an `english` analyzer (stemming and stop words); Milvus Lite 3.2.2 refuses it when the
collection is made ("unknown tokenizer type: 'english'", it knows `standard` and `jieba`). Of the filters of a custom analyzer
Lite takes `stop` with a list of words and passes over all others without a word: `lowercase` (it always does that), `stemmer`,
and the name `_english_` in a stop list, which is taken as a word. So the analyzer is spelled out below: on a Milvus server it
is the `english` one, on Lite it has the stop words and no stemming.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from pymilvus import DataType, Function, FunctionType, MilvusClient
from pymilvus.exceptions import MilvusException

from gateway.errors import KnowledgeUnavailable
from gateway.knowledge.embedder import Vectors
from gateway.knowledge.filters import file_filter, store_filter

COLLECTION = "ragfleet_folder"

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


@dataclass(frozen=True, slots=True)
class Row:
    """One chunk as it stands in the collection, without its vector. `text` ends with the `end - start` characters of its span."""

    id: str
    store: str
    file_id: str
    filename: str
    index: int
    text: str
    page: int
    start: int
    end: int
    attributes: dict[str, Any] = field(default_factory=dict)
    """None yet; retrieval asks for them."""


class ChunkIndex(Protocol):
    """What ingestion needs of the index. One writer at a time."""

    def upsert(self, rows: Sequence[Row], vectors: Vectors) -> None:
        """Write rows with their vectors, in place of those with the same ids. Makes the collection when there is none."""
        ...

    def delete_file(self, store: str, file_id: str) -> None:
        """Remove all rows of a file."""
        ...

    def count(self, store: str, file_id: str | None = None) -> int:
        """Rows of a store, or of one of its files; 0 where there is no collection."""
        ...

    def flush(self) -> None:
        """Make what was written durable and quick to search: Lite scans what is not flushed, ten times slower."""
        ...


class MilvusIndex:
    """The collection in a Milvus server or in Milvus Lite's. Its methods raise KnowledgeUnavailable when Milvus is away."""

    def __init__(self, uri: str, *, collection: str = COLLECTION, timeout_s: float = 15.0) -> None:
        self._uri = uri
        self._collection = collection
        self._timeout_s = timeout_s
        with self._translated():
            self._client = MilvusClient(uri, timeout=timeout_s)
        self._dimension: int | None = None

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def upsert(self, rows: Sequence[Row], vectors: Vectors) -> None:
        """See ChunkIndex. Raises ValueError when the collection was made for vectors of another dimension."""
        if not rows:
            return
        with self._translated():
            self._ensure(vectors.shape[1])
            data = [{**asdict(row), "dense": vector} for row, vector in zip(rows, vectors, strict=True)]
            for at in range(0, len(data), _BATCH):
                self._client.upsert(self._collection, data[at : at + _BATCH], timeout=self._timeout_s)

    def delete_file(self, store: str, file_id: str) -> None:
        """See ChunkIndex."""
        with self._translated():
            if self._ready():
                self._client.delete(self._collection, filter=file_filter(store, file_id), timeout=self._timeout_s)

    def count(self, store: str, file_id: str | None = None) -> int:
        """See ChunkIndex."""
        expression = store_filter(store) if file_id is None else file_filter(store, file_id)
        with self._translated():
            if not self._ready():
                return 0
            # Strong: what was written a moment ago is counted. Lite has no levels and passes over it.
            answer = self._client.query(
                self._collection,
                expression,
                output_fields=["count(*)"],
                timeout=self._timeout_s,
                consistency_level="Strong",
            )
        return int(answer[0]["count(*)"])

    def flush(self) -> None:
        """See ChunkIndex."""
        with self._translated():
            if self._ready():
                self._client.flush(self._collection, timeout=self._timeout_s)

    def _ready(self) -> bool:
        """Whether there is the collection; it is loaded, too, which Milvus Lite forgets when it restarts.

        One of an older schema, without attributes, is dropped: ingestion sees that its rows are gone and writes them anew.
        """
        if not self._client.has_collection(self._collection, timeout=self._timeout_s):
            return False
        fields = self._client.describe_collection(self._collection, timeout=self._timeout_s)["fields"]
        if all(each["name"] != "attributes" for each in fields):
            self._client.drop_collection(self._collection, timeout=self._timeout_s)
            return False
        self._client.load_collection(self._collection, timeout=self._timeout_s)
        return True

    def _ensure(self, dimension: int) -> None:
        if self._dimension is None:
            if not self._ready():
                schema, indices = _schema(self._client, dimension)
                self._client.create_collection(
                    self._collection, schema=schema, index_params=indices, timeout=self._timeout_s
                )
            fields = self._client.describe_collection(self._collection, timeout=self._timeout_s)["fields"]
            self._dimension = next(int(field["params"]["dim"]) for field in fields if field["name"] == "dense")
        if dimension != self._dimension:
            raise ValueError(
                f"the collection {self._collection} holds vectors of {self._dimension} dimensions, the embedding model makes "
                f"{dimension}; use the model it was made with, or drop the collection and ingest again"
            )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except MilvusException as error:
            raise KnowledgeUnavailable(f"Milvus at {self._uri}: {error.message}") from error


def _schema(client: MilvusClient, dimension: int) -> tuple[Any, Any]:
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=128)
    schema.add_field("store", DataType.VARCHAR, is_partition_key=True, max_length=512)
    schema.add_field("file_id", DataType.VARCHAR, max_length=128)
    schema.add_field("filename", DataType.VARCHAR, max_length=4096)
    schema.add_field("index", DataType.INT64)
    schema.add_field("text", DataType.VARCHAR, max_length=65535, enable_analyzer=True, analyzer_params=ANALYZER)
    schema.add_field("page", DataType.INT64)
    schema.add_field("start", DataType.INT64)
    schema.add_field("end", DataType.INT64)
    schema.add_field("attributes", DataType.JSON)
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=dimension)
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(
        Function("bm25", FunctionType.BM25, input_field_names=["text"], output_field_names=["sparse"]),
    )
    indices = client.prepare_index_params()
    indices.add_index("dense", index_type="AUTOINDEX", metric_type="COSINE")
    indices.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    return schema, indices


class MemoryIndex:
    """For tests: the rows in a dictionary."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}

    def upsert(self, rows: Sequence[Row], vectors: Vectors) -> None:
        """See ChunkIndex."""
        if len(rows) != len(vectors):
            raise ValueError("a vector for each row, please")
        self.rows |= {row.id: row for row in rows}

    def delete_file(self, store: str, file_id: str) -> None:
        """See ChunkIndex."""
        self.rows = {key: row for key, row in self.rows.items() if (row.store, row.file_id) != (store, file_id)}

    def count(self, store: str, file_id: str | None = None) -> int:
        """See ChunkIndex."""
        return sum(row.store == store and file_id in (None, row.file_id) for row in self.rows.values())

    def flush(self) -> None:
        """See ChunkIndex; there is nothing to do."""
