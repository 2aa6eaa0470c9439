"""Hybrid search against a Milvus that says what the test wants; the real one is in tests/contract/models."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import numpy as np
import pytest
from pymilvus.exceptions import MilvusException

from retrieval_search import BadQuery, CollectionNotFound, HybridSearch, Query, Settings, Unavailable

SETTINGS = Settings("http://127.0.0.1:1", deadline_s=0.05)


def query(**changes: Any) -> Query:
    vector = np.array([2, 0], np.float32)
    fields: dict[str, Any] = {
        "text": "how", "vector": vector, "collection": "c", "filter": "", "top_k": 3, "min_score": -1.0, **changes
    }  # fmt: skip
    return Query(**fields)


def hit(name: str, *dense: float) -> dict[str, Any]:
    fields = {"file_id": name, "filename": f"{name}.md", "index": 0, "text": "t", "page": 0, "start": 0, "end": 1}
    return {"id": f"{name}:0", "distance": 0.03, "entity": {**fields, "dense": list(dense)}}


class FakeMilvus:
    """Answers with `answer`, or raises it when it is an error, or never, when it is None."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.calls: list[dict[str, Any]] = []
        self.closed = False
        self.loaded: list[str] = []

    async def hybrid_search(self, collection_name: str, reqs: Any, ranker: Any, **options: Any) -> Any:
        self.calls.append({"collection": collection_name, "reqs": reqs, "ranker": ranker, **options})
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return [self.answer]

    async def load_collection(self, collection_name: str, **options: Any) -> None:
        self.loaded.append(collection_name)
        self.answer = []

    async def close(self) -> None:
        self.closed = True


async def search(answer: Any, **changes: Any) -> tuple[list[dict[str, Any]], FakeMilvus]:
    milvus = FakeMilvus(answer)
    return await HybridSearch(SETTINGS, lambda _: milvus).search(query(**changes)), milvus


async def test_the_fusions_order_stays_and_the_score_is_the_cosine() -> None:
    passages, milvus = await search([hit("b", 0, 3), hit("a", 5, 0), hit("z", 0, 0)])

    assert [(passage["id"], passage["score"]) for passage in passages] == [("b:0", 0.0), ("a:0", 1.0), ("z:0", 0.0)]
    assert set(passages[0]) == {"id", "file_id", "filename", "index", "text", "score", "page", "start", "end"}
    assert milvus.calls[0]["ranker"].dict() == {"strategy": "rrf", "params": {"k": 60}}
    assert [request.anns_field for request in milvus.calls[0]["reqs"]] == ["dense", "sparse"]


async def test_weak_passages_are_left_out_before_the_best_are_taken() -> None:
    passages, milvus = await search(
        [hit("b", 0, 3), hit("a", 5, 0), hit("c", 1, 1), hit("d", 1, 0)], min_score=0.5, top_k=2
    )
    assert [passage["id"] for passage in passages] == ["a:0", "c:0"]
    assert milvus.calls[0]["limit"] >= 2


async def test_more_are_asked_for_than_candidates_when_more_are_wanted() -> None:
    _, milvus = await search([], top_k=200)
    assert milvus.calls[0]["limit"] == 200


async def test_the_filter_binds_both_rankings() -> None:
    _, milvus = await search([], filter='store == "a"')
    assert [request.expr for request in milvus.calls[0]["reqs"]] == ['store == "a"'] * 2


async def test_a_question_without_words_is_searched_by_its_vector() -> None:
    _, milvus = await search([], text="  ")
    assert [request.anns_field for request in milvus.calls[0]["reqs"]] == ["dense"]


@pytest.mark.parametrize("changes", [{"collection": ""}, {"top_k": 0}])
async def test_nothing_wanted_is_nothing_asked(changes: dict[str, Any]) -> None:
    passages, milvus = await search([hit("a", 1, 0)], **changes)
    assert passages == []
    assert milvus.calls == []


class Refused(grpc.RpcError):  # type: ignore[misc]
    """gRPC's own error, which pymilvus lets through for some codes."""


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (
            MilvusException(100, "collection 'c' does not exist"),
            CollectionNotFound,
            "^retrieval: not found: collection 'c'",
        ),
        (MilvusException(4, "can't find collection"), CollectionNotFound, "^retrieval: not found:"),
        (MilvusException(6, "unexpected token"), BadQuery, "^retrieval: bad query: unexpected token"),
        (MilvusException(1100, "cannot parse expression"), BadQuery, "^retrieval: bad query:"),
        (MilvusException(65535, "vector dimension mismatch"), BadQuery, "^retrieval: bad query:"),
        (MilvusException(2, "Fail connecting"), Unavailable, "^retrieval: unavailable: Fail connecting"),
        (MilvusException(1, ""), Unavailable, "^retrieval: unavailable: Milvus error 1"),
        (Refused("gone"), Unavailable, "^retrieval: unavailable: .*gone"),
        (ConnectionResetError("reset"), Unavailable, "^retrieval: unavailable: .*reset"),
        (None, Unavailable, "^retrieval: unavailable: .* did not answer within 0.05 s"),
    ],
)
async def test_errors_say_what_kind_they_are(answer: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        await search(answer)


async def test_a_connection_that_failed_is_made_anew() -> None:
    milvuses = [FakeMilvus(MilvusException(2, "Fail connecting")), FakeMilvus([hit("a", 1, 0)])]
    made = iter(milvuses)
    searching = HybridSearch(SETTINGS, lambda _: next(made))

    with pytest.raises(Unavailable):
        await searching.search(query())
    assert milvuses[0].closed
    assert len(await searching.search(query())) == 1
    assert len(await searching.search(query())) == 1  # over the same connection
    await searching.close()
    assert milvuses[1].closed


async def test_a_connection_that_died_meanwhile_costs_no_answer() -> None:
    milvuses = [FakeMilvus([]), FakeMilvus([hit("a", 1, 0)])]
    made = iter(milvuses)
    searching = HybridSearch(SETTINGS, lambda _: next(made))
    await searching.search(query())
    milvuses[0].answer = ConnectionResetError("Milvus was restarted")

    assert len(await searching.search(query())) == 1
    assert milvuses[0].closed


async def test_a_collection_that_a_restart_released_is_loaded() -> None:
    passages, milvus = await search(MilvusException(101, "state 'released'; call load()"))
    assert passages == []
    assert milvus.loaded == ["c"]


async def test_an_error_of_the_callers_keeps_the_connection() -> None:
    milvus = FakeMilvus(MilvusException(6, "unexpected token"))
    with pytest.raises(BadQuery):
        await HybridSearch(SETTINGS, lambda _: milvus).search(query())
    assert not milvus.closed


def test_settings_come_from_the_config_first_then_the_environment() -> None:
    assert Settings.read({"uri": ""}, {}).uri == "http://127.0.0.1:19530"
    assert Settings.read({"uri": ""}, {"MILVUS_URI": "http://m:1", "MILVUS_TOKEN": "t"}).uri == "http://m:1"
    read = Settings.read({"uri": "http://n:2", "deadline_ms": "250", "candidates": "7"}, {"MILVUS_URI": "http://m:1"})
    assert (read.uri, read.deadline_s, read.candidates) == ("http://n:2", 0.25, 7)
