"""How a chat's passages are looked for: what the tool says, over what its stores say, over the deployment."""

from typing import Any

import pytest

from gateway.tenants.tenant import Tenant
from tests.support.running import TENANT, Fleet

SEARCH = {"type": "file_search", "vector_store_ids": ["handbook"]}


@pytest.fixture
async def handbook(fleet: Fleet) -> Fleet:
    """A fleet with two knowledge stores."""
    await fleet.learn("handbook", "prices")
    return fleet


def asked(fleet: Fleet) -> dict[str, Any]:
    """What the last call of `context` was asked."""
    return {tensor["name"]: tensor["data"][0] for tensor in fleet.calls("context")[-1].body["inputs"]}


async def test_ranking_options_of_the_tool_reach_the_retrieval(handbook: Fleet) -> None:
    ranking = {"score_threshold": 0.5, "hybrid_search": {"embedding_weight": 1, "text_weight": 3}, "rerank": True}
    reply = await handbook.chat(tools=[{**SEARCH, "ranking_options": ranking}], max_tokens=5)
    assert reply.status == 200
    wish = asked(handbook)
    assert (wish["min_score"], wish["dense_weight"], wish["rerank"]) == (0.5, 0.25, True)
    assert wish["neighbours"] == handbook.settings.rag_neighbours
    assert "ranker" not in wish


async def test_what_the_store_says_is_below_the_tool_and_above_the_deployment(handbook: Fleet) -> None:
    said = {"ranker": "bm25", "max_num_results": 7, "score_threshold": 0.2, "neighbours": 2}
    await handbook.gateway.catalog.of(Tenant(TENANT)).stores.update(handbook.stores["handbook"], settings=said)
    await handbook.chat(model="rag:handbook", max_tokens=5)
    wish = asked(handbook)
    assert (wish["ranker"], wish["top_k"], wish["neighbours"]) == ("bm25", 7, 2)
    assert wish["min_score"] == pytest.approx(0.2)

    await handbook.chat(tools=[{**SEARCH, "max_num_results": 1, "ranking_options": {"ranker": "rrf"}}], max_tokens=5)
    wish = asked(handbook)
    assert (wish["ranker"], wish["top_k"], wish["neighbours"]) == ("rrf", 1, 2)

    await handbook.chat(model="rag", max_tokens=5)  # the other store says nothing
    wish = asked(handbook)
    assert wish["top_k"] == handbook.settings.rag_top_k
    assert wish["min_score"] == pytest.approx(handbook.settings.rag_min_score)
    assert "ranker" not in wish


@pytest.mark.parametrize(
    ("ranking", "field"),
    [
        ({"ranker": "best"}, "ranker"),
        ({"score_threshold": 1.5}, "score_threshold"),
        ({"hybrid_search": {"embedding_weight": 0, "text_weight": 0}}, "hybrid_search"),
        ({"dense_weight": 0.5}, "dense_weight"),
    ],
)
async def test_mistakes_in_ranking_options_are_named(handbook: Fleet, ranking: dict[str, Any], field: str) -> None:
    reply = await handbook.chat(tools=[{**SEARCH, "ranking_options": ranking}])
    assert (reply.status, reply.error["param"]) == (400, f"tools.0.ranking_options.{field}")
    assert not handbook.calls("context")


async def test_responses_take_them_too(handbook: Fleet) -> None:
    wish = {
        "model": "tiny",
        "input": "How long?",
        "tools": [{**SEARCH, "max_num_results": 3, "ranking_options": {"ranker": "dense", "score_threshold": 0.4}}],
    }
    assert (await handbook.post(wish, path="/v1/responses")).status == 200
    made = asked(handbook)
    assert (made["ranker"], made["top_k"]) == ("dense", 3)
    assert made["min_score"] == pytest.approx(0.4)
