"""How likely each token was: on every path, whole and streamed, over a lost instance, and to the very token."""

import json
from typing import Any

import pytest

from gateway.triton.fake_answers import Script, log_prob_of
from tests.support.running import MODEL, Fleet

TEXT = "Naïve café, 東京: thirty days."
"""With characters of several tokens."""
INCLUDE = ["message.output_text.logprobs"]


def expected(fleet: Fleet, text: str = TEXT) -> list[tuple[list[int], float]]:
    """Bytes and log probability of each token."""
    ids = fleet.table.encode(text)
    return [(list(fleet.table.bytes_of[token]), log_prob_of(token)) for token in ids]


def seen(told: list[dict[str, Any]]) -> list[tuple[list[int], float]]:
    return [(each["bytes"], each["logprob"]) for each in told]


async def test_whole_chat(fleet: Fleet) -> None:
    fleet.says(TEXT)
    reply = await fleet.chat(max_tokens=99, logprobs=True, top_logprobs=3)
    content = reply.json["choices"][0]["logprobs"]["content"]
    assert seen(content) == expected(fleet)
    assert [len(each["top_logprobs"]) for each in content] == [3] * len(content)
    first = content[0]
    assert first["top_logprobs"][0] == {name: first[name] for name in ("token", "bytes", "logprob")}


async def test_without_alternatives(fleet: Fleet) -> None:
    fleet.says(TEXT)
    reply = await fleet.chat(max_tokens=99, logprobs=True)
    content = reply.json["choices"][0]["logprobs"]["content"]
    assert seen(content) == expected(fleet)
    assert [each["top_logprobs"] for each in content] == [[]] * len(content)


@pytest.mark.parametrize("lost_after", [None, 1, 4, 9])
async def test_stream_tells_each_token_once_over_a_seam(fleet: Fleet, lost_after: int | None) -> None:
    fleet.says(TEXT)
    if lost_after is not None:
        fleet.answers.script("llm", Script(reset_after=lost_after))
    events = await fleet.stream(max_tokens=99, logprobs=True, top_logprobs=1)
    told = [each for choice in events.choices for each in choice["logprobs"]["content"]]
    assert events.text == TEXT
    assert seen(told) == expected(fleet)
    assert len(events.attempts) == (1 if lost_after is None else 2)


async def test_a_token_comes_with_its_text(fleet: Fleet) -> None:
    """What clients lay over the text: the tokens so far begin in the text so far."""
    fleet.says(TEXT)
    events = await fleet.stream(max_tokens=99, logprobs=True)
    data, text = b"", ""
    for choice in events.choices:
        text += choice["delta"].get("content") or ""
        data += b"".join(bytes(each["bytes"]) for each in choice["logprobs"]["content"])
        assert data.decode("utf-8", "ignore").startswith(text)


@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_is_told_of_a_stop_string(fleet: Fleet, stream: bool) -> None:
    fleet.says("Within thirty days. Stop here. Never")
    body = {"max_tokens": 99, "logprobs": True, "stop": ["Stop"]}
    if stream:
        told = [e for choice in (await fleet.stream(**body)).choices for e in choice["logprobs"]["content"]]
    else:
        told = (await fleet.chat(**body)).json["choices"][0]["logprobs"]["content"]
    whole = b"".join(bytes(each["bytes"]) for each in told)
    assert whole.startswith(b"Within thirty days. ")
    assert not whole.endswith(b"here")
    assert b"Stop" not in whole or bytes(told[-1]["bytes"]).startswith(b" ")  # a token may reach into it


