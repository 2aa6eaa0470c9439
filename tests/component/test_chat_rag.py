"""Answers from the knowledge base: sources first, citations last, and nothing invented where nothing was found."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway.triton.fake_answers import Script
from tests.support.running import COLLECTION, MODEL, TENANT, Fleet

SEARCH = {"type": "file_search", "vector_store_ids": ["handbook"]}


@pytest.fixture
async def handbook(fleet: Fleet) -> Fleet:
    """A fleet with two knowledge stores."""
    await fleet.learn("handbook", "prices")
    return fleet


async def test_whole_answer_with_its_sources(handbook: Fleet) -> None:
    handbook.says("Within thirty days [1], for nine euros [2].")
    reply = await handbook.chat("How long?", model="rag", max_tokens=100)
    body = reply.json
    assert body["model"] == "rag"
    assert body["rag"]["grounded"] is True
    assert [(s["n"], s["filename"], s["score"]) for s in body["rag"]["sources"]] == [
        (1, "returns.md", 0.9),
        (2, "prices.pdf", 0.6),
    ]
    first, second = (a["url_citation"] for a in body["choices"][0]["message"]["annotations"])
    assert reply.text[first["start_index"] : first["end_index"]] == "[1]"
    assert reply.text[second["start_index"] : second["end_index"]] == "[2]"
    assert (first["title"], first["url"]) == ("returns.md", "ragfleet:a/returns.md")
    assert second["url"] == "ragfleet:b/prices.pdf#page=7"
    assert body["usage"]["prompt_tokens"] == len(handbook.calls()[0].body["input_ids"])


async def test_stream_begins_with_the_sources_and_ends_with_the_citations(handbook: Fleet) -> None:
    handbook.says("Thirty days [1].")
    for triton in handbook.tritons:
        triton.always["llm"] = Script(stall_after=0)
    async with handbook.open(model="rag", max_tokens=100) as stream:
        first = await stream.first()  # before the engine has said a word
        assert [s["filename"] for s in first["rag"]["sources"]] == ["returns.md", "prices.pdf"]
        assert first["choices"][0]["delta"]["role"] == "assistant"
        for triton in handbook.tritons:
            triton.resume()
        events = await stream.rest()
    assert events.text == "Thirty days [1]."
    begin, end = (chunk["rag"] for chunk in events.chunks if "rag" in chunk)
    assert begin.keys() == {"grounded", "store", "query", "sources"}
    assert [(c["n"], c["by"]) for c in end["citations"]] == [(1, "mark")]
    last = events.choices[-1]
    assert last["finish_reason"] == "stop"
    assert last["delta"]["annotations"][0]["url_citation"]["title"] == "returns.md"


@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_relevant_is_said_and_no_engine_asked(handbook: Fleet, stream: bool) -> None:
    handbook.answers.passages = ()
    if stream:
        events = await handbook.stream(model="rag", stream_options={"include_usage": True})
        text, rag, usage = events.text, events.chunks[0]["rag"], events.chunks[-1]["usage"]
        assert events.finish_reason == "stop"
        assert "annotations" not in events.choices[-1]["delta"]
    else:
        reply = await handbook.chat(model="rag")
        text, rag, usage = reply.text, reply.json["rag"], reply.json["usage"]
        assert "annotations" not in reply.json["choices"][0]["message"]
    assert text == handbook.settings.rag_not_found
    assert {**rag, "query": "", "citations": [], "invalid_citations": []} == {
        "grounded": False,
        "store": "handbook, prices",
        "query": "",
        "sources": [],
        "citations": [],
        "invalid_citations": [],
    }
    assert usage == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    assert not handbook.calls("llm")


async def test_what_is_asked_of_the_retrieval(handbook: Fleet) -> None:
    await handbook.post(
        {
            "model": "rag:handbook",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "First?"},
                {"role": "assistant", "content": "Yes."},
                {"role": "user", "content": [{"type": "text", "text": "How "}, {"type": "text", "text": "long?"}]},
            ],
            "max_tokens": 10,
        }
    )
    (call,) = handbook.calls("context")
    asked = {tensor["name"]: tensor["data"][0] for tensor in call.body["inputs"]}
    assert asked["query"] == "First?\nHow long?\nHow long?\nHow long?"
    assert asked["filter"] == f'tenant == "{TENANT}" and store in ["{handbook.stores["handbook"]}"]'
    assert asked["collection"] == COLLECTION
    assert asked["top_k"] == handbook.settings.rag_top_k
    assert asked["grounded"] is True
    assert asked["max_prompt_tokens"] == 512 - 10
    assert not handbook.calls("prompt")


async def test_answers_from_knowledge_are_greedy_by_default(handbook: Fleet) -> None:
    await handbook.chat(model="rag", temperature=None, max_tokens=1)
    await handbook.chat(temperature=None, max_tokens=1)
    rag, bare = (call.body for call in handbook.calls())
    assert rag["runtime_top_k"] == 1
    assert bare["temperature"] == 1.0


async def test_all_stores_are_asked_without_a_name_and_one_with(handbook: Fleet) -> None:
    for model in ("rag", "rag:prices"):
        await handbook.chat(model=model, max_tokens=1)
    filters = [
        {tensor["name"]: tensor["data"][0] for tensor in call.body["inputs"]}["filter"]
        for call in handbook.calls("context")
    ]
    one, other = handbook.stores["handbook"], handbook.stores["prices"]
    assert set(filters[0].partition(" in ")[2].strip("[]").split(", ")) == {f'"{one}"', f'"{other}"'}
    assert filters[1] == f'tenant == "{TENANT}" and store in ["{other}"]'


async def test_file_search_tool_turns_retrieval_on_for_the_bare_model(handbook: Fleet) -> None:
    reply = await handbook.chat(tools=[{**SEARCH, "max_num_results": 1}], max_tokens=5)
    assert reply.json["model"] == MODEL
    assert [s["filename"] for s in reply.json["rag"]["sources"]] == ["returns.md"]


async def test_bare_model_retrieves_nothing(handbook: Fleet) -> None:
    reply = await handbook.chat(max_tokens=5)
    assert "rag" not in reply.json
    assert not handbook.calls("context")


async def test_moved_answer_keeps_its_passages(handbook: Fleet) -> None:
    handbook.says("Within thirty days [1].")
    handbook.answers.script("llm", Script(reset_after=3))
    events = await handbook.stream(model="rag", max_tokens=100)
    assert events.text == "Within thirty days [1]."
    assert len(handbook.calls("context")) == 1
    assert [a["cause"] for a in events.attempts] == ["reset", "end"]


async def test_failed_retrieval_goes_elsewhere(handbook: Fleet) -> None:
    handbook.says("Within thirty days [1].")
    handbook.answers.script("context", Script(reset_after=0))
    reply = await handbook.chat(model="rag", max_tokens=100)
    assert reply.text == "Within thirty days [1]."
    assert [source["filename"] for source in reply.json["rag"]["sources"]] == ["returns.md", "prices.pdf"]
    metrics = (await handbook.get("/metrics")).raw.decode()
    assert 'ragfleet_retries_total{cause="reset",step="context"} 1.0' in metrics


async def test_slow_retrieval_is_hedged_and_counted(start: Callable[..., Any]) -> None:
    fleet = await start(context_deadline_s=2.0)  # hedged after half of it
    await fleet.learn("handbook")
    fleet.says("Within thirty days [1].")
    fleet.answers.script("context", Script(stall_after=0))
    assert (await fleet.chat(model="rag", max_tokens=100)).text == "Within thirty days [1]."
    assert sorted(call.end for call in fleet.calls("context")) == ["finished", "gone"]
    assert 'ragfleet_context_hedges_total{won="1"} 1.0' in (await fleet.get("/metrics")).raw.decode()


@pytest.mark.parametrize("stream", [False, True])
async def test_milvus_away(handbook: Fleet, stream: bool) -> None:
    words = "in ensemble 'context', retrieval: unavailable: Milvus did not answer within 5 s"
    for triton in handbook.tritons:
        triton.always["context"] = Script(status=500, error=words)
    for _ in range(4):
        reply = await handbook.chat(model="rag", stream=stream)
        assert reply.status == 503
        assert reply.error["code"] == "knowledge_unavailable"
        assert reply.error["message"] == "The knowledge base does not answer.", (
            "where Milvus is, is no client's business"
        )
        assert int(reply.headers["retry-after"]) >= 1
    assert not handbook.gateway.detector.ejected()
    assert (await handbook.chat()).status == 200, "the bare model needs no Milvus"


async def test_collection_that_is_not_there(handbook: Fleet) -> None:
    handbook.answers.script("context", Script(status=500, error="retrieval: not found: no collection ragfleet_chunks"))
    reply = await handbook.chat(model="rag:prices")
    assert reply.status == 404
    assert "prices" in reply.error["message"]


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": "rag:nowhere"}, "model", "model_not_found"),
        ({"tools": [{**SEARCH, "vector_store_ids": ["nowhere"]}]}, "tools", "store_not_found"),
        ({"tools": [{**SEARCH, "vector_store_ids": ["handbook", "nowhere"]}]}, "tools", "store_not_found"),
        ({"model": 'rag:"); drop'}, "model", "model_not_found"),
        ({"model": "Rag"}, "model", "model_not_found"),
    ],
)
async def test_unknown_store(handbook: Fleet, fields: dict[str, object], param: str, code: str) -> None:
    reply = await handbook.chat(**fields)
    assert reply.status == 404
    assert (reply.error["param"], reply.error["code"]) == (param, code)
    assert not handbook.calls("context")


async def test_rag_before_anything_was_ingested(fleet: Fleet) -> None:
    reply = await fleet.chat(model="rag")
    assert reply.status == 404
    assert "ragfleet ingest" in reply.error["message"]


async def test_passages_that_leave_no_room_are_the_prompts_business(handbook: Fleet) -> None:
    reply = await handbook.chat("word " * 600, model="rag")
    assert reply.status == 400
    assert (reply.error["param"], reply.error["code"]) == ("messages", "context_length_exceeded")
