"""One question to Milvus: dense and BM25 search, fused there, with the exact cosine of every passage it gives back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval_search.errors import BadQuery, CollectionNotFound, RetrievalError, Unavailable

# Cormack, Clarke and Büttcher (SIGIR 2009): 1 / (60 + rank), summed over the rankings.
RRF_K = 60
_FIELDS = ("file_id", "filename", "index", "text", "page", "start", "end")
# MilvusException codes: 100 in Milvus 2.3 and later (merr.ErrCollectionNotFound), 4 in the older numbering.
_NOT_FOUND_CODES = (100, 4)
# merr.ErrCollectionNotLoaded; Milvus Lite has every collection in this state when it has been started anew.
_NOT_LOADED_CODE = 101
# 1100 in Milvus (merr.ErrParameterInvalid), 6 in Milvus Lite: a filter that cannot be parsed and the like.
_INVALID_CODES = (1100, 6)


@dataclass(frozen=True)
class Settings:
    """`deadline_s` bounds one search with everything in it, connecting too. `candidates` is how many passages each of the
    two rankings brings to the fusion: enough that `min_score` can drop some and `top_k` are left.
    """

    uri: str
    token: str = ""
    deadline_s: float = 5.0
    candidates: int = 30

    @classmethod
    def read(cls, parameters: Mapping[str, str], environment: Mapping[str, str]) -> Settings:
        """From config.pbtxt's parameters, then the environment. Raises ValueError for a number that is none."""
        return cls(
            uri=parameters.get("uri") or environment.get("MILVUS_URI") or "http://127.0.0.1:19530",
            token=environment.get("MILVUS_TOKEN", ""),
            deadline_s=int(parameters.get("deadline_ms") or 5000) / 1000,
            candidates=int(parameters.get("candidates") or cls.candidates),
        )


@dataclass(frozen=True, slots=True)
class Query:
    """`vector` is FP32 [dimensions], of any length; `filter` a Milvus expression, "" for none."""

    text: str
    vector: NDArray[np.float32]
    collection: str
    filter: str
    top_k: int
    min_score: float


class Client(Protocol):
    """What is used of pymilvus's AsyncMilvusClient; the fake for tests is in tests/unit/retrieval."""

    async def hybrid_search(self, collection_name: str, reqs: Any, ranker: Any, **options: Any) -> Any: ...

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
        try:
            async with asyncio.timeout(self._settings.deadline_s):
                hits = await self._hits(query)
        except TimeoutError:
            await self._drop()
            raise Unavailable(
                f"Milvus at {self._settings.uri} did not answer within {self._settings.deadline_s:g} s"
            ) from None
        return _passages(hits, query)

    async def close(self) -> None:
        await self._drop()

    async def _hits(self, query: Query) -> list[Any]:
        connected = self._client is not None
        try:
            return await self._try(query)
        except Unavailable:
            # A connection from before may have died with a Milvus that is back already: a new one deserves a try.
            if not connected:
                raise
            return await self._try(query)

    async def _try(self, query: Query) -> list[Any]:
        """One search. A failure other than the caller's fault costs the connection."""
        import grpc
        from pymilvus.exceptions import MilvusException

        try:
            if self._client is None:
                self._client = self._connect(self._settings)
            try:
                found = await self._ask(self._client, query)
            except MilvusException as error:
                if error.code != _NOT_LOADED_CODE:
                    raise
                await self._client.load_collection(query.collection, timeout=self._settings.deadline_s)
                found = await self._ask(self._client, query)
        except MilvusException as error:
            refusal = _refusal(error, query)
            if isinstance(refusal, Unavailable):
                await self._drop()
            raise refusal from error
        except (grpc.RpcError, OSError) as error:
            await self._drop()
            raise Unavailable(f"Milvus at {self._settings.uri}: {error}") from error
        return list(found[0]) if found else []

    async def _ask(self, client: Client, query: Query) -> Any:
        limit = max(self._settings.candidates, query.top_k)
        return await client.hybrid_search(
            query.collection,
            reqs=_requests(query, limit),
            ranker=_ranker(),
            limit=limit,
            output_fields=[*_FIELDS, "dense"],
            timeout=self._settings.deadline_s,
        )

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()


def _requests(query: Query, limit: int) -> list[Any]:
    from pymilvus import AnnSearchRequest

    dense = AnnSearchRequest(
        [query.vector.tolist()], "dense", {"metric_type": "COSINE"}, limit, expr=query.filter or None
    )
    if not query.text.strip():
        return [dense]
    return [dense, AnnSearchRequest([query.text], "sparse", {"metric_type": "BM25"}, limit, expr=query.filter or None)]


def _ranker() -> Any:
    from pymilvus import RRFRanker

    return RRFRanker(RRF_K)


def _passages(hits: list[Any], query: Query) -> list[dict[str, Any]]:
    """Hits in the order of the fusion, with the cosine as their score; those under `min_score` are left out."""
    length = float(np.linalg.norm(query.vector)) or 1.0
    passages = []
    for hit in hits:
        fields = hit["entity"]
        dense = np.asarray(fields["dense"], np.float32)
        score = float(dense @ query.vector) / (length * (float(np.linalg.norm(dense)) or 1.0))
        if score >= query.min_score:
            passages.append({"id": hit["id"], **{name: fields[name] for name in _FIELDS}, "score": round(score, 6)})
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