@pytest.mark.parametrize("stream", [False, True])
async def test_completion(fleet: Fleet, stream: bool) -> None:
    fleet.says(TEXT)
    prompt = [*fleet.table.encode("Hello"), fleet.start]
    body = {"model": MODEL, "prompt": prompt, "temperature": 0, "max_tokens": 99, "logprobs": 2, "stream": stream}
    fleet.answers.script("llm", Script(reset_after=3))
    reply = await fleet.post(body, path="/v1/completions")
    if stream:
        chunks = [json.loads(line[6:]) for line in reply.raw.decode().split("\n\n") if line.startswith("data: {")]
        parts = [chunk["choices"][0]["logprobs"] for chunk in chunks]
    else:
        parts = [reply.json["choices"][0]["logprobs"]]
    joined = {name: [item for part in parts for item in part[name]] for name in parts[0]}
    assert joined["token_logprobs"] == [each for _, each in expected(fleet)]
    assert joined["text_offset"] == sorted(joined["text_offset"])
    for token, offset, top in zip(joined["tokens"], joined["text_offset"], joined["top_logprobs"], strict=True):
        assert token in top
        assert token.startswith("bytes:\\x") or TEXT[offset:].startswith(token)


@pytest.mark.parametrize("stream", [False, True])
async def test_response(fleet: Fleet, stream: bool) -> None:
    fleet.says(TEXT)
    body = {"model": MODEL, "input": "Hello?", "temperature": 0, "max_output_tokens": 99, "include": INCLUDE}
    reply = await fleet.post({**body, "top_logprobs": 2, "stream": stream}, path="/v1/responses")
    if not stream:
        (message,) = reply.json["output"]
        assert seen(message["content"][0]["logprobs"]) == expected(fleet)
        return
    events = [json.loads(event.partition("data: ")[2]) for event in reply.raw.decode().split("\n\n") if event]
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    assert seen([each for event in deltas for each in event["logprobs"]]) == expected(fleet)
    (done,) = [event for event in events if event["type"] == "response.output_text.done"]
    assert seen(done["logprobs"]) == expected(fleet)
    assert seen(events[-1]["response"]["output"][0]["content"][0]["logprobs"]) == expected(fleet)


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("chat/completions", {"logprobs": "yes"}, "logprobs"),
        ("chat/completions", {"logprobs": 1}, "logprobs"),
        ("chat/completions", {"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ("chat/completions", {"logprobs": True, "top_logprobs": -1}, "top_logprobs"),
        ("chat/completions", {"logprobs": True, "top_logprobs": 1.5}, "top_logprobs"),
        ("chat/completions", {"top_logprobs": 2}, "top_logprobs"),
        ("completions", {"logprobs": 6}, "logprobs"),
        ("completions", {"logprobs": -1}, "logprobs"),
        ("completions", {"logprobs": True}, "logprobs"),
        ("completions", {"top_logprobs": 2}, "top_logprobs"),
        ("responses", {"top_logprobs": 2}, "top_logprobs"),
        ("responses", {"top_logprobs": 21, "include": INCLUDE}, "top_logprobs"),
        ("responses", {"logprobs": True}, "logprobs"),
    ],
)
async def test_refused_by_name(fleet: Fleet, path: str, fields: dict[str, Any], param: str) -> None:
    asked = {
        "chat/completions": {"messages": [{"role": "user", "content": "Hello?"}]},
        "completions": {"prompt": "Hello?"},
        "responses": {"input": "Hello?"},
    }[path]
    reply = await fleet.post({"model": MODEL, **asked, **fields}, path=f"/v1/{path}")
    assert (reply.status, reply.error["param"]) == (400, param)
    assert not fleet.calls()


async def test_an_engine_that_cannot_refuses_by_name(fleet: Fleet) -> None:
    fleet.answers.script("llm", Script(status=400, error="llm: bad request: return_log_probs: it knows none"))
    reply = await fleet.chat(logprobs=True)
    assert (reply.status, reply.error["param"]) == (400, "logprobs")


async def test_an_engine_that_takes_no_notice_of_what_it_does_not_know(fleet: Fleet) -> None:
    """TensorRT-LLM's own backend gives log probabilities and knows nothing of alternatives."""
    event = b'data: {"id":"x","output_ids":9,"sequence_length":1,"output_log_probs":-0.5}\n\n'
    fleet.answers.script("llm", Script(raw=event, stall_after=0))
    reply = await fleet.chat(logprobs=True, top_logprobs=2)
    assert (reply.status, reply.error["param"]) == (400, "top_logprobs")
