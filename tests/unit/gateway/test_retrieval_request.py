"""A search is resolved once: the request's word over the stores' over the deployment's, in the tenant's rows alone."""

from typing import Any

import pytest

from gateway.errors import BadRequest
from gateway.knowledge.catalog.types import Collection, CollectionState, Store
from gateway.retrieval.filter_signature import FilterSigner
from gateway.retrieval.options import RetrievalOptions
from gateway.retrieval.request import RetrievalRequest
from gateway.tenants.tenant import Tenant

ACME = Tenant("acme")
CHUNKS = Collection(name="chunks_1", embedding_model="minilm", dimension=4, state=CollectionState.ACTIVE, created_at=0)


def store(store_id: str = "vs_1", **settings: Any) -> Store:
    return Store(id=store_id, tenant="acme", name=store_id, created_at=0, last_active_at=0, settings=settings)


def inputs(request: RetrievalRequest) -> dict[str, Any]:
    return {name: data[0] for name, (_, _, data) in request.inputs("how long?", FilterSigner("")).items()}


def test_without_a_word_it_is_a_plain_search_of_the_tenants_stores() -> None:
    assert inputs(RetrievalRequest(ACME, [store("a"), store("b")], CHUNKS)) == {
        "query": "how long?",
        "collection": "chunks_1",
        "filter": 'tenant == "acme" and store in ["a", "b"]',
        "top_k": 10,
        "min_score": -1.0,
    }


def test_the_request_counts_more_than_the_store_and_the_store_more_than_the_defaults() -> None:
    made = RetrievalRequest(
        ACME,
        [store(max_num_results=5, score_threshold=0.4, ranker="rrf")],
        CHUNKS,
        options=RetrievalOptions(max_num_results=3, rerank=False),
        defaults=RetrievalOptions(max_num_results=1, score_threshold=0.9, neighbours=2),
    )
    found = inputs(made)
    assert (found["top_k"], found["min_score"], found["ranker"]) == (3, 0.4, "rrf")
    assert (found["neighbours"], found["rerank"]) == (2, False)


def test_a_filter_of_the_request_only_narrows() -> None:
    made = RetrievalRequest(
        ACME, [store()], CHUNKS, filters={"type": "eq", "key": "a", "value": '" or tenant != "acme'}
    )
    assert made.filter.startswith('tenant == "acme" and store in ["vs_1"] and (')
    with pytest.raises(BadRequest):
        RetrievalRequest(ACME, [store()], None, filters={"type": "?"})


def test_a_search_of_no_store_is_none() -> None:
    with pytest.raises(ValueError, match="needs a store"):
        RetrievalRequest(ACME, [], CHUNKS)


def test_a_question_is_spelled_as_what_was_stored() -> None:
    made = RetrievalRequest(ACME, [store()], None).inputs("Zu\u0308rich of\ufb01ce, Daten\u00adbank?", FilterSigner(""))
    assert made["query"][2] == ["Zürich office, Datenbank?"]
