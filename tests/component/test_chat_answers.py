"""Answers when nothing goes wrong: text, usage, ends, stop strings, split characters, and what the engine is asked."""

import asyncio

import pytest

from gateway.triton.fake_answers import Script
from tests.support.running import MODEL, Fleet

SONG = "The kettle sings in the kitchen."


async def test_whole_answer_has_openais_shape(fleet: Fleet) -> None:
    fleet.says(SONG)
    reply = await fleet.chat("What does the kettle do?", max_tokens=100)
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    body = reply.json
    assert body["id"].startswith("chatcmpl-")
    assert body["object"] == "chat.completion"
    assert body["model"] == MODEL
    (choice,) = body["choices"]
    assert choice == {
        "index": 0,
        "message": {"role": "assistant", "content": SONG, "refusal": None},
        "logprobs": None,
        "finish_reason": "stop",
    }
    assert "rag" not in body
    assert [a["cause"] for a in body["ragfleet"]["attempts"]] == ["end"]


async def test_usage_counts_what_the_engine_read_and_wrote(fleet: Fleet) -> None:
    fleet.says(SONG)
    body = (await fleet.chat("What does the kettle do?", max_tokens=100)).json
    (call,) = fleet.calls()
    prompt, answer = len(call.body["input_ids"]), len(fleet.table.encode(SONG))
    assert body["usage"] == {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


async def test_streamed_answer_is_the_whole_one_in_pieces(fleet: Fleet) -> None:
    fleet.says(SONG)
    events = await fleet.stream(max_tokens=100)
    assert events.status == 200
    assert events.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert events.done
    assert events.text == SONG
    assert events.choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert events.finish_reason == "stop"
    assert [c["finish_reason"] for c in events.choices[:-1]] == [None] * (len(events.choices) - 1)
    assert len({(c["id"], c["created"], c["model"], c["object"]) for c in events.chunks}) == 1
    assert all("usage" not in c for c in events.chunks)
    assert 3 <= len(events.choices) <= len(fleet.table.encode(SONG)) + 2


async def test_streamed_usage_comes_last_when_asked_for(fleet: Fleet) -> None:
    fleet.says(SONG)
    events = await fleet.stream(max_tokens=100, stream_options={"include_usage": True})
    answer = len(fleet.table.encode(SONG))
    assert [c["usage"] for c in events.chunks[:-1]] == [None] * (len(events.chunks) - 1)
    assert events.chunks[-1]["choices"] == []
    assert events.chunks[-1]["usage"]["completion_tokens"] == answer
    assert events.done


async def test_answer_that_reaches_its_limit_says_so(fleet: Fleet) -> None:
    reply = await fleet.chat(max_tokens=7)
    assert reply.json["choices"][0]["finish_reason"] == "length"
    assert reply.json["usage"]["completion_tokens"] == 7
    assert (await fleet.stream(max_tokens=7)).finish_reason == "length"


async def test_max_completion_tokens_goes_before_max_tokens(fleet: Fleet) -> None:
    reply = await fleet.chat(max_tokens=9, max_completion_tokens=3)
    assert reply.json["usage"]["completion_tokens"] == 3


async def test_answer_without_a_limit_fills_the_room_that_is_left(fleet: Fleet) -> None:
    reply = await fleet.chat(max_tokens=None)
    assert reply.json["usage"]["total_tokens"] == 512
    assert reply.json["choices"][0]["finish_reason"] == "length"


async def test_empty_answer(fleet: Fleet) -> None:
    fleet.says("")
    reply = await fleet.chat()
    assert (reply.status, reply.text) == (200, "")
    assert reply.json["usage"]["completion_tokens"] == 0
    events = await fleet.stream()
    assert (events.text, events.finish_reason, events.done) == ("", "stop", True)


async def test_same_text_for_whole_and_streamed(fleet: Fleet) -> None:
    whole = await fleet.chat("Tell me.", max_tokens=64)
    assert (await fleet.stream("Tell me.", max_tokens=64)).text == whole.text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("stop", "text"),
    [
        ("kettle", "The "),
        (["sings", "kettle"], "The "),
        ("ettle si", "The k"),
        ("The", ""),
        ("kitchen.", "The kettle sings in the "),
        ("not in it", SONG),
        (".!", SONG),
    ],
)
async def test_stop_strings_and_what_follows_them_stay_inside(
    fleet: Fleet, stop: str | list[str], text: str, stream: bool
) -> None:
    fleet.says(SONG)
    if stream:
        events = await fleet.stream(stop=stop, max_tokens=100)
        assert (events.text, events.finish_reason) == (text, "stop")
    else:
        reply = await fleet.chat(stop=stop, max_tokens=100)
        assert (reply.text, reply.json["choices"][0]["finish_reason"]) == (text, "stop")


async def test_stop_string_frees_the_engine_at_once(fleet: Fleet) -> None:
    ids = fleet.table.encode(SONG)
    fleet.says([*ids, *[fleet.plain[0]] * 200])
    fleet.tritons[0].always["llm"] = fleet.tritons[1].always["llm"] = Script(stall_after=len(ids))
    reply = await fleet.chat(stop="kitchen", max_tokens=400)
    assert reply.text == "The kettle sings in the "
    (call,) = fleet.calls()
    await fleet.until(lambda: call.end == "gone")
    tokens = [fleet.table.text_of[i] or "" for i in ids]
    needed = next(n for n in range(len(tokens)) if "kitchen" in "".join(tokens[:n]))
    assert reply.json["usage"]["completion_tokens"] == needed


