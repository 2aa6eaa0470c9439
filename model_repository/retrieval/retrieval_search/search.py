"""One question to Milvus: a dense and a BM25 search beside each other, fused here, with the cosine of every passage found.

A long question is searched by its windows (windows.py): the nearest of them counts, and BM25 looks for the words of that one.
From there to the answer: what is too weak leaves, what repeats a better one leaves, a cross-encoder may order the rest, the
best `top_k` stay, and their neighbours are joined to them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval_search.coverage import covering
from retrieval_search.embedding import Embedder, EmbeddingFailed
from retrieval_search.errors import BadQuery, RetrievalError, RetrievalUnavailable
from retrieval_search.exact import ExactMatch
from retrieval_search.filter_signature import FilterVerifier
from retrieval_search.fusion import fuse
from retrieval_search.joining import Joining, joined, missing
from retrieval_search.milvus import Client, MilvusConnection, pymilvus_client
from retrieval_search.repeats import distinct, news
from retrieval_search.reranking import Reranker, reranked
from retrieval_search.settings import EVERY_SCORE, Query, RetrievalSettings, check_ranking
from retrieval_search.tracing import MakeSpan, no_span
from retrieval_search.windows import windows
from tokens.function_words import language_signs
from tokens.keywords import keyword_query

log = logging.getLogger("retrieval")

_FIELDS = ("store", "file_id", "filename", "index", "text", "page", "start", "end", "attributes")
# Of a row, but of no passage: neighbours must be of the same version of the file.
_ROW_FIELDS = (*_FIELDS, "generation")


@dataclass(frozen=True, slots=True)
class FoundRows:
    """What one search found, best first: the rows by id, and their scores there, where higher is better."""

    rows: Mapping[str, Mapping[str, Any]]
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Question:
    """`windows` are of a long one, else there are none. `vectors`: float32 (windows + 1, dimension), the last is the whole's."""

    text: str
    windows: Sequence[str]
    vectors: NDArray[np.float32]


