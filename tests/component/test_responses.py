"""`/v1/responses`: items and events, citations, and what is refused."""

import json
from typing import Any

import pytest

from gateway.triton.fake_answers import Script
from tests.support.running import MODEL, Fleet

PATH = "/v1/responses"
SEARCH = {"type": "file_search", "vector_store_ids": ["handbook"]}


@pytest.fixture
async def handbook(fleet: Fleet) -> Fleet:
    """A fleet with a knowledge store."""
    await fleet.learn("handbook")
    return fleet


def _body(**fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "input": "How long?", "temperature": 0, "max_output_tokens": 100, **fields}


async def _events(fleet: Fleet, **fields: Any) -> list[dict[str, Any]]:
    """The events of a stream; each is named twice, and they are numbered."""
    async with fleet.http.post(PATH, json=_body(stream=True, **fields)) as response:
        assert response.status == 200, await response.text()
        assert response.headers["content-type"].startswith("text/event-stream")
        raw = (await response.text()).split("\n\n")
    assert raw.pop() == ""
    events = []
    for each in raw:
        name, data = each.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


async def test_whole_answer(fleet: Fleet) -> None:
    fleet.says("Thirty days.")
    reply = await fleet.post(_body(instructions="Be brief.", metadata={"a": "b"}), path=PATH)
    body = reply.json
    assert (body["object"], body["status"], body["store"], body["error"]) == ("response", "completed", True, None)
    assert (body["metadata"], body["previous_response_id"]) == ({"a": "b"}, None)
    (message,) = body["output"]
    assert (message["type"], message["role"], message["status"]) == ("message", "assistant", "completed")
    (part,) = message["content"]
    assert (part["type"], part["text"], part["annotations"]) == ("output_text", "Thirty days.", [])
    (call,) = fleet.calls()
    assert body["usage"]["input_tokens"] == len(call.body["input_ids"])
    assert body["usage"]["total_tokens"] == body["usage"]["input_tokens"] + body["usage"]["output_tokens"]
    (prompt,) = fleet.calls("prompt")
    asked = {tensor["name"]: tensor["data"][0] for tensor in prompt.body["inputs"]}
    assert json.loads(asked["messages"]) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "How long?"},
    ]


async def test_answer_that_is_cut_is_incomplete(fleet: Fleet) -> None:
    body = (await fleet.post(_body(max_output_tokens=3), path=PATH)).json
    assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    events = await _events(fleet, max_output_tokens=3)
    assert events[-1]["type"] == "response.incomplete"


async def test_search_comes_first_and_is_cited(handbook: Fleet) -> None:
    handbook.says("Within thirty days [1], or so. It costs nine euros.")
    body = (await handbook.post(_body(tools=[SEARCH], include=["file_search_call.results"]), path=PATH)).json
    search, message = body["output"]
    assert (search["type"], search["status"], search["queries"]) == ("file_search_call", "completed", ["How long?"])
    assert [(r["file_id"], r["filename"], r["score"], r["text"]) for r in search["results"]] == [
        ("a", "returns.md", 0.9, "Thirty days."),
        ("b", "prices.pdf", 0.6, "Nine euros."),
    ]
    (part,) = message["content"]
    assert part["annotations"] == [
        {"type": "file_citation", "file_id": "a", "filename": "returns.md", "index": part["text"].index("[1]")},
        {"type": "file_citation", "file_id": "b", "filename": "prices.pdf", "index": len(part["text"])},
    ]
    assert [(found["n"], found["by"]) for found in body["rag"]["citations"]] == [(1, "mark"), (2, "support")]
    assert (body["rag"]["grounded"], body["rag"]["query"]) == (True, "How long?")


async def test_results_are_shown_only_where_they_are_asked_for(handbook: Fleet) -> None:
    body = (await handbook.post(_body(model="rag"), path=PATH)).json
    assert body["output"][0]["results"] is None


