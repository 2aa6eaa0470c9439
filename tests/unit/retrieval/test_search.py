"""Hybrid search against a Milvus that says what the test wants; the real one is in tests/contract/models."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import grpc
import numpy as np
import pytest
from pymilvus.exceptions import MilvusException

from retrieval_search import (
    BadQuery,
    CollectionNotFound,
    EmbeddingFailed,
    FilterRefused,
    HybridSearch,
    Query,
    RetrievalSettings,
    RetrievalUnavailable,
)
from tokens.keywords import keyword_query

SETTINGS = RetrievalSettings("http://127.0.0.1:1", deadline_s=60)


def query(**changes: Any) -> Query:
    vector = np.array([2, 0], np.float32)
    fields: dict[str, Any] = {
        "text": "how", "vector": vector, "collection": "c", "filter": "", "top_k": 3, "min_score": -1.0, **changes
    }  # fmt: skip
    return Query(**fields)


FIELDS = ("store", "file_id", "filename", "index", "text", "page", "start", "end", "attributes")


def hit(name: str, distance: float, *dense: float) -> dict[str, Any]:
    values = ("s", name, f"{name}.md", 0, name, 0, 0, 1, {"year": 2020})
    fields: dict[str, Any] = dict(zip(FIELDS, values, strict=True)) | {"generation": 1}
    return {"id": name, "distance": distance, "entity": {**fields, **({"dense": list(dense)} if dense else {})}}


class FakeMilvus:
    """Answers the dense search with `answer` and that for words with `words`; raises an error; None never comes."""

    def __init__(self, answer: Any, words: Sequence[Any] = ()) -> None:
        self.answer = answer
        self.words = words
        self.calls: list[dict[str, Any]] = []
        self.near: Any = []
        """Rows that are there by id; an error; None never comes."""
        self.fetched: list[list[str]] = []
        self.closed = False
        self.loaded: list[str] = []

    async def search(self, collection_name: str, data: list[Any], **options: Any) -> Any:
        self.calls.append({"collection": collection_name, "data": data, **options})
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return [self.answer if options["anns_field"] == "dense" else self.words]

    async def get(self, collection_name: str, ids: list[str], **options: Any) -> list[dict[str, Any]]:
        self.fetched.append(ids)
        if isinstance(self.near, Exception):
            raise self.near
        if self.near is None:
            await asyncio.Event().wait()
        return [row for row in self.near if row["id"] in ids]

    async def load_collection(self, collection_name: str, **options: Any) -> None:
        self.loaded.append(collection_name)
        self.answer = []

    async def close(self) -> None:
        self.closed = True


async def search(answer: Any, words: Sequence[Any] = (), **changes: Any) -> tuple[list[dict[str, Any]], FakeMilvus]:
    milvus = FakeMilvus(answer, words)
    settings = replace(SETTINGS, deadline_s=0.05) if answer is None else SETTINGS
    return await HybridSearch(settings, lambda _: milvus).search(query(**changes)), milvus


def ids(passages: list[dict[str, Any]]) -> list[str]:
    return [passage["id"] for passage in passages]


# Cosines of 0.9, 0.8 and 0.1; Milvus Lite's BM25 with its negative signs. `w` is found by its words only.
DENSE = [hit("a", 0.9), hit("b", 0.8), hit("c", 0.1)]
WORDS = [hit("w", -8.0, 1, 1), hit("b", -6.0, 4, 3), hit("a", -4.0, 9, 4.3589)]


async def test_both_scores_count_half_and_the_score_given_is_the_cosine() -> None:
    passages, milvus = await search(DENSE, WORDS, top_k=9)

    # w, which the dense search has not, has its own cosine: (0.759 + 1)/2; b (0.875 + 0.5)/2; a (1 + 0)/2; c 0
    assert [(passage["id"], passage["score"]) for passage in passages] == [
        ("w", 0.707107),
        ("b", 0.8),
        ("a", 0.9),
        ("c", 0.1),
    ]
    assert set(passages[0]) == {"id", "score", *FIELDS}
    assert [call["anns_field"] for call in milvus.calls] == ["dense", "sparse"]
    assert [call["data"] for call in milvus.calls] == [[[2.0, 0.0]], ["how"]]


@pytest.mark.parametrize(
    ("ranking", "order", "asked"),
    [
        ({"dense_weight": 0.9}, "abwc", ["dense", "sparse"]),
        ({"dense_weight": 0.0}, "wbac", ["dense", "sparse"]),
        ({"ranker": "rrf"}, "abwc", ["dense", "sparse"]),
        ({"ranker": "dense"}, "abc", ["dense"]),
        ({"ranker": "bm25"}, "wba", ["sparse"]),
    ],
)
async def test_the_caller_may_choose_the_ranking(ranking: dict[str, Any], order: str, asked: list[str]) -> None:
    passages, milvus = await search(DENSE, WORDS, top_k=9, **ranking)
    assert "".join(ids(passages)) == order
    assert [call["anns_field"] for call in milvus.calls] == asked


@pytest.mark.parametrize("ranking", [{"ranker": "best"}, {"dense_weight": 1.5}, {"dense_weight": float("nan")}])
async def test_a_ranking_that_there_is_not_is_refused_before_milvus_is_asked(ranking: dict[str, Any]) -> None:
    with pytest.raises(
        BadQuery, match=r"^retrieval: bad query: (ranker 'best' is none of|dense_weight .* is not between)"
    ):
        await search(ConnectionError("must not be asked"), **ranking)


async def test_weak_passages_are_left_out_before_the_best_are_taken() -> None:
    passages, milvus = await search(DENSE, WORDS, min_score=0.75, top_k=1)
    assert ids(passages) == ["b"]
    assert ids((await search(DENSE, WORDS, min_score=0.85))[0]) == ["a"]
    assert {call["limit"] for call in milvus.calls} == {30}


async def test_a_passage_without_a_direction_has_no_cosine() -> None:
    assert (await search([], [hit("z", -1.0, 0, 0)]))[0][0]["score"] == 0.0


async def test_more_are_asked_for_than_candidates_when_more_are_wanted() -> None:
    _, milvus = await search([], top_k=200)
    assert {call["limit"] for call in milvus.calls} == {200}


async def test_the_filter_binds_both_rankings() -> None:
    _, milvus = await search([], filter='store == "a"')
    assert [call["filter"] for call in milvus.calls] == ['store == "a"'] * 2


async def test_a_question_without_words_is_searched_by_its_vector() -> None:
    _, milvus = await search([], text="  ")
    assert [call["anns_field"] for call in milvus.calls] == ["dense"]


@pytest.mark.parametrize("changes", [{"collection": ""}, {"top_k": 0}])
async def test_nothing_wanted_is_nothing_asked(changes: dict[str, Any]) -> None:
    passages, milvus = await search([hit("a", 1.0)], **changes)
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
        (MilvusException(2, "Fail connecting"), RetrievalUnavailable, "^retrieval: unavailable: Fail connecting"),
        (MilvusException(1, ""), RetrievalUnavailable, "^retrieval: unavailable: Milvus error 1"),
        (Refused("gone"), RetrievalUnavailable, "^retrieval: unavailable: .*gone"),
        (ConnectionResetError("reset"), RetrievalUnavailable, "^retrieval: unavailable: .*reset"),
        (None, RetrievalUnavailable, "^retrieval: unavailable: .* did not answer within 0.05 s"),
    ],
)
async def test_errors_say_what_kind_they_are(answer: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        await search(answer)


async def test_a_connection_that_failed_is_made_anew() -> None:
    milvuses = [FakeMilvus(MilvusException(2, "Fail connecting")), FakeMilvus([hit("a", 1.0)])]
    made = iter(milvuses)
    searching = HybridSearch(SETTINGS, lambda _: next(made))

    with pytest.raises(RetrievalUnavailable):
        await searching.search(query())
    assert milvuses[0].closed
    assert len(await searching.search(query())) == 1
    assert len(await searching.search(query())) == 1  # over the same connection
    await searching.close()
    assert milvuses[1].closed


async def test_a_connection_that_died_meanwhile_costs_no_answer() -> None:
    milvuses = [FakeMilvus([]), FakeMilvus([hit("a", 1.0)])]
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
    assert RetrievalSettings.read({"uri": ""}, {}).uri == "http://127.0.0.1:19530"
    assert RetrievalSettings.read({"uri": ""}, {"MILVUS_URI": "http://m:1", "MILVUS_TOKEN": "t"}).uri == "http://m:1"
    read = RetrievalSettings.read(
        {"uri": "http://n:2", "deadline_ms": "250", "candidates": "7"}, {"MILVUS_URI": "http://m:1"}
    )
    assert (read.uri, read.deadline_s, read.candidates) == ("http://n:2", 0.25, 7)
    read = RetrievalSettings.read({"ranker": "rrf", "dense_weight": "0.25"}, {})
    assert (read.ranker, read.dense_weight) == ("rrf", 0.25)


@pytest.mark.parametrize("parameters", [{"ranker": "best"}, {"dense_weight": "2"}])
def test_a_default_ranking_that_there_is_not_stops_the_model_at_its_start(parameters: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"ranker|dense_weight"):
        RetrievalSettings.read(parameters, {})


def chunk(index: int, text: str, *, file: str = "f") -> dict[str, Any]:
    """A row of one file whose chunks stand a line apart; each has 20 characters."""
    at = 21 * index
    place = {"page": 1, "start": at, "end": at + 20}
    return {
        "id": f"s/{file}/{index}", "store": "s", "file_id": file, "filename": "f.md", "index": index,
        "text": f"{text:.<20}", **place, "attributes": {}, "generation": 1,
    }  # fmt: skip


def found(row: dict[str, Any], distance: float) -> dict[str, Any]:
    return {"id": row["id"], "distance": distance, "entity": {k: v for k, v in row.items() if k != "id"}}


FILE = [chunk(index, text) for index, text in enumerate(["zero", "one", "two", "three", "four", "five"])]


async def near(milvus: FakeMilvus, **changes: Any) -> list[dict[str, Any]]:
    settings = replace(SETTINGS, join_deadline_s=0.05) if milvus.near is None else SETTINGS
    return await HybridSearch(settings, lambda _: milvus).search(query(**{"neighbours": 1, **changes}))


async def test_hits_come_with_their_neighbours() -> None:
    milvus = FakeMilvus([found(FILE[1], 0.9), found(FILE[5], 0.5)])
    milvus.near = FILE
    first, second = await near(milvus, top_k=2)
    assert first["text"] == "zero................\none.................\ntwo................."
    assert (first["start"], first["end"], first["score"]) == (0, 62, 0.9)
    assert first["hit"]["text"] == FILE[1]["text"]
    assert (second["id"], second["start"], second["end"]) == ("s/f/5", 84, 125)
    assert milvus.fetched == [["s/f/0", "s/f/2", "s/f/4", "s/f/6"]]
    assert "generation" not in first


async def test_neighbours_that_were_found_but_not_wanted_are_not_fetched() -> None:
    milvus = FakeMilvus([found(FILE[1], 0.9), found(FILE[0], 0.5), found(FILE[2], 0.4)])
    (passage,) = await near(milvus, top_k=1)
    assert (passage["start"], passage["end"]) == (0, 62)
    assert milvus.fetched == []


@pytest.mark.parametrize("wish", [{"neighbours": None}, {"neighbours": 0}])
async def test_without_neighbours_nothing_is_fetched(wish: dict[str, Any]) -> None:
    milvus = FakeMilvus([found(FILE[1], 0.9), found(FILE[2], 0.8)])
    passages = await near(milvus, **wish)
    assert len(passages) == (2 if wish["neighbours"] is None else 1)
    assert milvus.fetched == []


@pytest.mark.parametrize("trouble", [ConnectionResetError("reset"), MilvusException(2, "gone"), None])
async def test_neighbours_that_do_not_come_cost_no_answer(trouble: Any, caplog: pytest.LogCaptureFixture) -> None:
    milvus = FakeMilvus([found(FILE[1], 0.9)])
    milvus.near = trouble
    (passage,) = await near(milvus)
    assert passage["text"] == FILE[1]["text"]
    assert "neighbours" in caplog.text


async def test_a_copy_costs_no_place_and_joined_copies_are_one() -> None:
    texts = [" ".join(f"{letter}{n}" for n in range(9)) for letter in "abcdef"]
    file, copy = ([{**chunk(at, ""), "start": 99 * at, "text": text} for at, text in enumerate(texts)] for _ in "12")
    for row in [*file, *copy]:
        row["end"] = row["start"] + len(row["text"])
    for row in copy:
        row["id"], row["file_id"] = row["id"].replace("/f/", "/copy/"), "copy"
    milvus = FakeMilvus([found(file[1], 0.9), found(copy[1], 0.9), found(copy[2], 0.8), found(file[5], 0.7)])
    milvus.near = [*file, *copy]
    assert ids(await near(milvus, neighbours=None, top_k=3)) == ["s/f/1", "s/copy/2", "s/f/5"]
    # The copy's chunk 2 is a neighbour of the file's chunk 1: with it nothing new would be said.
    assert ids(await near(milvus, top_k=3)) == ["s/f/1", "s/f/5"]


class Embedding:
    """Makes [0, 1] of a text that ends with a question mark, of others [1, 0]; or fails."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.texts: list[str] = []

    async def vectors(self, texts: Sequence[str], *, deadline_s: float, cache_salt: int) -> Any:
        self.texts = list(texts)
        if self.fails:
            raise EmbeddingFailed("busy")
        return np.array([[0, 1] if text.endswith("?") else [1, 0] for text in texts], np.float32)


