"""One question to Milvus: a dense and a BM25 search beside each other, fused here, with the cosine of every passage found.

From there to the answer: what is too weak leaves, what repeats a better one leaves, a cross-encoder may order the rest, the
best `top_k` stay, and their neighbours are joined to them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from retrieval_search.errors import BadQuery, RetrievalError, Unavailable
from retrieval_search.fusion import fuse
from retrieval_search.joining import Joining, joined, missing
from retrieval_search.milvus import Client, Connection, pymilvus_client
from retrieval_search.repeats import distinct, news
from retrieval_search.reranking import Reranker, reranked
from retrieval_search.settings import Query, Settings, check_ranking

log = logging.getLogger("retrieval")

_FIELDS = ("store", "file_id", "filename", "index", "text", "page", "start", "end", "attributes")
# Of a row, but of no passage: neighbours must be of the same version of the file.
_ROW_FIELDS = (*_FIELDS, "generation")


@dataclass(frozen=True, slots=True)
class Found:
    """What one search found, best first: the rows by id, and their scores there, where higher is better."""

    rows: Mapping[str, Mapping[str, Any]]
    scores: Mapping[str, float]


class HybridSearch:
    """For one event loop."""

    def __init__(
        self,
        settings: Settings,
        connect: Callable[[Settings], Client] | None = None,
        *,
        reranker: Reranker | None = None,
        count_rerank: Callable[[str], None] = lambda _outcome: None,
    ) -> None:
        """`count_rerank` is told how each reranking ended (see reranking.py)."""
        self._settings = settings
        self._milvus = Connection(
            settings.uri, lambda: (connect or _pymilvus)(settings), deadline_s=settings.deadline_s
        )
        self._reranker = reranker
        self._count_rerank = count_rerank

    async def search(self, query: Query) -> list[dict[str, Any]]:
        """Passages, best first, as docs/contracts.md describes them; [] without a collection.

        Raises Unavailable within the deadline, CollectionNotFound, BadQuery. A reranker that fails, or neighbours that do not
        come, cost no answer.
        """
        if not query.collection or query.top_k <= 0:
            return []
        ranker = query.ranker or self._settings.ranker
        weight = self._settings.dense_weight if query.dense_weight is None else query.dense_weight
        try:
            check_ranking(ranker, weight)
        except ValueError as error:
            raise BadQuery(str(error)) from None
        if not query.text.strip():
            ranker = "dense"

        async def both(client: Client) -> tuple[Found, Found]:
            return await self._both(client, query, ranker)

        try:
            async with asyncio.timeout(self._settings.deadline_s):
                dense, bm25 = await self._milvus.ask(query.collection, both)
        except TimeoutError:
            await self._milvus.drop()
            raise Unavailable(
                f"Milvus at {self._settings.uri} did not answer within {self._settings.deadline_s:g} s"
            ) from None
        order = fuse(dense.scores, bm25.scores, ranker=ranker, dense_weight=weight)
        passages = distinct(_passages(dense, bm25, order, query))
        hits = (await self._reranked(query, passages))[: query.top_k]
        if query.neighbours is None:
            return hits
        return await self._joined(query, hits, {**bm25.rows, **dense.rows}, query.neighbours)

    async def close(self) -> None:
        """Close the connection."""
        await self._milvus.drop()

    async def _reranked(self, query: Query, passages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        wanted = self._settings.rerank if query.rerank is None else query.rerank
        if not wanted or self._reranker is None:
            return passages
        return await reranked(
            self._reranker,
            query.text,
            passages,
            candidates=max(self._settings.rerank_candidates, query.top_k),
            deadline_s=self._settings.rerank_deadline_s,
            count=self._count_rerank,
        )

    async def _joined(
        self, query: Query, hits: list[dict[str, Any]], known: dict[str, Mapping[str, Any]], neighbours: int
    ) -> list[dict[str, Any]]:
        deadline_s = self._settings.join_deadline_s
        if unknown := missing(hits, known, neighbours):

            async def near(client: Client) -> list[dict[str, Any]]:
                fields = ["id", *_ROW_FIELDS]
                return await client.get(query.collection, unknown, output_fields=fields, timeout=deadline_s)

            try:
                async with asyncio.timeout(deadline_s):
                    known |= {row["id"]: row for row in await self._milvus.ask(query.collection, near)}
            except (RetrievalError, TimeoutError) as error:
                log.warning("the neighbours of passages did not come, so these stay as they are: %r", error)
        return news(joined(hits, known, Joining(neighbours, self._settings.joined_chars)))

    async def _both(self, client: Client, query: Query, ranker: str) -> tuple[Found, Found]:
        """The dense and the BM25 search at the same time, without the one that the ranker does not want."""
        nothing = Found({}, {})
        if ranker == "dense":
            return await self._search(client, query, "dense"), nothing
        if ranker == "bm25":
            return nothing, await self._search(client, query, "sparse")
        tasks = (
            asyncio.ensure_future(self._search(client, query, "dense")),
            asyncio.ensure_future(self._search(client, query, "sparse")),
        )
        try:
            dense, bm25 = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()  # the other one, where one has failed
            await asyncio.gather(*tasks, return_exceptions=True)
        return dense, bm25

    async def _search(self, client: Client, query: Query, field: str) -> Found:
        words = field == "sparse"
        answer = await client.search(
            query.collection,
            [query.text if words else query.vector.tolist()],
            filter=query.filter,
            limit=max(self._settings.candidates, query.top_k),
            # What the dense search did not find needs a cosine, too: the vector comes with it.
            output_fields=[*_ROW_FIELDS, "dense"] if words else list(_ROW_FIELDS),
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
    return passages


def _pymilvus(settings: Settings) -> Client:
    return pymilvus_client(settings.uri, settings.token, deadline_s=settings.deadline_s)
