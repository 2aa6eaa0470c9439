"""Searching stores without an answer: what is asked of the fleet, what comes back, and what happens when it does not."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway.errors import BadRequest, GenerationFailed, KnowledgeUnavailable, Unavailable
from gateway.knowledge.active_collection import ActiveCollection
from gateway.knowledge.catalog.types import Store
from gateway.retrieval.access import DocumentAccess
from gateway.retrieval.options import RetrievalOptions
from gateway.retrieval.search import FoundPassages, SearchService
from gateway.retrieval.symbols import SymbolLookup
from gateway.tenants.tenant import Tenant
from gateway.triton.fake_answers import ModelCall, Script
from tests.support.running import EMBEDDING, Fleet

TENANT = Tenant("acme")
REFUNDS = "Refunds are paid within thirty days of the purchase when the receipt is shown."
Search = Callable[..., Any]


def store(name: str, **settings: Any) -> Store:
    return Store(id=name, tenant="acme", name=name, created_at=0, last_active_at=0, settings=settings)


def passage(file_id: str, text: str, score: float, *, heading: str = "", index: int = 0) -> dict[str, Any]:
    return {
        "id": f"vs_1/{file_id}/{index}", "store": "vs_1", "file_id": file_id, "filename": f"{file_id}.md", "index": index,
        "text": f"{heading}\n{text}" if heading else text, "page": 2, "start": 10, "end": 10 + len(text),
        "attributes": {"year": 2024}, "score": score,
    }  # fmt: skip


@pytest.fixture
async def search(fleet: Fleet) -> Search:
    """`await search("question", …)` in the store vs_1."""
    fleet.answers.passages = ()
    gateway = fleet.gateway
    await gateway.catalog.collections.add("chunks_1", embedding_model=EMBEDDING, dimension=4)
    service = SearchService(
        settings=fleet.settings,
        active=ActiveCollection(gateway.catalog.collections, time.monotonic, fresh_s=0.0),
        access=DocumentAccess(gateway.catalog.of),
        symbols=SymbolLookup(gateway.catalog.of),
        dispatcher=gateway.dispatcher,
        pool=gateway.pool,
        places=gateway.retrieval_places,
        metrics=gateway.metrics,
    )

    async def run(
        *queries: str, stores: tuple[str | Store, ...] = ("vs_1",), filters: Any = None, **said: Any
    ) -> FoundPassages:
        asked = [each if isinstance(each, Store) else store(each) for each in stores]
        return await service.search(TENANT, asked, queries, filters=filters, options=RetrievalOptions.read(said))

    return run


def inputs(call: ModelCall) -> dict[str, Any]:
    return {tensor["name"]: tensor["data"][0] for tensor in call.body["inputs"]}


def files(result: FoundPassages) -> list[str]:
    return [hit.file_id for hit in result.passages]


async def test_passages_come_with_where_they_stand(fleet: Fleet, search: Search) -> None:
    fleet.answers.passages = [
        passage("a", REFUNDS, 0.8, heading="Returns > Refunds"),
        passage("b", "Nine euros.", -0.1),
    ]
    result = await search("When are refunds paid?")

    assert result.queries == ("When are refunds paid?",)
    first, second = result.passages
    assert (first.body, first.headings, first.score) == (REFUNDS, "Returns > Refunds", 0.8)
    assert (first.store_id, first.file_id, first.filename, first.index) == ("vs_1", "a", "a.md", 0)
    assert (first.page, first.start, first.end, first.attributes) == (2, 10, 10 + len(REFUNDS), {"year": 2024})
    assert (second.body, second.headings) == ("Nine euros.", "")


async def test_the_search_stays_in_the_stores_and_the_filter(fleet: Fleet, search: Search) -> None:
    await search("q", stores=("vs_1", "vs_2"), filters={"type": "eq", "key": "year", "value": 2024}, max_num_results=3)
    (call,) = fleet.calls("search")
    asked = inputs(call)
    assert asked["filter"] == 'tenant == "acme" and store in ["vs_1", "vs_2"] and (attributes["year"] == 2024)'
    assert (asked["query"], asked["collection"], asked["min_score"]) == ("q", "chunks_1", -1)
    assert "ranker" not in asked
    assert "dense_weight" not in asked


async def test_the_limit_and_the_threshold_bind(fleet: Fleet, search: Search) -> None:
    names = "abcdefgh"
    fleet.answers.passages = [passage(name, f"Text {name}.", 0.9 - 0.1 * at) for at, name in enumerate(names)]
    assert files(await search("q", max_num_results=2)) == ["a", "b"]
    assert files(await search("q", score_threshold=0.65)) == ["a", "b", "c"]


async def test_a_text_is_found_once_by_several_questions(fleet: Fleet, search: Search) -> None:
    copy = REFUNDS.upper().replace(" ", "\n")
    fleet.answers.passages = [
        passage("a", REFUNDS, 0.8),
        passage("copy", copy, 0.79),
        passage("other", "Refunds are paid in vouchers.", 0.7),
        passage("c", "!?", 0.6),
        passage("d", "…", 0.5),
    ]
    assert files(await search("q", "another", max_num_results=4)) == ["a", "other", "c", "d"]


async def test_several_questions_make_one_list(fleet: Fleet, search: Search) -> None:
    fleet.answers.passages = [passage("a", "One.", 0.8), passage("b", "Two.", 0.7)]
    result = await search("first", "second", "third")
    assert files(result) == ["a", "b"]
    assert sorted(inputs(call)["query"] for call in fleet.calls("search")) == ["first", "second", "third"]
    assert result.queries == ("first", "second", "third")


WAYS = ("ranker", "dense_weight", "neighbours", "rerank")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, {}),
        ({"ranker": "auto"}, {}),
        ({"ranker": "default-2024-11-15"}, {}),
        ({"ranker": "none"}, {"rerank": False}),
        ({"ranker": "rrf", "rerank": True, "neighbours": 0}, {"ranker": "rrf", "rerank": True, "neighbours": 0}),
        ({"hybrid_search": {"embedding_weight": 3, "text_weight": 1}}, {"dense_weight": 0.75}),
    ],
)
async def test_the_way_is_the_clients(
    fleet: Fleet, search: Search, said: dict[str, Any], expected: dict[str, Any]
) -> None:
    await search("q", **said)
    (call,) = fleet.calls("search")
    assert {name: value for name, value in inputs(call).items() if name in WAYS} == expected


RRF = {"ranker": "rrf", "score_threshold": 0.5, "max_num_results": 3, "neighbours": 2, "rerank": False}


@pytest.mark.parametrize(
    ("stores", "said", "expected"),
    [
        ([RRF], {}, {"ranker": "rrf", "min_score": 0.5, "top_k": 3, "neighbours": 2, "rerank": False}),
        (
            [RRF],
            {"ranker": "auto", "score_threshold": 0.1, "max_num_results": 7, "neighbours": 0, "rerank": True},
            {"min_score": 0.1, "top_k": 7, "neighbours": 0, "rerank": True},
        ),
        # Weights are of `minmax`: who says them wants it, whatever the store's ranker.
        (
            [{"ranker": "bm25"}],
            {"hybrid_search": {"embedding_weight": 1, "text_weight": 3}},
            {"min_score": -1, "top_k": 10, "dense_weight": 0.25},
        ),
        # Stores of one search that differ leave it to the deployment.
        ([RRF, {**RRF, "ranker": "bm25"}], {}, {"min_score": 0.5, "top_k": 3, "neighbours": 2, "rerank": False}),
        ([RRF, {}], {}, {"min_score": -1, "top_k": 10}),
    ],
)
async def test_what_a_store_says_counts_where_the_request_says_nothing(
    fleet: Fleet, search: Search, stores: list[dict[str, Any]], said: dict[str, Any], expected: dict[str, Any]
) -> None:
    await search("q", stores=tuple(store(f"vs_{at}", **settings) for at, settings in enumerate(stores)), **said)
    (call,) = fleet.calls("search")
    asked = {name: value for name, value in inputs(call).items() if name in (*WAYS, "min_score", "top_k")}
    assert asked == pytest.approx(expected)


@pytest.mark.parametrize(
    ("wishes", "field"),
    [
        ({"ranker": "best"}, "ranking_options.ranker"),
        ({"hybrid_search": {"embedding_weight": 0, "text_weight": 0}}, "ranking_options.hybrid_search"),
        ({"hybrid_search": {"embedding_weight": "x"}}, "ranking_options.hybrid_search"),
        ({"filters": {"type": "like"}}, "filters.type"),
    ],
)
async def test_mistakes_are_told_before_anyone_is_asked(
    fleet: Fleet, search: Search, wishes: dict[str, Any], field: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        await search("q", **wishes)
    assert refused.value.param == field
    assert fleet.calls("search") == []


async def test_an_instance_that_breaks_costs_no_result(fleet: Fleet, search: Search) -> None:
    fleet.answers.passages = [passage("a", "One.", 0.8)]
    fleet.answers.script("search", Script(reset_after=0), Script(status=500, error="model crashed"))
    assert files(await search("q")) == ["a"]
    assert len(fleet.calls("search")) == 3


async def test_answers_that_cannot_be_read_are_failures(fleet: Fleet, search: Search) -> None:
    fleet.answers.passages = [{"text": "no more than that", "score": 0.9}]
    with pytest.raises(GenerationFailed, match="unreadable answer of search"):
        await search("q")


async def test_milvus_away_is_said_at_once(fleet: Fleet, search: Search) -> None:
    fleet.answers.script("search", Script(status=500, error="in ensemble 'search', retrieval: unavailable: gone"))
    with pytest.raises(KnowledgeUnavailable, match="gone"):
        await search("q", "another")


async def test_a_collection_without_rows_yet_holds_nothing(fleet: Fleet, search: Search) -> None:
    fleet.answers.script("search", Script(status=500, error="retrieval: not found: collection 'chunks_1'"))
    assert files(await search("q")) == []


async def test_only_instances_with_the_collections_model_are_asked(fleet: Fleet, search: Search) -> None:
    """Vectors of another model would find anything."""
    fleet.answers.passages = [passage("a", "One.", 0.8)]
    ours, other = fleet.tritons
    member = fleet.member(other)
    moved = replace(member, instance=replace(member.instance, embedding_model="another"))
    fleet.gateway.store.set_members([fleet.member(ours), moved])
    for _ in range(4):
        assert files(await search("q")) == ["a"]
    assert len(ours.made("search")) == 4
    assert other.made("search") == []

    fleet.gateway.store.set_members([moved])
    with pytest.raises(Unavailable):
        await search("q")


async def test_before_anything_was_brought_in_nothing_is_found_and_nobody_asked(fleet: Fleet) -> None:
    gateway = fleet.gateway
    service = SearchService(
        settings=fleet.settings,
        active=ActiveCollection(gateway.catalog.collections, time.monotonic),
        access=DocumentAccess(gateway.catalog.of),
        symbols=SymbolLookup(gateway.catalog.of),
        dispatcher=gateway.dispatcher,
        pool=gateway.pool,
        places=gateway.retrieval_places,
        metrics=gateway.metrics,
    )
    assert (await service.search(TENANT, [store("vs_1")], ["q"])).passages == ()
    assert fleet.calls("search") == []