class HybridSearch:
    """For one event loop."""

    def __init__(
        self,
        settings: RetrievalSettings,
        connect: Callable[[RetrievalSettings], Client] | None = None,
        *,
        embedder: Embedder | None = None,
        reranker: Reranker | None = None,
        count_rerank: Callable[[str], None] = lambda _outcome: None,
        span: MakeSpan = no_span,
    ) -> None:
        """embedder: of windows; without it a long question is searched whole. `count_rerank` is told how each reranking ended
        (see reranking.py)."""
        self._settings = settings
        self._verifier = FilterVerifier(settings.filter_secret)
        self._milvus = MilvusConnection(
            settings.uri, lambda: (connect or _pymilvus)(settings), deadline_s=settings.deadline_s
        )
        self._embedder = embedder
        self._reranker = reranker
        self._count_rerank = count_rerank
        self._span = span

    async def search(self, query: Query) -> list[dict[str, Any]]:
        """Passages, best first, as docs/contracts.md describes them; [] without a collection.

        Raises Unavailable within the deadline, CollectionNotFound, BadQuery, FilterRefused. An embedder or a reranker that
        fails, or neighbours that do not come, cost no answer.
        """
        if not query.collection or query.top_k <= 0:
            return []
        self._verifier.check(query.collection, query.filter, query.filter_signature)
        ranker = query.ranker or self._settings.ranker
        weight = self._weight(query)
        try:
            check_ranking(ranker, weight)
        except ValueError as error:
            raise BadQuery(str(error)) from None
        if not query.text.strip():
            ranker = "dense"
        try:
            async with asyncio.timeout(self._settings.deadline_s):
                question = await self._question(query, ranker)

                async def both(client: Client) -> tuple[FoundRows, FoundRows, str]:
                    return await self._both(client, query, question, ranker)

                with self._span(query.collection):
                    dense, bm25, text = await self._milvus.ask(query.collection, both)
        except TimeoutError:
            await self._milvus.drop()
            raise RetrievalUnavailable(
                f"Milvus at {self._settings.uri} did not answer within {self._settings.deadline_s:g} s"
            ) from None
        cosines = _cosines(dense, bm25, question)
        nearest = cosines if ranker == "minmax" else dense.scores
        fused = fuse(nearest, bm25.scores, ranker=ranker, dense_weight=weight)
        passages = distinct(
            _passages(
                {**bm25.rows, **dense.rows}, cosines, fused, query, None if ranker == "dense" else bm25.rows.keys()
            )
        )
        ordered = await self._reranked(query, text, passages, fused)
        hits = ordered[: query.top_k] if ranker == "dense" else _best(ordered, query)
        if query.neighbours is None:
            return hits
        return await self._joined(query, hits, {**bm25.rows, **dense.rows}, query.neighbours)

    def _weight(self, query: Query) -> float:
        if query.dense_weight is not None:
            return query.dense_weight
        english, german = language_signs(query.text.casefold().split())
        return self._settings.dense_weight_german if german > english else self._settings.dense_weight

    async def close(self) -> None:
        """Close the connection."""
        await self._milvus.drop()

    async def _question(self, query: Query, ranker: str) -> Question:
        """In its windows, where it is long and somebody embeds them in time."""
        parts = windows(query.text)
        if parts and self._embedder is not None and ranker != "bm25":
            deadline_s = self._settings.embedding_deadline_s
            try:
                async with asyncio.timeout(deadline_s):
                    vectors = await self._embedder.vectors(parts, deadline_s=deadline_s, cache_salt=query.cache_salt)
                return Question(query.text, parts, np.vstack([vectors, query.vector]))
            except (EmbeddingFailed, TimeoutError) as error:
                log.warning("a long question is searched whole, for its windows have no vectors: %r", error)
        return Question(query.text, (), query.vector[None, :])

    async def _reranked(
        self, query: Query, text: str, passages: list[dict[str, Any]], fused: Mapping[str, float]
    ) -> list[dict[str, Any]]:
        wanted = self._settings.rerank if query.rerank is None else query.rerank
        if not wanted or self._reranker is None:
            return passages
        return await reranked(
            self._reranker,
            text,
            passages,
            fused=fused,
            weight=self._settings.rerank_weight,
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

    async def _both(
        self, client: Client, query: Query, question: Question, ranker: str
    ) -> tuple[FoundRows, FoundRows, str]:
        """The dense and the BM25 search at the same time, without the one that the ranker does not want, and the question. For
        one in windows one after the other: which of them is the question, the dense search says.
        """
        nothing = FoundRows({}, {})
        if ranker == "bm25":
            return nothing, await self._keywords(client, query, question.text), question.text
        if ranker == "dense" or question.windows:
            dense, text = await self._nearest(client, query, question)
            return dense, nothing if ranker == "dense" else await self._keywords(client, query, text), text
        tasks = (
            asyncio.ensure_future(self._nearest(client, query, question)),
            asyncio.ensure_future(self._keywords(client, query, question.text)),
        )
        try:
            (dense, _), bm25 = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()  # the other one, where one has failed
            await asyncio.gather(*tasks, return_exceptions=True)
        return dense, bm25, question.text

    async def _nearest(self, client: Client, query: Query, question: Question) -> tuple[FoundRows, str]:
        """What lies next to any of the question's vectors, and the window to which something lies nearest."""
        answer = await self._search(client, query, "dense", question.vectors.tolist(), list(_ROW_FIELDS))
        rows: dict[str, Mapping[str, Any]] = {}
        scores: dict[str, float] = {}
        for hit in (hit for hits in answer for hit in hits):
            rows[hit["id"]] = hit["entity"]
            scores[hit["id"]] = max(scores.get(hit["id"], -1.0), hit["distance"])
        tops = [hits[0]["distance"] if hits else -1.0 for hits in answer[: len(question.windows)]]
        text = question.windows[int(np.argmax(tops))] if tops else question.text
        return FoundRows(rows, dict(sorted(scores.items(), key=lambda item: -item[1]))), text

    async def _keywords(self, client: Client, query: Query, text: str) -> FoundRows:
        # What the dense search did not find needs a cosine, too: the vector comes with it.
        answer = await self._search(client, query, "sparse", [keyword_query(text)], [*_ROW_FIELDS, "dense"])
        hits = answer[0] if answer else []
        # Milvus Lite 3.2.2 gives BM25 scores, which are never negative, with the sign of distances.
        return FoundRows(
            {hit["id"]: hit["entity"] for hit in hits},
            {hit["id"]: abs(hit["distance"]) for hit in hits},
        )

    async def _search(
        self, client: Client, query: Query, field: str, data: list[Any], fields: list[str]
    ) -> list[list[Any]]:
        """The hits of each of `data`, best first."""
        answer = await client.search(
            query.collection,
            data,
            filter=query.filter,
            limit=max(self._settings.candidates, query.top_k),
            output_fields=fields,
            search_params={"metric_type": "BM25" if field == "sparse" else "COSINE"},
            anns_field=field,
            timeout=self._settings.deadline_s,
        )
        return [list(hits) for hits in answer or ()]


def _cosines(dense: FoundRows, bm25: FoundRows, question: Question) -> dict[str, float]:
    """Of all that was found, best first. What BM25 alone has found is no stranger to the question: it has its own cosine."""
    units = question.vectors / np.maximum(np.linalg.norm(question.vectors, axis=1, keepdims=True), 1e-12)
    cosines = dict(dense.scores)
    for key, row in bm25.rows.items():
        if key in dense.rows:
            continue
        vector = np.asarray(row["dense"], np.float32)
        cosines[key] = float((units @ vector).max()) / (float(np.linalg.norm(vector)) or 1.0)
    return dict(sorted(cosines.items(), key=lambda item: -item[1]))


def _passages(
    rows: Mapping[str, Mapping[str, Any]],
    cosines: Mapping[str, float],
    order: Collection[str],
    query: Query,
    by_words: Set[str] | None,
) -> list[dict[str, Any]]:
    """Rows in the order of the fusion, with the cosine as their score; those under `min_score` are left out, unless they have
    exactly what the question names; and those over it that have not, where it is all that the question is about, or where they
    are about others of its kind. by_words: what BM25 has found; None: the cosine alone counts.
    """
    exact = ExactMatch(query.text)
    by_name = by_words is not None and query.min_score > EVERY_SCORE
    only_exact = exact.is_all and by_name
    of_others = exact.of_others({key: rows[key]["text"] for key in order}) if by_name else frozenset[str]()
    return [
        {"id": key, **{name: rows[key][name] for name in _FIELDS}, "score": round(cosines[key], 6)}
        for key in order
        if (cosines[key] >= query.min_score and not only_exact and key not in of_others)
        or (by_words is not None and (only_exact or key in by_words) and exact(rows[key]["text"]))
    ]


def _best(passages: Sequence[dict[str, Any]], query: Query) -> list[dict[str, Any]]:
    """The first `top_k`, but that each thing which the question names has a passage among them."""
    if len(passages) <= query.top_k:
        return list(passages)
    exact = ExactMatch(query.text)
    return [passages[at] for at in covering([exact.things_in(passage["text"]) for passage in passages], query.top_k)]


def _pymilvus(settings: RetrievalSettings) -> Client:
    return pymilvus_client(settings.uri, settings.token, ca_file=settings.ca_file, deadline_s=settings.deadline_s)
