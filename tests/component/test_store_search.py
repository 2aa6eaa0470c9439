"""`/v1/vector_stores/{id}/search`: what a client gets, and what it is refused."""

from typing import Any

import pytest

from gateway.triton.fake_answers import Script
from tests.support.running import COLLECTION, EMBEDDING, Fleet

STORES = "/v1/vector_stores"


@pytest.fixture
async def store(fleet: Fleet) -> str:
    """The id of a store in which one passage is found."""
    await fleet.gateway.catalog.collections.add(COLLECTION, embedding_model=EMBEDDING, dimension=8)
    made = (await fleet.post({"name": "handbook"}, path=STORES)).json["id"]
    fleet.answers.passages = [
        {
            "id": f"{made}/file-1/3", "store": made, "file_id": "file-1", "filename": "returns.md", "index": 3,
            "text": "Returns\nThirty days.", "page": 7, "start": 100, "end": 112, "attributes": {"year": 2024}, "score": 0.8,
        }
    ]  # fmt: skip
    return str(made)


async def test_passages_are_found(fleet: Fleet, store: str) -> None:
    wish = {
        "query": "How long?",
        "filters": {"type": "gte", "key": "year", "value": 2020},
        "max_num_results": 5,
        "ranking_options": {"ranker": "auto", "score_threshold": 0.5},
        "rewrite_query": True,
    }
    reply = await fleet.post(wish, path=f"{STORES}/{store}/search")
    assert reply.status == 200
    assert reply.json == {
        "object": "vector_store.search_results.page",
        "search_query": ["How long?"],
        "data": [
            {
                "file_id": "file-1",
                "filename": "returns.md",
                "score": 0.8,
                "attributes": {"year": 2024},
                "content": [{"type": "text", "text": "Returns\nThirty days."}],
                "place": {"index": 3, "page": 7, "start": 100, "end": 112},
            }
        ],
        "has_more": False,
        "next_page": None,
    }
    (call,) = fleet.calls("search")
    asked = {tensor["name"]: tensor["data"][0] for tensor in call.body["inputs"]}
    only = f'tenant == "default" and store in ["{store}"]'
    assert asked["filter"] == f'{only} and (attributes["year"] >= 2020)'
    assert (asked["collection"], asked["min_score"]) == (COLLECTION, 0.5)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "query"),
        ({"query": " "}, "query"),
        ({"query": "q", "max_num_results": 51}, "max_num_results"),
        ({"query": "q", "ranking_options": {"ranker": "best"}}, "ranking_options.ranker"),
        (
            {"query": "q", "ranking_options": {"hybrid_search": {"embedding_weight": 1}}},
            "ranking_options.hybrid_search",
        ),
        (
            {"query": "q", "ranking_options": {"hybrid_search": {"embedding_weight": 0, "text_weight": 0}}},
            "ranking_options.hybrid_search",
        ),
        ({"query": "q", "ranking_options": {"neighbours": 4}}, "ranking_options.neighbours"),
        ({"query": "q", "filters": {"type": "eq", "key": "year"}}, "filters.value"),
        ({"query": "q", "filters": {"type": "eq", "key": 'a"] == 1 or tenant["', "value": 1}}, "filters.key"),
        ({"query": "q", "filter": "store != 1"}, "filter"),
    ],
)
async def test_mistakes_are_named(fleet: Fleet, store: str, fields: dict[str, Any], param: str) -> None:
    reply = await fleet.post(fields, path=f"{STORES}/{store}/search")
    assert reply.status == 400
    assert reply.error["param"].startswith(param)
    assert fleet.calls("search") == []


async def test_a_store_that_there_is_not(fleet: Fleet) -> None:
    reply = await fleet.post({"query": "q"}, path=f"{STORES}/vs_{'0' * 24}/search")
    assert reply.status == 404


async def test_milvus_away(fleet: Fleet, store: str) -> None:
    for triton in fleet.tritons:
        triton.always["search"] = Script(status=500, error="in ensemble 'search', retrieval: unavailable: gone")
    reply = await fleet.post({"query": "q"}, path=f"{STORES}/{store}/search")
    assert (reply.status, reply.error["code"]) == (503, "knowledge_unavailable")
    assert int(reply.headers["retry-after"]) >= 1


async def test_a_joined_and_reranked_passage_says_so(fleet: Fleet, store: str) -> None:
    fleet.answers.passages = [{**fleet.answers.passages[0], "last_page": 9, "rerank_score": 0.97}]
    reply = await fleet.post({"query": "q"}, path=f"{STORES}/{store}/search")
    (found,) = reply.json["data"]
    assert (found["place"]["page"], found["place"]["last_page"], found["rerank_score"]) == (7, 9, 0.97)


async def test_a_store_says_how_it_is_searched(fleet: Fleet, store: str) -> None:
    said = {"ranker": "bm25", "max_num_results": 2, "score_threshold": 0.25, "neighbours": 1, "rerank": True}
    changed = await fleet.post({"retrieval": said}, path=f"{STORES}/{store}")
    assert changed.json["retrieval"] == said
    assert (await fleet.get(f"{STORES}/{store}")).json["retrieval"] == said

    async def asked(**fields: Any) -> dict[str, Any]:
        await fleet.post({"query": "q", **fields}, path=f"{STORES}/{store}/search")
        return {tensor["name"]: tensor["data"][0] for tensor in fleet.calls("search")[-1].body["inputs"]}

    own = await asked()
    assert (own["ranker"], own["top_k"], own["min_score"]) == ("bm25", 2, 0.25)
    assert (own["neighbours"], own["rerank"]) == (1, True)
    other = await asked(max_num_results=5, ranking_options={"ranker": "auto", "neighbours": 0})
    assert (other["top_k"], other["min_score"], other["neighbours"]) == (5, 0.25, 0)
    assert "ranker" not in other

    cleared = await fleet.post({"retrieval": None}, path=f"{STORES}/{store}")
    assert "retrieval" not in cleared.json
    assert "ranker" not in await asked()


async def test_a_store_is_made_with_its_way_or_refused(fleet: Fleet) -> None:
    made = await fleet.post({"name": "a", "retrieval": {"ranker": "rrf"}}, path=STORES)
    assert made.json["retrieval"] == {"ranker": "rrf"}
    refused = await fleet.post({"name": "b", "retrieval": {"top_k": 3}}, path=STORES)
    assert (refused.status, refused.error["param"]) == (400, "retrieval.top_k")
