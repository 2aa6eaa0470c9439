"""A cross-encoder orders what was found, and what it does not do costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from retrieval_search import HybridSearch, RerankFailed, RetrievalSettings
from tests.unit.retrieval.test_search import SETTINGS, FakeMilvus, hit, ids, query

FOUND = [hit("a", 0.9), hit("b", 0.8), hit("c", 0.7), hit("d", 0.6)]


class FakeReranker:
    """Gives the scores of the test; raises an error; None never comes."""

    def __init__(self, scores: Any) -> None:
        self.answer = scores
        self.asked: list[tuple[str, list[str]]] = []

    async def scores(self, query: str, texts: Sequence[str], *, deadline_s: float) -> Sequence[float]:
        self.asked.append((query, list(texts)))
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return [self.answer[text] for text in texts] if isinstance(self.answer, dict) else list(self.answer)


async def search(
    reranker: FakeReranker, *, settings: RetrievalSettings = SETTINGS, **wish: Any
) -> tuple[list[dict[str, Any]], list[str]]:
    """Passages, and how rerankings ended."""
    outcomes: list[str] = []
    searching = HybridSearch(settings, lambda _: FakeMilvus(FOUND), reranker=reranker, count_rerank=outcomes.append)
    return await searching.search(query(**{"ranker": "dense", "top_k": 9, **wish})), outcomes


SCORES = {"a": 0.1, "b": 0.4, "c": 0.9, "d": 0.95}


async def test_the_best_are_the_models_and_say_so() -> None:
    reranker = FakeReranker(SCORES)
    passages, outcomes = await search(reranker, rerank=True, top_k=2)
    assert [(each["id"], each["rerank_score"], each["score"]) for each in passages] == [
        ("d", 0.95, 0.6),
        ("c", 0.9, 0.7),
    ]
    assert reranker.asked == [("how", ["a", "b", "c", "d"])]
    assert outcomes == ["done"]


@pytest.mark.parametrize(("weight", "order"), [(0.0, "abcd"), (0.3, "abcd"), (0.45, "cabd"), (1.0, "dcba")])
async def test_a_weight_shares_the_order_between_the_model_and_the_fusion(weight: float, order: str) -> None:
    passages, _ = await search(FakeReranker(SCORES), settings=replace(SETTINGS, rerank_weight=weight), rerank=True)
    assert "".join(ids(passages)) == order


async def test_scores_of_nothing_but_certainty_make_an_order() -> None:
    passages, _ = await search(FakeReranker([0.0, 1.0, 1.0, 0.5]), rerank=True)
    assert ids(passages) == ["b", "c", "d", "a"]


def test_a_weight_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="RAGFLEET_RERANK_WEIGHT"):
        RetrievalSettings.read({}, {"RAGFLEET_RERANK_WEIGHT": "1.5"})


async def test_only_so_many_are_read_and_the_others_stand_behind_them() -> None:
    reranker = FakeReranker(SCORES)
    passages, _ = await search(reranker, settings=replace(SETTINGS, rerank_candidates=2), rerank=True, top_k=2)
    assert ids(passages) == ["b", "a"]
    assert reranker.asked[0][1] == ["a", "b"]


async def test_a_model_that_got_through_some_orders_those() -> None:
    passages, outcomes = await search(FakeReranker([0.2, 0.3]), rerank=True)
    assert ids(passages) == ["b", "a", "c", "d"]
    assert ["rerank_score" in each for each in passages] == [True, True, False, False]
    assert outcomes == ["partly"]


@pytest.mark.parametrize(
    ("default", "wish", "order"),
    [(False, None, "abcd"), (True, None, "dcba"), (True, False, "abcd"), (False, True, "dcba")],
)
async def test_the_request_decides_and_without_its_word_the_deployment(
    default: bool, wish: bool | None, order: str
) -> None:
    passages, _ = await search(FakeReranker(SCORES), settings=replace(SETTINGS, rerank=default), rerank=wish)
    assert "".join(ids(passages)) == order
    assert all(("rerank_score" in each) == (order == "dcba") for each in passages)


@pytest.mark.parametrize(
    ("trouble", "outcome"),
    [
        (RerankFailed("rerank: off"), "failed"),
        ([], "failed"),
        ([0.5] * 5, "failed"),
        ([0.5, float("nan"), 0.1, 0.2], "failed"),
        (None, "late"),
    ],
)
async def test_where_the_model_fails_the_fusion_serves_and_it_is_told(
    trouble: Any, outcome: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = replace(SETTINGS, rerank_deadline_s=0.05)
    passages, outcomes = await search(FakeReranker(trouble), settings=settings, rerank=True)
    assert "".join(ids(passages)) == "abcd"
    assert not any("rerank_score" in each for each in passages)
    assert outcomes == [outcome]
    assert "the order of the fusion serves" in caplog.text


async def test_what_is_too_weak_or_a_copy_is_not_read() -> None:
    reranker = FakeReranker(SCORES)
    await search(reranker, rerank=True, min_score=0.75)
    assert reranker.asked == [("how", ["a", "b"])]
    await search(reranker, rerank=True, min_score=0.95)
    assert len(reranker.asked) == 1, "nothing found is nothing to read"


def test_who_names_a_model_has_it_used() -> None:
    assert not RetrievalSettings.read({}, {}).rerank
    read = RetrievalSettings.read(
        {"rerank_candidates": "5", "rerank_deadline_ms": "300"}, {"RAGFLEET_RERANK_DIR": "/models/ce"}
    )
    assert (read.rerank, read.rerank_candidates, read.rerank_deadline_s) == (True, 5, 0.3)