class NearMilvus(FakeMilvus):
    """Its one passage lies at [0, 1]."""

    async def search(self, collection_name: str, data: list[Any], **options: Any) -> Any:
        self.calls.append({"data": data, **options})
        return [[hit("a", vector[1], 0, 1)] if options["anns_field"] == "dense" else [] for vector in data]


MAIL = "I hope that you had a pleasant week and that the weather by the coast was kind to all of you. " * 3
QUESTION = "Within how many days is a refund of the mixer possible?"


async def test_of_a_long_question_the_best_window_counts() -> None:
    milvus, embedding = NearMilvus([]), Embedding()
    passages = await HybridSearch(SETTINGS, lambda _: milvus, embedder=embedding).search(query(text=MAIL + QUESTION))

    assert [(passage["id"], passage["score"]) for passage in passages] == [("a", 1.0)]
    assert embedding.texts[-1] == QUESTION
    assert [len(call["data"]) for call in milvus.calls] == [len(embedding.texts) + 1, 1]
    assert milvus.calls[1]["data"] == [keyword_query(QUESTION)], "its words, not the mail's"


async def test_without_vectors_of_its_windows_a_long_question_is_searched_whole() -> None:
    milvus = NearMilvus([])
    passages = await HybridSearch(SETTINGS, lambda _: milvus, embedder=Embedding(fails=True)).search(
        query(text=MAIL + QUESTION)
    )
    assert [(passage["id"], passage["score"]) for passage in passages] == [("a", 0.0)]
    assert [call["data"] for call in milvus.calls] == [[[2.0, 0.0]], [keyword_query(MAIL + QUESTION)]]


