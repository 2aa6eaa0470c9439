"""Streams that outlive their instance: the client sees one answer, every token once, and is billed once."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from gateway.dispatch.migrating_generation import Generation
from gateway.fleet.view import LoadSample
from gateway.triton.fake_answers import Script
from tests.support.replies import Events
from tests.support.running import Fleet

Start = Callable[..., Any]
LENGTH = 48
STALL_S = 2.0
"""Over what a busy machine takes for a token, so that only those are late that a test holds back."""


def _causes(events: Events) -> list[str]:
    return [a["cause"] for a in events.attempts]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("after", [1, LENGTH - 1])
@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (lambda n: Script(reset_after=n), "reset"),
        (lambda n: Script(error_after=n, error="out of memory"), "engine"),
        (lambda n: Script(reset_after=n, per_segment=4), "reset"),
        (lambda n: Script(stall_after=n), "stall"),
    ],
)
async def test_moved_answer_is_the_uninterrupted_one(
    start: Start, fault: Callable[[int], Script], cause: str, after: int, stream: bool
) -> None:
    fleet = await start(token_deadline_s=STALL_S if cause == "stall" else 60.0)
    fleet.gateway.streams.SWEEP_S = 0.02
    alone = await fleet.chat("Go on.", max_tokens=LENGTH)
    fleet.answers.script("llm", fault(after))
    if stream:
        events = await fleet.stream("Go on.", max_tokens=LENGTH, stream_options={"include_usage": True})
        assert events.done
        text, usage, attempts = events.text, events.chunks[-1]["usage"], events.attempts
    else:
        reply = await fleet.chat("Go on.", max_tokens=LENGTH)
        text, usage, attempts = reply.text, reply.json["usage"], reply.json["ragfleet"]["attempts"]
    assert text == alone.text
    assert usage == alone.json["usage"]
    assert [a["cause"] for a in attempts] == [cause, "end"]
    assert [a["tokens"] for a in attempts] == [after, LENGTH - after]
    assert attempts[0]["instance"] != attempts[1]["instance"]


async def test_next_instance_gets_the_prompt_with_the_journal_and_the_rest_of_the_limits(fleet: Fleet) -> None:
    fleet.answers.script("llm", Script(reset_after=5))
    await fleet.stream(temperature=0.5, seed=7, min_tokens=9, max_tokens=12)
    first, second = (call.body for call in sorted(fleet.calls(), key=lambda call: len(call.body["input_ids"])))
    given = second["input_ids"][len(first["input_ids"]) :]
    assert second["input_ids"][: len(first["input_ids"])] == first["input_ids"]
    assert len(given) == 5
    assert (first["request_output_len"], second["request_output_len"]) == (12, 7)
    assert (first["min_tokens"], second["min_tokens"]) == (9, 4)
    assert (first["seed"], second["seed"]) == (7, 12)
    assert first["id"] != second["id"]
    assert len(fleet.calls("prompt")) == 1, "the prompt is built once"


async def test_a_guided_answer_goes_on_behind_what_it_has_said(fleet: Fleet) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "it", "schema": {"type": "object"}}}
    fleet.answers.script("llm", Script(reset_after=5), Script(reset_after=2))
    await fleet.stream(response_format=wanted, max_tokens=12)
    calls = sorted((call.body for call in fleet.calls()), key=lambda body: len(body["input_ids"]))
    assert [body.get("guided_decoding_prefix_length") for body in calls] == [None, 5, 7]
    assert {(body["guided_decoding_guide_type"], body["guided_decoding_guide"]) for body in calls} == {
        ("json_schema", calls[0]["guided_decoding_guide"])
    }


async def test_an_answer_that_no_engine_can_go_on_with_is_no_fault_of_its_client(fleet: Fleet) -> None:
    refusal = "llm: bad request: guided_decoding_prefix_length: TensorRT-LLM follows a guide from its beginning only"
    fleet.answers.script("llm", Script(reset_after=5), Script(status=400, error=refusal))
    events = await fleet.stream(response_format={"type": "json_object"}, max_tokens=12)
    assert events.error["code"] == "generation_failed"
    assert "cannot go on at another instance" in events.error["message"]


async def test_several_moves(start: Start) -> None:
    fleet = await start(instances=4)
    alone = await fleet.chat("Go on.", max_tokens=LENGTH)
    fleet.answers.script(
        "llm", Script(reset_after=10), Script(stall_after=10, error=""), Script(error_after=3, error="x")
    )
    async with fleet.open("Go on.", max_tokens=LENGTH) as stream:
        await fleet.until(lambda: sum(call.sent for call in fleet.calls()[1:]) == 20)
        fleet.gateway.registry.move_away(fleet.name(fleet.at_work()))
        events = await stream.rest()
    assert events.text == alone.text
    assert _causes(events) == ["reset", "drain", "engine", "end"]
    assert [a["tokens"] for a in events.attempts] == [10, 10, 3, LENGTH - 23]


async def test_what_was_asked_for_goes_along(fleet: Fleet) -> None:
    """Penalties as they were, for the engine counts the journal, which is prompt now; `min_tokens` less what is there."""
    asked = {"presence_penalty": 0.5, "frequency_penalty": -0.25, "repetition_penalty": 1.5, "top_p": 0.5}
    fleet.answers.script("llm", Script(reset_after=5))
    reply = await fleet.chat(**asked, temperature=0.5, seed=3, min_tokens=9, logprobs=True, logit_bias={"7": 1})
    assert reply.status == 200
    first, second = (dict(call.body) for call in fleet.calls())
    own = {"id", "input_ids", "input_lengths", "request_output_len", "min_tokens", "seed"}
    assert {name: first[name] for name in first.keys() - own} == {name: second[name] for name in second.keys() - own}
    assert (first["min_tokens"], second["min_tokens"]) == (9, 4)
    assert first["presence_penalty"] == 0.5


@pytest.mark.parametrize("stop", ["kettle sings", "kitch", "ings in the k"])
async def test_stop_string_across_the_seam(fleet: Fleet, stop: str) -> None:
    song = "The kettle sings in the kitchen."
    fleet.says(song)
    for after in range(1, 8):
        fleet.answers.script("llm", Script(reset_after=after))
        events = await fleet.stream(stop=stop, max_tokens=100)
        fleet.answers.scripts.clear()
        assert events.text == song[: song.index(stop)]
        assert events.finish_reason == "stop"


async def test_character_across_the_seam(fleet: Fleet) -> None:
    text = "a🦊天b"
    fleet.says([fleet.table.bytes_of.index(bytes([byte])) for byte in text.encode()])
    for after in range(1, 9):
        fleet.answers.script("llm", Script(reset_after=after))
        events = await fleet.stream()
        assert events.text == text
        assert _causes(events) == ["reset", "end"]


async def test_killed_instance_moves_all_its_streams(start: Start) -> None:
    fleet = await start(instances=3, slots=16)
    questions = [f"Question {n}" for n in range(12)]
    alone = [(await fleet.chat(q, max_tokens=LENGTH)).text for q in questions]
    for triton in fleet.tritons:
        triton.always["llm"] = Script(stall_after=20)
    streams = [asyncio.ensure_future(fleet.stream(q, max_tokens=LENGTH)) for q in questions]
    await fleet.until(lambda: sum(not call.end and call.sent == 20 for call in fleet.calls()) == len(questions))
    victim, *others = fleet.tritons
    for triton in others:
        triton.resume()
    await victim.kill()
    events = await asyncio.gather(*streams)
    assert [e.text for e in events] == alone
    assert all(e.done for e in events)


async def test_late_tokens_of_an_instance_that_woke_up_are_ignored(start: Start) -> None:
    """SIGSTOP and SIGCONT: the answer has gone on elsewhere, and the work left behind is cancelled."""
    fleet = await start(token_deadline_s=STALL_S)
    fleet.gateway.streams.SWEEP_S = 0.02
    alone = await fleet.chat("Go on.", max_tokens=LENGTH)
    fleet.answers.script("llm", Script(stall_after=9))
    async with fleet.open("Go on.", max_tokens=LENGTH) as stream:
        await fleet.until(lambda: any(call.sent == 9 for call in fleet.calls()))
        hung = fleet.at_work()
        left = hung.made()[-1]
        await hung.until(lambda: bool(left.end))
        hung.resume()
        events = await stream.rest()
    assert left.end == "gone"
    assert events.text == alone.text


async def test_draining_instance_is_left_after_our_patience(start: Start) -> None:
    fleet = await start(drain_patience_s=0.0)
    alone = await fleet.chat("Go on.", max_tokens=LENGTH)
    fleet.answers.script("llm", Script(stall_after=9))
    async with fleet.open("Go on.", max_tokens=LENGTH) as stream:
        await fleet.until(lambda: any(call.sent == 9 for call in fleet.calls()))
        fleet.change(fleet.at_work(), draining=True, healthy=False)
        fleet.gateway.registry.rescue(time.monotonic() + 1)
        events = await stream.rest()
    assert events.text == alone.text
    assert _causes(events) == ["drain", "end"]
    assert not fleet.gateway.detector.ejected()


async def test_silent_stream_on_an_unhealthy_instance_is_rescued_before_its_deadline(start: Start) -> None:
    fleet = await start(token_deadline_s=60.0)
    fleet.answers.script("llm", Script(stall_after=9))
    async with fleet.open("Go on.", max_tokens=LENGTH) as stream:
        await stream.text()
        await fleet.until(lambda: any(call.sent == 9 for call in fleet.calls()))
        fleet.change(fleet.at_work(), healthy=False)
        fleet.gateway.registry.rescue(time.monotonic() + 5)
        events = await stream.rest()
    assert _causes(events) == ["stall", "end"]


@pytest.mark.parametrize("dark", [True, False])
async def test_request_that_waits_on_an_unhealthy_instance_is_rescued_if_the_instance_is_dark(
    start: Start, dark: bool
) -> None:
    """Before its first token a request may wait in the engine's queue; that moves only while the instance lives."""
    fleet = await start(token_deadline_s=60.0)
    fleet.says("Here you are.")
    fleet.answers.script("llm", Script(stall_after=0))
    reply = asyncio.ensure_future(fleet.chat())
    await fleet.until(lambda: len(fleet.calls()) == 1)
    hung = fleet.at_work()
    fleet.change(hung, healthy=False)
    if not dark:
        fleet.gateway.store.set_load(fleet.name(hung), LoadSample(at=time.monotonic()))
    fleet.gateway.registry.rescue(time.monotonic())
    if not dark:
        hung.resume()
    attempts = (await reply).json["ragfleet"]["attempts"]
    assert [a["cause"] for a in attempts] == (["stall", "end"] if dark else ["end"])


