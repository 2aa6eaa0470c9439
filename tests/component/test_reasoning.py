"""What a model thinks before it answers is told apart from the answer: on every path, over every seam, by tokens alone."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.serving.log_probs import AnswerLogProbs
from gateway.triton.fake_answers import Script, log_prob_of
from tests.support.replies import Events
from tests.support.running import MODEL, Fleet, make_tokenizer, settings_for

BEGIN, END = MARKERS = ("<think>", "</think>")
THOUGHT, ANSWER = "The receipt says\nthirty, 東京.", "Thirty days."


@pytest.fixture
async def thinker(tmp_path: Path) -> AsyncIterator[Fleet]:
    """A fleet whose model has tokens to think with."""
    async with Fleet(settings_for(tmp_path, make_tokenizer(tmp_path / "tokenizer", more=MARKERS))) as fleet:
        yield fleet


def thinks(fleet: Fleet, *, begun: bool = False, answer: str = ANSWER) -> list[int]:
    """From now on every answer is this, in ids: thoughts with white space around them, and the answer."""
    begin, end = (fleet.table.controls[name].id for name in MARKERS)
    encode = fleet.table.encode
    ids = [end, *encode("\n\n" + answer)]
    ids = [*encode("\n" + THOUGHT + "\n"), *ids] if begun else [begin, *encode("\n" + THOUGHT + "\n"), *ids]
    fleet.says(ids)
    if begun:  # by the template
        fleet.answers.prompt_end = (begin, fleet.start)
    return ids


def thoughts(events: Events) -> str:
    return "".join(choice["delta"].get("reasoning_content") or "" for choice in events.choices)


@pytest.mark.parametrize("begun", [False, True])
async def test_whole_chat(thinker: Fleet, begun: bool) -> None:
    ids = thinks(thinker, begun=begun)
    reply = await thinker.chat(max_tokens=99)
    message = reply.json["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == (THOUGHT, ANSWER)
    usage = reply.json["usage"]
    assert usage["completion_tokens"] == len(ids)
    answered = len(thinker.table.encode("\n\n" + ANSWER))
    assert usage["completion_tokens_details"]["reasoning_tokens"] == len(ids) - answered


@pytest.mark.parametrize("lost_after", [None, 1, 3, 9, 14, 20])
async def test_stream_over_a_seam(thinker: Fleet, lost_after: int | None) -> None:
    ids = thinks(thinker)
    if lost_after is not None:
        thinker.answers.script("llm", Script(reset_after=min(lost_after, len(ids) - 1)))
    events = await thinker.stream(max_tokens=99)
    assert (thoughts(events), events.text) == (THOUGHT, ANSWER)
    kinds = ["t" if "reasoning_content" in choice["delta"] else "a" for choice in events.choices[1:]]
    assert kinds == sorted(kinds, reverse=True), "all thoughts come first"


async def test_cut_off_while_it_thinks(thinker: Fleet) -> None:
    thinks(thinker)
    reply = await thinker.chat(max_tokens=4)
    (choice,) = reply.json["choices"]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"] == ""
    assert THOUGHT.startswith(choice["message"]["reasoning_content"])


@pytest.mark.parametrize("stream", [False, True])
async def test_stop_strings_are_the_answers(thinker: Fleet, stream: bool) -> None:
    """A thought may say them; and the end of thinking is no text that a stop string could see."""
    thinks(thinker, answer="Thirty says who?")
    if stream:
        events = await thinker.stream(max_tokens=99, stop=["says"])
        assert (thoughts(events), events.text) == (THOUGHT, "Thirty ")
    else:
        message = (await thinker.chat(max_tokens=99, stop=["says"])).json["choices"][0]["message"]
        assert (message["reasoning_content"], message["content"]) == (THOUGHT, "Thirty ")


async def test_log_probs_are_the_answers(thinker: Fleet) -> None:
    thinks(thinker)
    reply = await thinker.chat(max_tokens=99, logprobs=True)
    told = [each["logprob"] for each in reply.json["choices"][0]["logprobs"]["content"]]
    assert told == [log_prob_of(token) for token in thinker.table.encode("\n\n" + ANSWER)]


@pytest.mark.parametrize("begun", [False, True])
async def test_a_guided_answer_is_no_thought(thinker: Fleet, begun: bool) -> None:
    """Though the template begins to think: the guide lets no thought through."""
    thinks(thinker, begun=begun)
    thinker.says('{"days": 30}')
    reply = await thinker.chat(max_tokens=99, response_format={"type": "json_object"})
    assert reply.text == '{"days": 30}'
    assert "reasoning_content" not in reply.json["choices"][0]["message"]


async def test_each_choice_thinks(thinker: Fleet) -> None:
    ids = thinks(thinker)
    reply = await thinker.chat(max_tokens=99, n=2)
    assert [c["message"]["reasoning_content"] for c in reply.json["choices"]] == [THOUGHT] * 2
    assert reply.json["usage"]["completion_tokens"] == 2 * len(ids)


def events_of(raw: bytes) -> list[dict[str, Any]]:
    return [json.loads(event.partition("data: ")[2]) for event in raw.decode().split("\n\n") if event]


@pytest.mark.parametrize("tools", [False, True])
async def test_whole_response(thinker: Fleet, tools: bool) -> None:
    thinks(thinker)
    reply = await thinker.post(_response(tools), path="/v1/responses")
    reasoning, message = reply.json["output"]
    assert reasoning["content"] == [{"type": "reasoning_text", "text": THOUGHT}]
    assert (reasoning["type"], reasoning["status"], reasoning["summary"]) == ("reasoning", "completed", [])
    assert message["content"][0]["text"] == ANSWER
    assert reply.json["usage"]["output_tokens_details"]["reasoning_tokens"] > 0


@pytest.mark.parametrize("tools", [False, True])
@pytest.mark.parametrize("lost_after", [None, 5])
async def test_streamed_response(thinker: Fleet, tools: bool, lost_after: int | None) -> None:
    thinks(thinker)
    if lost_after is not None:
        thinker.answers.script("llm", Script(reset_after=lost_after))
    events = events_of((await thinker.post({**_response(tools), "stream": True}, path="/v1/responses")).raw)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    kinds = [event["type"].removeprefix("response.") for event in events]
    once = [kind for at, kind in enumerate(kinds) if at == 0 or kinds[at - 1] != kind]
    assert once == [
        "created",
        "in_progress",
        *("output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done"),
        *("content_part.done", "output_item.done", "output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done", "completed"),
    ]
    deltas = [event["delta"] for event in events if event["type"] == "response.reasoning_text.delta"]
    assert "".join(deltas) == THOUGHT
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == events[-1]["response"]["output"]
    assert [item["type"] for item in done] == ["reasoning", "message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_response_cut_off_while_it_thinks(thinker: Fleet, stream: bool) -> None:
    thinks(thinker)
    reply = await thinker.post({**_response(False), "max_output_tokens": 4, "stream": stream}, path="/v1/responses")
    response = events_of(reply.raw)[-1]["response"] if stream else reply.json
    (item,) = response["output"]
    assert (item["type"], item["status"], response["status"]) == ("reasoning", "incomplete", "incomplete")


async def test_a_completion_is_the_text_as_it_stands(thinker: Fleet) -> None:
    thinks(thinker)
    prompt = [*thinker.table.encode("Hello"), thinker.start]
    body = {"model": MODEL, "prompt": prompt, "max_tokens": 99, "temperature": 0}
    (choice,) = (await thinker.post(body, path="/v1/completions")).json["choices"]
    assert choice["text"] == f"{BEGIN}\n{THOUGHT}\n{END}\n\n{ANSWER}"


@pytest.mark.parametrize(
    ("path", "fields", "effort"),
    [
        ("chat/completions", {"reasoning_effort": "low"}, "low"),
        ("chat/completions", {"reasoning_effort": "none"}, "none"),
        ("chat/completions", {"reasoning_effort": None}, None),
        ("responses", {"reasoning": {"effort": "high", "summary": "auto"}}, "high"),
        ("responses", {"reasoning": {"effort": None}}, None),
        ("responses", {}, None),
    ],
)
async def test_effort_goes_to_the_template(fleet: Fleet, path: str, fields: dict[str, Any], effort: str | None) -> None:
    reply = await fleet.post(_asked(path) | fields, path=f"/v1/{path}")
    assert reply.status == 200
    inputs = {tensor["name"]: tensor["data"][0] for tensor in fleet.calls("prompt")[0].body["inputs"]}
    assert inputs.get("reasoning_effort") == effort
    if path == "responses":
        assert reply.json["reasoning"]["effort"] == effort


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("chat/completions", {"reasoning_effort": "low"}, "reasoning_effort"),
        ("responses", {"reasoning": {"effort": "low"}}, "reasoning.effort"),
    ],
)
async def test_a_template_that_knows_of_none(fleet: Fleet, path: str, fields: dict[str, Any], param: str) -> None:
    fleet.answers.script("prompt", Script(status=400, error="prompt: bad reasoning effort: it knows of none"))
    reply = await fleet.post(_asked(path) | fields, path=f"/v1/{path}")
    assert (reply.status, reply.error["param"], reply.error["code"]) == (400, param, "unsupported_parameter")


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("chat/completions", {"reasoning_effort": "much"}, "reasoning_effort"),
        ("chat/completions", {"reasoning_effort": 3}, "reasoning_effort"),
        ("responses", {"reasoning": {"effort": "much"}}, "reasoning.effort"),
        ("responses", {"reasoning": {"summary": "much"}}, "reasoning.summary"),
        ("responses", {"reasoning": "low"}, "reasoning"),
        ("responses", {"reasoning": {"surprise": 1}}, "reasoning.surprise"),
        ("completions", {"reasoning_effort": "low"}, "reasoning_effort"),
    ],
)
async def test_refused_by_name(fleet: Fleet, path: str, fields: dict[str, Any], param: str) -> None:
    reply = await fleet.post(_asked(path) | fields, path=f"/v1/{path}")
    assert (reply.status, reply.error["param"]) == (400, param)


async def test_thoughts_come_back_with_the_next_turn(thinker: Fleet) -> None:
    """As clients send them, and as they are stored."""
    thinks(thinker)
    first = (await thinker.post(_response(False) | {"store": True}, path="/v1/responses")).json
    turns = [{"role": "user", "content": "Hello?"}, *first["output"], {"role": "user", "content": "And?"}]
    again = await thinker.post(_response(False) | {"input": turns}, path="/v1/responses")
    assert again.status == 200
    following = {"input": "And?", "previous_response_id": first["id"]}
    assert (await thinker.post(_response(False) | following, path="/v1/responses")).status == 200
    told = [
        next(tensor["data"][0] for tensor in call.body["inputs"] if tensor["name"] == "messages")
        for call in thinker.calls("prompt")[1:]
    ]
    assert told[0] == told[1]
    assert ANSWER in told[0]
    assert THOUGHT not in told[0]


def _asked(path: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Hello?"}]
    asked = {"chat/completions": {"messages": messages}, "responses": {"input": messages}}
    return {"model": MODEL, **asked.get(path, {"prompt": "Hello?"})}


async def test_without_markers_nothing_changes(fleet: Fleet) -> None:
    fleet.says(ANSWER)
    reply = await fleet.chat(max_tokens=99)
    assert "reasoning_content" not in reply.json["choices"][0]["message"]
    assert "completion_tokens_details" not in reply.json["usage"]


async def test_an_answer_without_thoughts_keeps_its_white_space(thinker: Fleet) -> None:
    thinker.says("  Thirty days.")
    assert (await thinker.chat(max_tokens=99)).text == "  Thirty days."
    assert AnswerLogProbs(thinker.table).mean == 0.0


def _response(tools: bool) -> dict[str, Any]:
    body = {"model": MODEL, "input": "Hello?", "temperature": 0, "max_output_tokens": 99}
    tool = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
    return {**body, "tools": [tool]} if tools else body
