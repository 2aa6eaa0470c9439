"""`/v1/completions`: prompts as they stand, in text and in tokens, whole and streamed."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.triton.fake_answers import Script
from tests.support.running import MODEL, Fleet, make_tokenizer, settings_for

PATH = "/v1/completions"


def _body(fleet: Fleet, **fields: Any) -> dict[str, Any]:
    """A greedy request whose prompt ends as the fake's prompts do."""
    return {"model": MODEL, "prompt": [*fleet.table.encode("Hello"), fleet.start], "temperature": 0, **fields}


def _chunks(raw: bytes) -> list[dict[str, Any]]:
    return [json.loads(event[6:]) for event in raw.split(b"\n\n") if event.startswith(b"data: {")]


async def test_whole_completion(fleet: Fleet) -> None:
    fleet.says("Thirty days.")
    reply = await fleet.post(_body(fleet, max_tokens=100), path=PATH)
    assert reply.status == 200
    (choice,) = reply.json["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("Thirty days.", "stop")
    (call,) = fleet.calls()
    assert reply.json["usage"]["prompt_tokens"] == len(call.body["input_ids"])
    assert not fleet.calls("prompt"), "no chat template"


async def test_text_goes_to_the_engine_as_its_tokens(fleet: Fleet) -> None:
    await fleet.post({"model": MODEL, "prompt": "The quick brown fox", "max_tokens": 3}, path=PATH)
    (call,) = fleet.calls()
    assert call.body["input_ids"] == fleet.table.encode("The quick brown fox")


async def test_several_prompts_have_a_choice_each(fleet: Fleet) -> None:
    reply = await fleet.post({"model": MODEL, "prompt": ["The", "Stop"], "max_tokens": 3}, path=PATH)
    assert [choice["index"] for choice in reply.json["choices"]] == [0, 1]
    assert reply.json["usage"]["completion_tokens"] == 6


async def test_moved_stream_is_one_text(fleet: Fleet) -> None:
    fleet.says("Within thirty days.")
    fleet.answers.script("llm", Script(reset_after=2))
    async with fleet.http.post(PATH, json=_body(fleet, max_tokens=100, stream=True)) as response:
        assert response.status == 200
        events = (await response.text()).split("\n\n")
    assert events[-2] == "data: [DONE]"
    chunks = [json.loads(event[6:]) for event in events[:-2]]
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "Within thirty days."
    assert [attempt["cause"] for attempt in chunks[-1]["ragfleet"]["attempts"]] == ["reset", "end"]


@pytest.mark.parametrize("stream", [False, True])
async def test_choices_of_each_prompt_are_numbered_through(fleet: Fleet, stream: bool) -> None:
    body = {"model": MODEL, "prompt": ["The", "Stop"], "max_tokens": 3, "n": 2, "temperature": 0, "echo": True}
    reply = await fleet.post({**body, "stream": stream}, path=PATH)
    texts: dict[int, str] = {}
    parts = _chunks(reply.raw) if stream else [reply.json]
    for choice in [choice for part in parts for choice in part["choices"]]:
        texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
    assert sorted(texts) == [0, 1, 2, 3]
    assert texts[0] == texts[1] != texts[2] == texts[3]
    assert [texts[0][:3], texts[2][:4]] == ["The", "Stop"]
    assert len(fleet.calls()) == 4
    if not stream:
        prompts = len(fleet.table.encode("The")) + len(fleet.table.encode("Stop"))
        assert reply.json["usage"]["prompt_tokens"] == prompts
        assert reply.json["usage"]["completion_tokens"] == 12


async def test_best_of_gives_what_the_model_thinks_most_of(fleet: Fleet) -> None:
    """The fakes' log probability of a token hangs on its id alone."""
    good, bad = [token for token in fleet.plain if token % 64 < 8][:3], [t for t in fleet.plain if t % 64 > 40][:3]
    said = iter([bad, good, bad])

    def follow(ids: Sequence[int]) -> int | None:
        spoken = list(reversed(ids)).index(fleet.start)
        answer = good if spoken and ids[-spoken] == good[0] else bad
        return (answer if spoken else next(said))[spoken] if spoken < 3 else None

    fleet.follows(follow)
    reply = await fleet.post(_body(fleet, max_tokens=3, best_of=3, n=1), path=PATH)
    (choice,) = reply.json["choices"]
    assert choice["text"] == fleet.table.decode(good)
    assert (choice["index"], choice["logprobs"]) == (0, None)
    assert reply.json["usage"]["completion_tokens"] == 9


async def test_best_of_where_an_engine_tells_nothing(fleet: Fleet) -> None:
    fleet.answers.script("llm", *[Script(status=400, error="llm: bad request: return_log_probs: it knows none")] * 2)
    reply = await fleet.post(_body(fleet, max_tokens=3, best_of=2), path=PATH)
    assert (reply.status, reply.error["param"]) == (400, "best_of")


async def test_a_hole_is_filled_by_a_model_that_can(tmp_path: Path) -> None:
    markers = ("<fim_prefix>", "<fim_suffix>", "<fim_middle>")
    async with Fleet(settings_for(tmp_path, make_tokenizer(tmp_path / "tokenizer", more=markers))) as fleet:
        prefix, suffix, middle = (fleet.table.controls[name].id for name in markers)
        body = {"model": MODEL, "prompt": "The quick", "suffix": "dog", "max_tokens": 3}
        reply = await fleet.post(body, path=PATH)
        (call,) = fleet.calls()
        encode = fleet.table.encode
        assert call.body["input_ids"] == [prefix, *encode("The quick"), suffix, *encode("dog"), middle]
        assert reply.json["usage"]["prompt_tokens"] == len(call.body["input_ids"])
        reply = await fleet.post(body | {"suffix": "dog " * 2000}, path=PATH)
        assert (reply.status, reply.error["param"]) == (400, "suffix")


@pytest.mark.parametrize("continuous", [False, True])
async def test_usage_of_a_stream(fleet: Fleet, continuous: bool) -> None:
    """null in each chunk but the last, as the client's types have it; or the tokens so far."""
    fleet.says("Within thirty days.")
    options = {"include_usage": True, "continuous_usage_stats": continuous}
    body = _body(fleet, max_tokens=100, stream=True, stream_options=options)
    async with fleet.http.post(PATH, json=body) as response:
        events = (await response.text()).split("\n\n")
    *chunks, last = [json.loads(event[6:])["usage"] for event in events if event.startswith("data: {")]
    assert last["completion_tokens"] > 1
    if continuous:
        assert [chunk["completion_tokens"] for chunk in chunks][-1] == last["completion_tokens"]
    else:
        assert chunks == [None] * len(chunks)


@pytest.mark.parametrize("sent", [0, 3])
async def test_client_that_leaves_frees_engine_and_place(fleet: Fleet, sent: int) -> None:
    """Before the first byte, and behind it; that nothing is held any more is what `Fleet.settled` sees to."""
    fleet.answers.script("llm", Script(stall_after=sent))
    request = asyncio.ensure_future(fleet.post(_body(fleet, max_tokens=100, stream=True), path=PATH))
    await fleet.until(lambda: [call.sent for call in fleet.calls()] == [sent])
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    (call,) = fleet.calls()
    await fleet.until(lambda: call.end == "gone")


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"echo": True, "logprobs": 1}, 400, "echo"),
        ({"echo": "yes"}, 400, "echo"),
        ({"n": 9}, 400, "n"),
        ({"n": 0}, 400, "n"),
        ({"n": True}, 400, "n"),
        ({"n": 8, "prompt": ["The"] * 9}, 400, "n"),
        ({"best_of": 8, "prompt": ["The"] * 9}, 400, "best_of"),
        ({"best_of": 2, "n": 3}, 400, "best_of"),
        ({"best_of": 9}, 400, "best_of"),
        ({"best_of": 2, "stream": True}, 400, "best_of"),
        ({"suffix": "x"}, 400, "suffix"),
        ({"suffix": 5}, 400, "suffix"),
        ({"prompt": ""}, 400, "prompt"),
        ({"prompt": []}, 400, "prompt"),
        ({"prompt": [2**30]}, 400, "prompt"),
        ({"prompt": "word " * 2000}, 400, "prompt"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"surprise": 1}, 400, "surprise"),
        ({"model": "rag"}, 404, "model"),
    ],
)
async def test_what_is_refused(fleet: Fleet, fields: dict[str, Any], status: int, param: str) -> None:
    reply = await fleet.post({"model": MODEL, "prompt": "The", **fields}, path=PATH)
    assert (reply.status, reply.error["param"]) == (status, param)
    assert not fleet.calls()