@pytest.mark.parametrize("free", [True, False])
async def test_what_waits_for_a_slot_goes_where_one_is_free(start: Start, free: bool) -> None:
    fleet = await start(instances=2, slots=2)
    registry = fleet.gateway.registry
    registry.CHECK_EVERY_S = 3600.0  # the test says when
    full, other = fleet.tritons
    fleet.change(other, healthy=False)
    fleet.answers.script("llm", *[Script(stall_after=3)] * 2, Script(stall_after=0))
    long = [asyncio.ensure_future(fleet.chat("Go on.", max_tokens=LENGTH)) for _ in range(2)]
    await fleet.until(lambda: sum(call.sent == 3 for call in fleet.calls()) == 2)
    short = asyncio.ensure_future(fleet.chat(max_tokens=2))
    await fleet.until(lambda: len(fleet.calls()) == 3)
    fleet.change(other, healthy=free)
    registry.rescue(time.monotonic())
    await asyncio.sleep(0)
    assert not any(call.end for call in fleet.calls()), "a slot may come free at once"
    registry.rescue(time.monotonic() + registry.QUEUE_S + 1)
    if not free:
        full.resume()
    reply = await short
    assert [a["cause"] for a in reply.json["ragfleet"]["attempts"]] == (["queued", "end"] if free else ["end"])
    full.resume()
    for each in await asyncio.gather(*long):
        assert [a["cause"] for a in each.json["ragfleet"]["attempts"]] == ["end"]
    assert not fleet.gateway.detector.ejected()


