"""`/v1/vector_stores/{id}/search`: what a client gets, and what it is refused."""

from typing import Any

import pytest
from running import COLLECTION, EMBEDDING, Fleet

from gateway.triton.fake import Script

STORES = "/v1/vector_stores"


@pytest.fixture
async def store(fleet: Fleet) -> str:
    """The id of a store in which one passage is found."""
    await fleet.gateway.catalog.add_collection(COLLECTION, embedding_model=EMBEDDING, dimension=8)
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
