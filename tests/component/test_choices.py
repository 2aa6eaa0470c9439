"""Several answers to one prompt: each a generation of its own, in as many places as there are."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway.serving.choices import choice_seed
from gateway.triton.fake_answers import Script
from tests.support.replies import Events
from tests.support.running import Fleet

TEXT = "Returns are accepted within thirty days."

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


def texts(events: Events) -> dict[int, str]:
    """The text of each choice."""
    joined: dict[int, str] = {}
    for choice in events.choices:
        joined[choice["index"]] = joined.get(choice["index"], "") + (choice["delta"].get("content") or "")
    return joined


async def test_whole(fleet: Fleet) -> None:
    fleet.says(TEXT)
    reply = await fleet.chat(n=3, max_tokens=99)
    choices = reply.json["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2]
    assert [choice["message"]["content"] for choice in choices] == [TEXT] * 3
    assert [choice["finish_reason"] for choice in choices] == ["stop"] * 3
    assert len(fleet.calls("prompt")) == 1, "the prompt is built once"
    usage, tokens = reply.json["usage"], len(fleet.table.encode(TEXT))
    assert usage["completion_tokens"] == 3 * tokens
    assert usage["prompt_tokens"] == len(fleet.calls()[0].body["input_ids"])


async def test_seeds(fleet: Fleet) -> None:
    """The first choice is the answer that would have come alone; the others are the same again each time."""
    seeds = []
    for n in (1, 3, 3):
        await fleet.chat(n=n, temperature=1, seed=-7)
        seeds.append(sorted(call.body["seed"] for call in fleet.calls()[-n:]))
    assert seeds[0][0] in seeds[1]
    assert seeds[1] == seeds[2]
    assert len(set(seeds[1])) == 3
    assert choice_seed(5, 0) == 5


async def test_a_seam_in_one_is_a_seam_in_no_other(fleet: Fleet) -> None:
    fleet.says(TEXT)
    fleet.answers.script("llm", Script(), Script(reset_after=4), Script(reset_after=2))
    events = await fleet.stream(n=3, max_tokens=99, logprobs=True, stream_options={"include_usage": True})
    assert texts(events) == dict.fromkeys(range(3), TEXT)
    tokens = len(fleet.table.encode(TEXT))
    for index in range(3):
        mine = [choice for choice in events.choices if choice["index"] == index]
        assert mine[0]["delta"]["role"] == "assistant"
        assert [choice["finish_reason"] for choice in mine if choice["finish_reason"]] == ["stop"]
        assert sum(len(choice["logprobs"]["content"]) for choice in mine) == tokens
    assert events.chunks[-1]["usage"]["completion_tokens"] == 3 * tokens
    attempts = [chunk["ragfleet"]["attempts"] for chunk in events.chunks if "ragfleet" in chunk]
    assert sorted(len(each) for each in attempts) == [1, 2, 2]


async def test_they_are_interleaved(fleet: Fleet) -> None:
    """Each is at work at once: one that hangs holds up no other."""
    fleet.says(TEXT)
    fleet.answers.script("llm", Script(stall_after=1))
    async with fleet.open(n=2, max_tokens=99) as stream:
        await fleet.until(lambda: sorted(call.end for call in fleet.calls()) == ["", "finished"])
        fleet.tritons[0].resume()
        fleet.tritons[1].resume()
        assert texts(await stream.rest()) == {0: TEXT, 1: TEXT}


async def test_they_begin_in_order_whichever_has_text_first(fleet: Fleet) -> None:
    """openai's stream helper takes a choice's place in the list for its index."""
    fleet.says(TEXT)
    fleet.answers.script("llm", Script(reset_after=0), Script(reset_after=0), Script(), Script())
    events = await fleet.stream(n=4, max_tokens=99)
    begun = [choice["index"] for choice in events.choices if "role" in choice["delta"]]
    assert begun == [choice["index"] for choice in events.choices[:4]] == [0, 1, 2, 3]
    assert texts(events) == dict.fromkeys(range(4), TEXT)


@pytest.mark.parametrize("stream", [False, True])
async def test_more_choices_than_places(start: Callable[..., Any], stream: bool) -> None:
    """One after the other, where the fleet has one place."""
    fleet = await start(instances=1, slots=1, admission_headroom=1.0)
    fleet.says(TEXT)
    if stream:
        assert texts(await fleet.stream(n=4, max_tokens=99)) == dict.fromkeys(range(4), TEXT)
    else:
        reply = await fleet.chat(n=4, max_tokens=99)
        assert [choice["message"]["content"] for choice in reply.json["choices"]] == [TEXT] * 4
    assert fleet.gateway.admission.stats().admitted == 1


async def test_requests_with_choices_do_not_wait_for_each_other(start: Callable[..., Any]) -> None:
    """Together they want eight times the places that there are."""
    fleet = await start(instances=1, slots=2, admission_headroom=1.0, admission_deadline_s=10.0)
    fleet.says(TEXT)
    replies = await asyncio.gather(*(fleet.chat(n=4, max_tokens=99) for _ in range(4)))
    assert [len(reply.json["choices"]) for reply in replies] == [4] * 4


@pytest.mark.parametrize("sent", [0, 3])
async def test_a_client_that_leaves_frees_all(fleet: Fleet, sent: int) -> None:
    """That nothing is held any more is what `Fleet.settled` sees to."""
    fleet.answers.script("llm", *[Script(stall_after=sent)] * 3)
    request = asyncio.ensure_future(fleet.stream(n=3, max_tokens=99))
    await fleet.until(lambda: [call.sent for call in fleet.calls()] == [sent] * 3)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    await fleet.until(lambda: [call.end for call in fleet.calls()] == ["gone"] * 3)


REFUSAL = Script(status=400, error="llm: bad request: seed: not today")


async def test_one_that_fails_in_a_stream_lets_the_others_end(start: Callable[..., Any]) -> None:
    fleet = await start(instances=1, slots=1, admission_headroom=1.0)
    fleet.says(TEXT)
    fleet.answers.script("llm", Script(), REFUSAL)
    events = await fleet.stream(n=3, max_tokens=99)
    assert {index: text for index, text in texts(events).items() if text} == {0: TEXT, 2: TEXT}
    assert events.error is not None
    assert "not today" in events.error["message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_one_that_fails_before_anything_is_told_is_a_status(start: Callable[..., Any], stream: bool) -> None:
    fleet = await start(instances=1, slots=1, admission_headroom=1.0)
    fleet.answers.script("llm", REFUSAL)
    reply = await fleet.chat(n=3, stream=stream)
    assert (reply.status, reply.error["param"]) == (400, "seed")
    assert len(fleet.calls()) == 1


async def test_each_choice_has_its_citations(fleet: Fleet) -> None:
    await fleet.learn("handbook")
    fleet.says("Within thirty days [1].")
    tools = [{"type": "file_search", "vector_store_ids": [fleet.stores["handbook"]]}]
    reply = await fleet.chat(n=2, max_tokens=99, tools=tools)
    for choice in reply.json["choices"]:
        assert len(choice["message"]["annotations"]) == 1
        assert len(choice["rag"]["citations"]) == 1
    assert len(reply.json["rag"]["sources"]) == 2
    assert len(fleet.calls("context")) == 1, "retrieved once"


@pytest.mark.parametrize("stream", [False, True])
async def test_each_choice_has_calls_of_its_own(fleet: Fleet, stream: bool) -> None:
    fleet.says('{"name": "look", "arguments": {}}')
    asked = {"n": 2, "max_tokens": 99, "tool_choice": "required", "tools": [TOOL]}
    ids: dict[int, str] = {}
    if stream:
        for choice in (await fleet.stream(**asked)).choices:
            for call in choice["delta"].get("tool_calls", []):
                if "id" in call:
                    ids[choice["index"]] = call["id"]
    else:
        for choice in (await fleet.chat(**asked)).json["choices"]:
            (call,) = choice["message"]["tool_calls"]
            ids[choice["index"]] = call["id"]
    assert sorted(ids) == [0, 1]
    assert ids[0] != ids[1]