@pytest.mark.parametrize("stream", [False, True])
async def test_characters_over_several_tokens_come_whole(fleet: Fleet, stream: bool) -> None:
    text = "天気 🦊 naïve — ночь"
    single = [i for byte in text.encode() for i in [fleet.table.bytes_of.index(bytes([byte]))]]
    fleet.says(single)
    if stream:
        events = await fleet.stream(max_tokens=100)
        assert events.text == text
        assert all("�" not in (c["delta"].get("content") or "") for c in events.choices)
    else:
        assert (await fleet.chat(max_tokens=100)).text == text


async def test_character_that_the_limit_cuts_off_is_shown_as_such(fleet: Fleet) -> None:
    single = [fleet.table.bytes_of.index(bytes([byte])) for byte in "a🦊".encode()]
    fleet.says(single)
    reply = await fleet.chat(max_tokens=3)
    assert reply.text == "a�"
    assert reply.json["choices"][0]["finish_reason"] == "length"


async def test_end_token_that_an_engine_lets_through_is_neither_shown_nor_billed(fleet: Fleet) -> None:
    fleet.says([*fleet.table.encode("Yes."), fleet.end, *fleet.table.encode("No.")])
    reply = await fleet.chat()
    assert reply.text == "Yes."
    assert reply.json["usage"]["completion_tokens"] == len(fleet.table.encode("Yes."))
    assert reply.json["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("script", [Script(per_segment=5), Script(split=True), Script(per_segment=3, split=True)])
async def test_how_events_are_cut_into_segments_does_not_matter(fleet: Fleet, script: Script) -> None:
    plain = await fleet.chat("Segments?", max_tokens=40)
    for triton in fleet.tritons:
        triton.always["llm"] = script
    cut = await fleet.chat("Segments?", max_tokens=40)
    assert cut.text == plain.text
    assert cut.json["usage"] == plain.json["usage"]
    assert (await fleet.stream("Segments?", max_tokens=40)).text == plain.text


async def test_engine_is_asked_for_what_the_client_asked(fleet: Fleet) -> None:
    await fleet.chat(
        temperature=0.7,
        top_p=0.9,
        top_k=20,
        seed=-5,
        min_tokens=2,
        repetition_penalty=1.1,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
        max_tokens=4,
    )
    asked = fleet.calls()[0].body
    assert asked["streaming"] is True
    assert asked["request_output_len"] == 4
    assert asked["input_lengths"] == len(asked["input_ids"])
    assert asked["end_id"] == fleet.table.end_id
    wanted = {"temperature": 0.7, "runtime_top_p": 0.9, "runtime_top_k": 20, "seed": 2**64 - 5, "min_tokens": 2}
    wanted |= {"repetition_penalty": 1.1, "presence_penalty": 0.5, "frequency_penalty": -0.5}
    assert {name: asked[name] for name in wanted} == wanted


async def test_temperature_zero_is_greedy(fleet: Fleet) -> None:
    await fleet.chat(temperature=0, seed=1, top_p=0.5)
    asked = fleet.calls()[0].body
    assert asked["runtime_top_k"] == 1
    assert not {"temperature", "seed", "runtime_top_p"} & asked.keys()


async def test_unseeded_requests_do_not_share_a_seed(fleet: Fleet) -> None:
    for _ in range(2):
        await fleet.chat(temperature=1, max_tokens=1)
    first, second = (call.body["seed"] for call in fleet.calls())
    assert first != second


async def test_requests_with_the_same_request_id_have_ids_of_their_own_in_the_engine(fleet: Fleet) -> None:
    """`stop=true` ends whatever has the id, and ids come from clients, who repeat them."""
    headers = {"X-Request-Id": "again"}
    await asyncio.gather(*(fleet.chat(headers=headers) for _ in range(3)))
    assert len({call.body["id"] for call in fleet.calls()}) == 3


async def test_many_streams_at_once_do_not_mix(fleet: Fleet) -> None:
    questions = [f"Question {n}" for n in range(8)]
    alone = [(await fleet.chat(q, max_tokens=40)).text for q in questions]
    together = await asyncio.gather(*(fleet.stream(q, max_tokens=40) for q in questions))
    assert [events.text for events in together] == alone
    assert {fleet.name(t) for t in fleet.tritons for _ in t.made()} == {"triton-0", "triton-1"}


async def test_connections_to_an_instance_are_used_again(start) -> None:
    fleet = await start(instances=1)
    for _ in range(8):
        assert (await fleet.chat(max_tokens=3)).status == 200
        await fleet.settled()
    assert fleet.tritons[0].accepted <= 2


async def test_answer_at_its_limit_waits_for_no_end_and_keeps_the_connection(start) -> None:
    """Triton sends the end of the response after the last token, by itself."""
    fleet = await start(instances=1)
    (triton,) = fleet.tritons
    triton.always["llm"] = Script(stall_after=3)
    for _ in range(4):
        reply = await fleet.chat(max_tokens=3)
        assert reply.json["usage"]["completion_tokens"] == 3
        triton.resume()
        await fleet.settled()
        triton.hold()
    assert [call.end for call in fleet.calls()] == ["finished"] * 4
    assert triton.accepted <= 2


async def test_response_that_does_not_end_after_its_last_token_is_cut_off(
    start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.triton.llm.TokenStream.FAREWELL_S", 0.05)
    fleet = await start(instances=1)
    fleet.gateway.streams.SWEEP_S = 0.02
    fleet.answers.script("llm", Script(stall_after=16))
    assert (await fleet.chat(max_tokens=16)).json["usage"]["completion_tokens"] == 16
    (call,) = fleet.calls()
    await fleet.until(lambda: call.end == "gone")
    assert not fleet.gateway.detector.ejected()