async def test_stream_in_its_order(handbook: Fleet) -> None:
    handbook.says("Thirty days [1].")
    events = await _events(handbook, tools=[SEARCH])
    kinds = [event["type"].removeprefix("response.") for event in events]
    deltas = kinds.count("output_text.delta")
    assert deltas > 1
    assert kinds == [
        "created",
        "in_progress",
        "output_item.added",
        "file_search_call.in_progress",
        "file_search_call.searching",
        "file_search_call.completed",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        *["output_text.delta"] * deltas,
        "output_text.annotation.added",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    text = "".join(event["delta"] for event in events if event["type"].endswith(".delta"))
    final = events[-1]["response"]
    assert text == "Thirty days [1]." == final["output"][1]["content"][0]["text"]
    assert [e["annotation"] for e in events if "annotation" in e] == final["output"][1]["content"][0]["annotations"]
    assert {e["output_index"] for e in events if "content_index" in e} == {1}
    assert {e["item_id"] for e in events if "content_index" in e} == {final["output"][1]["id"]}
    assert events[0]["response"]["id"] == final["id"]


async def test_moved_stream_is_one_text(fleet: Fleet) -> None:
    fleet.says("Within thirty days.")
    fleet.answers.script("llm", Script(reset_after=2))
    final = (await _events(fleet))[-1]["response"]
    assert final["output"][0]["content"][0]["text"] == "Within thirty days."
    assert [attempt["cause"] for attempt in final["ragfleet"]["attempts"]] == ["reset", "end"]


async def test_stream_that_fails_says_so_as_its_last_event(fleet: Fleet) -> None:
    for triton in fleet.tritons:
        triton.always["llm"] = Script(reset_after=0)
    fleet.answers.script("llm", Script(reset_after=2))
    events = await _events(fleet)
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["status"] == "failed"
    assert events[-1]["response"]["error"]["message"]


async def test_failure_before_the_stream_is_a_status(handbook: Fleet) -> None:
    for triton in handbook.tritons:
        triton.always["context"] = Script(status=500, error="retrieval: unavailable: Milvus did not answer within 5 s")
    reply = await handbook.post(_body(tools=[SEARCH], stream=True), path=PATH)
    assert (reply.status, reply.error["code"]) == (503, "knowledge_unavailable")


async def test_nothing_relevant(handbook: Fleet) -> None:
    handbook.answers.passages = ()
    body = (await handbook.post(_body(tools=[SEARCH], include=["file_search_call.results"]), path=PATH)).json
    search, message = body["output"]
    assert search["results"] == []
    assert message["content"][0]["text"] == handbook.settings.rag_not_found
    assert not handbook.calls("llm")


@pytest.mark.parametrize(
    ("choice", "searches"), [("none", 0), ("auto", 1), ("required", 1), ({"type": "file_search"}, 1)]
)
async def test_tool_choice(handbook: Fleet, choice: Any, searches: int) -> None:
    reply = await handbook.post(_body(tools=[SEARCH], tool_choice=choice), path=PATH)
    assert reply.status == 200
    assert len(handbook.calls("context")) == searches
    assert len(reply.json["output"]) == 1 + searches


async def test_output_of_one_turn_is_input_of_the_next(handbook: Fleet) -> None:
    first = (await handbook.post(_body(tools=[SEARCH]), path=PATH)).json
    asked = [{"role": "user", "content": "How long?"}, *first["output"], {"role": "user", "content": "Why?"}]
    second = await handbook.post(_body(input=asked), path=PATH)
    assert second.status == 200, second.raw
    (prompt,) = handbook.calls("prompt")
    messages = json.loads({t["name"]: t["data"][0] for t in prompt.body["inputs"]}["messages"])
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert messages[1]["content"] == first["output"][1]["content"][0]["text"]


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"store": 1}, 400, "store"),
        ({"previous_response_id": ""}, 400, "previous_response_id"),
        ({"previous_response_id": "resp_1"}, 404, "previous_response_id"),
        ({"previous_response_id": "resp_1", "conversation": "conv_1"}, 400, "previous_response_id"),
        ({"conversation": {"name": "conv_1"}}, 400, "conversation"),
        ({"conversation": "conv_1"}, 404, "conversation"),
        ({"conversation": "conv_1", "store": False}, 400, "store"),
        ({"input": [{"type": "item_reference", "id": "x" * 200}]}, 400, "input"),
        ({"input": [{"type": "item_reference"}]}, 400, "input"),
        ({"metadata": {"x" * 65: "y"}}, 400, "metadata"),
        ({"metadata": {"x": "y" * 513}}, 400, "metadata"),
        ({"metadata": {str(n): "y" for n in range(17)}}, 400, "metadata"),
        ({"background": True, "store": False}, 400, "background"),
        ({"truncation": "some"}, 400, "truncation"),
        ({"reasoning": {"effort": "much"}}, 400, "reasoning.effort"),
        ({"text": {"verbosity": "long"}}, 400, "text.verbosity"),
        ({"service_tier": "first"}, 400, "service_tier"),
        ({"max_tool_calls": 0}, 400, "max_tool_calls"),
        ({"reasoning": {"context": "all_turns"}}, 400, "reasoning.context"),
        ({"input": None}, 400, "input"),
        ({"context_management": [{"type": "compaction"}]}, 400, "context_management"),
        ({"input": ""}, 400, "input"),
        ({"input": []}, 400, "input"),
        ({"input": [{"type": "file_search_call"}]}, 400, "input"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, 400, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, 400, "input"),
        ({"tools": [{"type": "web_search"}]}, 400, "tools"),
        ({"tools": [SEARCH, SEARCH]}, 400, "tools"),
        ({"tool_choice": "required"}, 400, "tool_choice"),
        ({"include": ["everything"]}, 400, "include"),
        ({"max_output_tokens": 0}, 400, "max_output_tokens"),
        ({"max_output_tokens": 10_000}, 400, "max_output_tokens"),
        ({"surprise": 1}, 400, "surprise"),
        ({"model": "other"}, 404, "model"),
        ({"tools": [{**SEARCH, "vector_store_ids": ["nowhere"]}]}, 404, "tools"),
    ],
)
async def test_what_is_refused(handbook: Fleet, fields: dict[str, Any], status: int, param: str) -> None:
    reply = await handbook.post(_body(**fields), path=PATH)
    assert reply.status == status, reply.raw
    assert (reply.error["param"] or "").startswith(param)
    assert not handbook.calls()


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning": {"effort": "none"}},
        {"reasoning": {"effort": "none", "summary": None}},
        {"text": {"verbosity": "medium"}},
        {"text": {"format": {"type": "text"}, "verbosity": "medium"}},
        {"context_management": []},
        {"service_tier": "flex", "max_tool_calls": 3, "user": "ada", "safety_identifier": "x"},
        {"reasoning": {"summary": "detailed", "mode": "standard", "context": "auto"}},
        {"top_k": -1, "min_p": 0.0, "ignore_eos": False},
    ],
)
async def test_what_means_off_is_accepted(fleet: Fleet, fields: dict[str, Any]) -> None:
    fleet.says("Thirty days.")
    reply = await fleet.post(_body(**fields), path=PATH)
    assert reply.status == 200, reply.raw


async def test_a_reference_to_an_item_names_the_cure(fleet: Fleet) -> None:
    """The AI SDK sends it in the second turn."""
    given = [{"role": "user", "content": "Hi"}, {"type": "item_reference", "id": "msg_1"}]
    reply = await fleet.post(_body(input=given), path=PATH)
    assert (reply.status, reply.error["param"], reply.error["code"]) == (404, "input.1", "item_not_found")
    assert "send the item itself" in reply.error["message"]


async def test_client_that_leaves_frees_the_engine(fleet: Fleet) -> None:
    for triton in fleet.tritons:
        triton.always["llm"] = Script(stall_after=3)
    async with fleet.http.post(PATH, json=_body(stream=True)) as response:
        await response.content.readany()
        response.close()
    await fleet.until(lambda: all(call.end == "gone" for call in fleet.calls()))
