"""One question to Milvus: a dense and a BM25 search beside each other, fused here, with the cosine of every passage found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval_search.errors import BadQuery, CollectionNotFound, RetrievalError, Unavailable
from retrieval_search.fusion import RANKERS, fuse

_FIELDS = ("store", "file_id", "filename", "index", "text", "page", "start", "end", "attributes")
# MilvusException codes: 100 in Milvus 2.3 and later (merr.ErrCollectionNotFound), 4 in the older numbering.
_NOT_FOUND_CODES = (100, 4)
# merr.ErrCollectionNotLoaded; Milvus Lite has every collection in this state when it has been started anew.
_NOT_LOADED_CODE = 101
# 1100 in Milvus (merr.ErrParameterInvalid), 6 in Milvus Lite: a filter that cannot be parsed and the like.
_INVALID_CODES = (1100, 6)


@dataclass(frozen=True)
class Settings:
    """`deadline_s` bounds one search with everything in it, connecting too. `candidates` is how many passages each of the
    two searches brings to the fusion: enough that `min_score` can drop some and `top_k` are left. `ranker` and
    `dense_weight` (see fusion.py) are for queries that name none.
    """

    uri: str
    token: str = ""
    deadline_s: float = 5.0
    candidates: int = 30
    ranker: str = "minmax"
    dense_weight: float = 0.5

    def __post_init__(self) -> None:
        _check_ranking(self.ranker, self.dense_weight)

    @classmethod
    def read(cls, parameters: Mapping[str, str], environment: Mapping[str, str]) -> Settings:
        """From config.pbtxt's parameters, then the environment. Raises ValueError for a number that is none."""
        return cls(
            uri=parameters.get("uri") or environment.get("MILVUS_URI") or "http://127.0.0.1:19530",
            token=environment.get("MILVUS_TOKEN", ""),
            deadline_s=int(parameters.get("deadline_ms") or 5000) / 1000,
            candidates=int(parameters.get("candidates") or cls.candidates),
            ranker=parameters.get("ranker") or cls.ranker,
            dense_weight=float(parameters.get("dense_weight") or cls.dense_weight),
        )


@dataclass(frozen=True, slots=True)
class Query:
    """`vector` is FP32 [dimensions], of any length; `filter` a Milvus expression, "" for none. `ranker` and `dense_weight`:
    see fusion.py; empty and None stand for the settings.
    """

    text: str
    vector: NDArray[np.float32]
    collection: str
    filter: str
    top_k: int
    min_score: float
    ranker: str = ""
    dense_weight: float | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What one search found, best first: the rows by id, and their scores there, where higher is better."""

    rows: Mapping[str, Mapping[str, Any]]
    scores: Mapping[str, float]


class Client(Protocol):
    """What is used of pymilvus's AsyncMilvusClient; the fake for tests is in tests/unit/retrieval."""

    async def search(self, collection_name: str, data: list[Any], **options: Any) -> Any: ...

    async def load_collection(self, collection_name: str, **options: Any) -> None: ...

    async def close(self) -> None: ...