async def test_what_has_the_code_of_the_question_counts_whatever_its_vector_says() -> None:
    part = hit("part", -9.0, 1, 9)
    part["entity"]["text"] = "VK-4417-B: bracket, left rail"
    passages, _ = await search([], [part, hit("w", -8.0, 1, 9)], min_score=0.3, text="Where is VK-4417-B?")
    assert ids(passages) == ["part"]
    assert passages[0]["score"] == pytest.approx(0.110432)


async def test_of_a_part_that_is_nowhere_nothing_is_told_of_others_that_are_near() -> None:
    asked = "Where is VK-4418-B?"
    assert ids((await search(DENSE, WORDS, min_score=0.3, text=asked))[0]) == []
    assert ids((await search(DENSE, WORDS, min_score=0.3, text=f"{asked} Which bolt fits?"))[0])
    assert ids((await search(DENSE, WORDS, text=asked))[0])  # without a threshold all are shown


async def test_of_a_record_that_is_nowhere_nothing_is_told_of_others_of_its_kind() -> None:
    other, terms = hit("other", 0.9), hit("terms", 0.5)
    other["entity"]["text"] = "Invoice INV-2024-0007, total 12.50"
    asked = "What is the total of {} for Acme?"
    found = {
        number: ids((await search([other, terms], min_score=0.3, text=asked.format(f"INV-2024-{number}")))[0])
        for number in ("0007", "0999")
    }
    assert found == {"0007": ["other", "terms"], "0999": ["terms"]}
    every = await search([other, terms], text=asked.format("INV-2024-0999"))
    assert ids(every[0]) == ["other", "terms"]


async def test_words_are_looked_for_as_they_are_indexed() -> None:
    _, milvus = await search([], text="保修期")
    assert milvus.calls[1]["data"] == ["保修 修期"]


async def test_a_filter_that_nobody_signed_never_reaches_milvus() -> None:
    milvus = FakeMilvus([])
    guarded = HybridSearch(RetrievalSettings("http://milvus", filter_secret="s"), lambda _: milvus)
    with pytest.raises(FilterRefused):
        await guarded.search(query(filter='tenant != ""'))
    assert milvus.calls == []
