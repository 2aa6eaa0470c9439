"""Collections of chunks in a Milvus server or in Milvus Lite's."""

import asyncio
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pymilvus import MilvusClient
from pymilvus.exceptions import DataNotMatchException, MilvusException, ParamError

from gateway.config import Settings
from gateway.errors import KnowledgeUnavailable
from gateway.knowledge.index.chunks import Owner, Row, RowsRefused, Vectors
from gateway.knowledge.index.schema import collection_schema, keywords

log = logging.getLogger("ragfleet.knowledge")

T = TypeVar("T")

_BATCH = 500
_BATCH_BYTES = 8 << 20
"""Of texts in one message; a message has 64 MiB at the most."""
_CHANNEL = MappingProxyType(
    {
        # pymilvus pings an idle connection every 10 s. Servers of gRPC's own defaults (Milvus Lite) allow it every 5 min, and end
        # the connection of who does it more often ("too_many_pings"): also while a call begins.
        "grpc.keepalive_permit_without_calls": 0,
        "grpc.keepalive_time_ms": 60_000,
        # A Milvus that comes back after a long time is seen soon; gRPC's own default is two minutes.
        "grpc.max_reconnect_backoff_ms": 3_000,
        # Not shared with a connection before this one, whose wait before the next try would go on.
        "grpc.use_local_subchannel_pool": 1,
    }
)
_PAGE = 1000
"""Rows that are read with their vectors at a time; 1,000 of 384 dimensions are 2 MB (the limit of a message is 64)."""


class MilvusIndex:
    """Collections in a Milvus server or in Milvus Lite's.

    pymilvus's AsyncMilvusClient cannot make an index on Lite (it asks for a timestamp, which Lite does not give), so this is the
    blocking one in a thread of its own: one, because Lite wants the writes to a collection one at a time, also after a
    caller was cancelled.

    replicas: in-memory copies of each collection (`load_collection(replica_number=…)`); more than one needs as many query nodes.
    """

    def __init__(
        self, uri: str, *, token: str = "", ca_file: Path | None = None, replicas: int = 1, timeout_s: float = 15.0
    ) -> None:
        self._uri = uri
        self._token = token
        # pymilvus's name for the authority's certificate, which only an https:// address makes it look at.
        self._trust = {} if ca_file is None else {"server_pem_path": str(ca_file)}
        self._replicas = replicas
        self._timeout_s = timeout_s
        self._client: Any = None
        self._loaded: set[str] = set()
        self._with_keywords: set[str] = set()
        """Collections of the present schema."""
        self._thread = ThreadPoolExecutor(1, "milvus")

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The index of a gateway."""
        return cls(
            settings.milvus_uri,
            token=settings.milvus_token,
            ca_file=settings.ca_file,
            replicas=settings.milvus_replicas,
        )

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
        for first, last in _batches(rows):
            await self._run(self._upsert, collection, rows[first:last], vectors[first:last])

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
            await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
            raise KnowledgeUnavailable(f"Milvus at {self._uri}: {error.message}") from error

    # In the thread

    @property
    def _milvus(self) -> Any:
        if self._client is None:
            self._client = MilvusClient(
                self._uri,
                token=self._token,
                timeout=self._timeout_s,
                dedicated=True,
                grpc_options=_CHANNEL,
                **self._trust,
            )
        return self._client

    def _disconnect(self) -> None:
        """The next call connects anew: a channel that was closed once stays so."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _ready(self, collection: str) -> bool:
        """Whether there is the collection; it is loaded, too."""
        if collection not in self._loaded:
            if not self._milvus.has_collection(collection, timeout=self._timeout_s):
                return False
            self._milvus.load_collection(collection, replica_number=self._replicas, timeout=self._timeout_s)
            if any(each["name"] == "keywords" for each in self._describe(collection)):
                self._with_keywords.add(collection)
            self._loaded.add(collection)
        return True

    def _ensure(self, collection: str, dimension: int) -> int:
        if not self._ready(collection):
            schema, indices = collection_schema(dimension)
            self._milvus.create_collection(
                collection, schema=schema, index_params=indices, timeout=self._timeout_s, num_replicas=self._replicas
            )
            self._ready(collection)
        return next(int(each["params"]["dim"]) for each in self._describe(collection) if each["name"] == "dense")

    def _describe(self, collection: str) -> list[dict[str, Any]]:
        """Its fields."""
        fields: list[dict[str, Any]] = self._milvus.describe_collection(collection, timeout=self._timeout_s)["fields"]
        return fields

    def _upsert(self, collection: str, rows: Sequence[Row], vectors: Vectors) -> None:
        self._ready(collection)
        data = [{**asdict(row), "id": row.id, "dense": vector} for row, vector in zip(rows, vectors, strict=True)]
        if collection in self._with_keywords:
            for each in data:
                each["keywords"] = keywords(each["text"])
        try:
            self._milvus.upsert(collection, data, timeout=self._timeout_s)
        except MilvusException as error:
            if _is_refusal(error):
                raise RowsRefused(error.message or str(error)) from error
            raise

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


def _is_refusal(error: MilvusException) -> bool:
    """Whether the rows are at fault, for an error of an upsert. What is not plainly so may pass, and counts as an absence: a
    connection, a time-out, a leader that is being chosen, a quota, a password."""
    # 1100…1199 are Milvus's invalid parameters (merr.ErrParameterInvalid and its kin), 6 is Milvus Lite's one code for them;
    # pymilvus looks at types and lengths by itself.
    invalid = 1100 <= error.code < 1200 or error.code == 6
    return bool(error.is_input_error or invalid or isinstance(error, DataNotMatchException | ParamError))


def _batches(rows: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """First and behind the last row of each message."""
    first = size = 0
    for number, row in enumerate(rows):
        length = len(row.text.encode(errors="replace"))
        if number - first == _BATCH or (size + length > _BATCH_BYTES and number > first):
            yield first, number
            first, size = number, 0
        size += length
    if first < len(rows):
        yield first, len(rows)