class HybridSearch:
    """Holds one connection, made when it is first needed and made anew after it has failed. For one event loop."""

    def __init__(self, settings: Settings, connect: Callable[[Settings], Client] | None = None) -> None:
        self._settings = settings
        self._connect = connect or _pymilvus
        self._client: Client | None = None

    async def search(self, query: Query) -> list[dict[str, Any]]:
        """Passages, best first, as docs/contracts.md describes them; [] without a collection.

        Raises Unavailable within the deadline, CollectionNotFound, BadQuery.
        """
        if not query.collection or query.top_k <= 0:
            return []
        ranker = query.ranker or self._settings.ranker
        weight = self._settings.dense_weight if query.dense_weight is None else query.dense_weight
        try:
            _check_ranking(ranker, weight)
        except ValueError as error:
            raise BadQuery(str(error)) from None
        if not query.text.strip():
            ranker = "dense"
        try:
            async with asyncio.timeout(self._settings.deadline_s):
                dense, bm25 = await self._found(query, ranker)
        except TimeoutError:
            await self._drop()
            raise Unavailable(
                f"Milvus at {self._settings.uri} did not answer within {self._settings.deadline_s:g} s"
            ) from None
        return _passages(dense, bm25, fuse(dense.scores, bm25.scores, ranker=ranker, dense_weight=weight), query)

    async def close(self) -> None:
        await self._drop()

    async def _found(self, query: Query, ranker: str) -> tuple[Found, Found]:
        connected = self._client is not None
        try:
            return await self._try(query, ranker)
        except Unavailable:
            # A connection from before may have died with a Milvus that is back already: a new one deserves a try.
            if not connected:
                raise
            return await self._try(query, ranker)

    async def _try(self, query: Query, ranker: str) -> tuple[Found, Found]:
        """Both searches. A failure other than the caller's fault costs the connection."""
        import grpc
        from pymilvus.exceptions import MilvusException

        try:
            if self._client is None:
                self._client = self._connect(self._settings)
            try:
                return await self._both(self._client, query, ranker)
            except MilvusException as error:
                if error.code != _NOT_LOADED_CODE:
                    raise
                await self._client.load_collection(query.collection, timeout=self._settings.deadline_s)
                return await self._both(self._client, query, ranker)
        except MilvusException as error:
            refusal = _refusal(error, query)
            if isinstance(refusal, Unavailable):
                await self._drop()
            raise refusal from error
        except (grpc.RpcError, OSError) as error:
            await self._drop()
            raise Unavailable(f"Milvus at {self._settings.uri}: {error}") from error

    async def _both(self, client: Client, query: Query, ranker: str) -> tuple[Found, Found]:
        """The dense and the BM25 search at the same time, without the one that the ranker does not want."""
        nothing = Found({}, {})
        if ranker == "dense":
            return await self._dense(client, query), nothing
        if ranker == "bm25":
            return nothing, await self._bm25(client, query)
        tasks = (
            asyncio.ensure_future(self._dense(client, query)),
            asyncio.ensure_future(self._bm25(client, query)),
        )
        try:
            dense, bm25 = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()  # the other one, where one has failed
            await asyncio.gather(*tasks, return_exceptions=True)
        return dense, bm25

    async def _dense(self, client: Client, query: Query) -> Found:
        return await self._search(client, query, "dense")

    async def _bm25(self, client: Client, query: Query) -> Found:
        return await self._search(client, query, "sparse")

    async def _search(self, client: Client, query: Query, field: str) -> Found:
        words = field == "sparse"
        answer = await client.search(
            query.collection,
            [query.text if words else query.vector.tolist()],
            filter=query.filter,
            limit=max(self._settings.candidates, query.top_k),
            # What the dense search did not find needs a cosine, too: the vector comes with it.
            output_fields=[*_FIELDS, "dense"] if words else list(_FIELDS),
            search_params={"metric_type": "BM25" if words else "COSINE"},
            anns_field=field,
            timeout=self._settings.deadline_s,
        )
        hits = list(answer[0]) if answer else []
        # Milvus Lite 3.2.2 gives BM25 scores, which are never negative, with the sign of distances.
        return Found(
            {hit["id"]: hit["entity"] for hit in hits},
            {hit["id"]: abs(hit["distance"]) if words else hit["distance"] for hit in hits},
        )

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()


def _check_ranking(ranker: str, dense_weight: float) -> None:
    if ranker not in RANKERS:
        raise ValueError(f"ranker {ranker!r} is none of {', '.join(RANKERS)}")
    if not 0 <= dense_weight <= 1:
        raise ValueError(f"dense_weight {dense_weight:g} is not between 0 and 1")


def _passages(dense: Found, bm25: Found, order: list[str], query: Query) -> list[dict[str, Any]]:
    """Rows in the order of the fusion, with the cosine as their score; those under `min_score` are left out."""
    length = float(np.linalg.norm(query.vector)) or 1.0
    passages = []
    for key in order:
        if key in dense.rows:
            row, score = dense.rows[key], dense.scores[key]
        else:
            row = bm25.rows[key]
            vector = np.asarray(row["dense"], np.float32)
            score = float(vector @ query.vector) / (length * (float(np.linalg.norm(vector)) or 1.0))
        if score >= query.min_score:
            passages.append({"id": key, **{name: row[name] for name in _FIELDS}, "score": round(score, 6)})
    return passages[: query.top_k]


def _refusal(error: Any, query: Query) -> RetrievalError:
    """The kind of a MilvusException; whatever is not plainly the caller's fault may pass, and counts as unavailable."""
    reason = str(error.message) or f"Milvus error {error.code} without a text"
    if error.code in _NOT_FOUND_CODES:
        return CollectionNotFound(query.collection)
    if error.code in _INVALID_CODES or "dimension" in reason:
        return BadQuery(reason)
    return Unavailable(reason)


def _pymilvus(settings: Settings) -> Client:
    from pymilvus import AsyncMilvusClient

    client: Client = AsyncMilvusClient(
        settings.uri,
        token=settings.token,
        timeout=settings.deadline_s,
        dedicated=True,
        # gRPC would share a broken connection's back-off, of up to two minutes, with the one that replaces it.
        grpc_options={"grpc.use_local_subchannel_pool": 1},
    )
    return client