@pytest.mark.parametrize("after", [0, 1, 20])
@pytest.mark.parametrize("stream", [False, True])
async def test_poison_request_is_stopped_after_two_deaths_and_named(
    start: Start, after: int, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A request that kills the engine at its nth token meets the second one with n tokens done: it dies at once."""
    fleet = await start(instances=4)
    for triton in fleet.tritons:
        triton.always["llm"] = Script(kill_after=0)
    fleet.answers.script("llm", Script(kill_after=after))
    if stream and after:
        events = await fleet.stream("Poison", max_tokens=LENGTH, headers={"X-Request-ID": "bad-1"})
        assert events.done
        error = events.error
    else:
        reply = await fleet.chat("Poison", max_tokens=LENGTH, headers={"X-Request-ID": "bad-1"})
        assert reply.status == 502
        error = reply.error
    assert error is not None
    assert error["code"] == "poison_request"
    assert "2 instances died" in error["message"]
    assert "request bad-1 is poison" in caplog.text
    assert sum(not triton.alive for triton in fleet.tritons) == 2


async def test_kept_connections_hide_no_poison(start: Start) -> None:
    """A connection that breaks before an answer may have been old; here it was the instance that died."""
    fleet = await start(instances=4)
    await asyncio.gather(*(fleet.chat(f"Question {n}") for n in range(12)))  # connections to all
    for triton in fleet.tritons:
        triton.always["llm"] = Script(kill_after=0)
    assert (await fleet.chat("Poison")).error["code"] == "poison_request"
    assert sum(not triton.alive for triton in fleet.tritons) == 2


async def test_stream_waits_for_some_instance_to_come_back(start: Start) -> None:
    fleet = await start(instances=1)
    alone = await fleet.chat("Go on.", max_tokens=LENGTH)
    only = fleet.tritons[0]
    fleet.answers.script("llm", Script(stall_after=9))
    async with fleet.open("Go on.", max_tokens=LENGTH) as stream:
        await fleet.until(lambda: any(call.sent == 9 for call in fleet.calls()))
        await only.kill()
        fleet.members(healthy=False)
        await only.revive()
        fleet.members()
        events = await stream.rest()
    assert events.text == alone.text


@pytest.mark.parametrize("stream", [False, True])
async def test_answer_that_nobody_can_go_on_with_ends_in_an_error(
    start: Start, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Generation, "RESCUE_S", 0.05)
    fleet = await start(instances=2)
    for triton in fleet.tritons:
        triton.always["llm"] = Script(stall_after=9)
    answer = asyncio.ensure_future(fleet.stream(max_tokens=LENGTH) if stream else fleet.chat(max_tokens=LENGTH))
    await fleet.until(lambda: any(call.sent == 9 for call in fleet.calls()))
    name = fleet.name(fleet.at_work())
    fleet.members(healthy=False)
    fleet.gateway.registry.move_away(name)
    result = await answer
    if stream:
        assert result.done
        assert len(result.text) > 0
        error = result.error
    else:
        assert result.status == 502
        error = result.error
    assert error["code"] == "generation_failed"
    assert name in error["message"]


@pytest.mark.parametrize("stall_after", [0, 5])
@pytest.mark.parametrize("stream", [False, True])
async def test_request_that_takes_too_long_is_ended(start: Start, stall_after: int, stream: bool) -> None:
    fleet = await start(request_deadline_s=1.0)
    for triton in fleet.tritons:
        triton.always["llm"] = Script(stall_after=stall_after)
    if stream and stall_after:
        events = await fleet.stream(max_tokens=LENGTH)
        assert events.error is not None
        assert events.error["code"] == "deadline_exceeded"
        assert events.done
    else:
        reply = await fleet.chat(max_tokens=LENGTH, stream=stream)
        assert reply.status == 504
        assert reply.error["code"] == "deadline_exceeded"
    (call,) = fleet.calls()
    await fleet.until(lambda: call.end == "gone")
