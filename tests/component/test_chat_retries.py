"""What goes wrong before the first token: another instance answers, or the client hears why not and when to come back."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway.triton.fake import FakeTriton
from gateway.triton.fake_answers import Script
from tests.support.running import Fleet

Start = Callable[..., Any]

FULL = Script(status=503, error="llm: queue full: 8 requests wait")
BROKEN = Script(status=500, error="the engine has crashed")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("script", "cause"),
    [
        (BROKEN, "engine"),
        (FULL, "busy"),
        (Script(status=500, error="in queue: Exceeds maximum queue size"), "busy"),
        (Script(error_after=0, error="assertion failed"), "engine"),
        (Script(error_after=0, error="llm: queue full: 8 wait"), "busy"),
        (Script(raw=b"data: {nonsense\n\n"), "engine"),
        (Script(status=500, error=""), "engine"),
    ],
)
async def test_failure_before_the_first_token_is_not_seen(
    fleet: Fleet, script: Script, cause: str, stream: bool
) -> None:
    fleet.says("Here you are.")
    fleet.answers.script("llm", script)
    if stream:
        events = await fleet.stream()
        assert (events.text, events.finish_reason, events.done) == ("Here you are.", "stop", True)
        attempts = events.attempts
    else:
        reply = await fleet.chat()
        assert (reply.status, reply.text) == (200, "Here you are.")
        attempts = reply.json["ragfleet"]["attempts"]
    assert [a["cause"] for a in attempts] == [cause, "end"]
    assert attempts[0]["instance"] != attempts[1]["instance"]


async def test_instance_that_breaks_the_connection_before_the_first_token(fleet: Fleet) -> None:
    fleet.says("Here you are.")
    fleet.answers.script("llm", *[Script(reset_after=0)] * 2)  # once on a kept connection, once on a new one
    reply = await fleet.chat()
    assert (reply.status, reply.text) == (200, "Here you are.")
    assert [a["cause"] for a in reply.json["ragfleet"]["attempts"]] in (["reset", "end"], ["reset", "reset", "end"])


async def test_kept_connection_that_was_closed_meanwhile_is_no_failure(start: Start) -> None:
    """As after a restart of Triton: the instance is asked again, at once, and not blamed."""
    fleet = await start(instances=1)
    fleet.says("Here you are.")
    fleet.answers.script("llm", Script(reset_after=0))
    reply = await fleet.chat()  # the prompt's connection was kept, and breaks
    assert reply.text == "Here you are."
    assert [a["cause"] for a in reply.json["ragfleet"]["attempts"]] == ["end"]


async def test_instance_that_is_dead_is_left_aside(start: Start) -> None:
    fleet = await start(instances=3)
    fleet.says("Here you are.")
    dead = fleet.tritons[1]
    await dead.kill()
    replies = [await fleet.chat(f"Question {n}") for n in range(10)]
    assert {r.text for r in replies} == {"Here you are."}
    assert "triton-1" in fleet.gateway.detector.ejected() or not dead.calls


async def test_full_queues_are_no_fault_of_the_instances(start: Start) -> None:
    fleet = await start(attempts=3)
    for triton in fleet.tritons:
        triton.always["llm"] = FULL
    for _ in range(4):
        reply = await fleet.chat()
        assert reply.status == 503
        assert int(reply.headers["retry-after"]) >= 1
        assert reply.error["code"] == "overloaded"
    assert not fleet.gateway.detector.ejected()


async def test_engines_that_all_fail_end_in_an_error_that_names_them(start: Start) -> None:
    fleet = await start(attempts=3)
    for triton in fleet.tritons:
        triton.always["llm"] = BROKEN
    reply = await fleet.chat()
    assert reply.status == 502
    assert reply.error["code"] == "generation_failed"
    assert "triton-0" in reply.error["message"]
    assert "triton-1" in reply.error["message"]
    assert len(fleet.calls()) == 3


@pytest.mark.parametrize("stream", [False, True])
async def test_dead_fleet_that_consul_still_believes_in(start: Start, stream: bool) -> None:
    fleet = await start(attempts=3)
    for triton in fleet.tritons:
        await triton.kill()
    reply = await fleet.chat(stream=stream)
    assert reply.status == 503
    assert reply.error["code"] == "unavailable"
    assert int(reply.headers["retry-after"]) >= 1


@pytest.mark.parametrize("way", ["gone", "unhealthy", "draining"])
async def test_empty_fleet(fleet: Fleet, way: str) -> None:
    changes = {"gone": {"out": fleet.tritons}, "unhealthy": {"healthy": False}, "draining": {"draining": True}}
    fleet.members(**changes[way])
    reply = await fleet.chat()
    assert reply.status == 503
    assert reply.error["type"] == "server_error" or reply.error["code"] == "unavailable"
    assert int(reply.headers["retry-after"]) >= 1
    assert (await fleet.get("/health/ready")).status == 503


async def test_request_waits_for_a_fleet_that_is_just_coming_up(start: Start) -> None:
    fleet = await start(admission_deadline_s=5.0)
    fleet.says("Here you are.")
    fleet.members(out=fleet.tritons)
    reply = asyncio.ensure_future(fleet.chat())
    while not fleet.gateway.admission.waiting:
        await asyncio.sleep(0)
    fleet.members()
    assert (await reply).text == "Here you are."


async def test_refusal_by_the_model_is_the_clients_and_costs_no_trust(fleet: Fleet) -> None:
    for triton in fleet.tritons:
        triton.always["llm"] = Script(status=400, error='llm: bad request: runtime_top_k: 9 is "odd"')
    for n in range(1, 9):
        reply = await fleet.chat()
        assert reply.status == 400
        assert reply.error["message"].endswith(': runtime_top_k: 9 is "odd"')
        assert reply.error["param"] == "top_k"
        assert len(fleet.calls()) == n, "a refusal must not be tried elsewhere"
    assert not fleet.gateway.detector.ejected()


async def test_refusal_in_an_event_is_a_400_too(fleet: Fleet) -> None:
    fleet.answers.script("llm", Script(error_after=0, error="llm: bad request: no"))
    assert (await fleet.chat(stream=True)).status == 400


# The context call


@pytest.mark.parametrize(
    "script",
    [
        BROKEN,
        Script(reset_after=0),
        Script(raw=b"not JSON"),
        Script(raw=b"[]"),
        Script(raw=b"{}"),
        Script(raw=b'{"outputs":[]}'),
        Script(raw=b'{"outputs":[{"name":"input_ids","data":[1]},{"name":"used","data":["["]}]}'),
    ],
)
async def test_failed_prompt_call_goes_elsewhere(fleet: Fleet, script: Script) -> None:
    fleet.says("Here you are.")
    fleet.answers.script("prompt", script, script)
    reply = await fleet.chat()
    assert (reply.status, reply.text) == (200, "Here you are.")


async def test_prompt_that_nobody_can_build(start: Start) -> None:
    fleet = await start(attempts=2)
    for triton in fleet.tritons:
        triton.always["prompt"] = BROKEN
    reply = await fleet.chat()
    assert reply.status == 502
    assert "the engine has crashed" in reply.error["message"]


def _slow(fleet: Fleet) -> FakeTriton:
    return next(t for t in fleet.tritons if any(not call.end for call in t.calls))


async def test_slow_prompt_call_is_hedged_and_the_loser_cancelled(start: Start) -> None:
    fleet = await start(context_deadline_s=2.0)  # hedged after half of it
    fleet.says("Here you are.")
    fleet.answers.script("prompt", Script(stall_after=0))
    reply = await fleet.chat()
    assert reply.text == "Here you are."
    lost, won = sorted(fleet.calls("prompt"), key=lambda call: call.end == "finished")
    assert (lost.end, won.end) == ("gone", "finished")
    assert not fleet.gateway.detector.ejected()


async def test_hedge_that_finds_no_instance_leaves_the_first_call_alone(start: Start) -> None:
    fleet = await start(context_deadline_s=2.0)
    fleet.says("Here you are.")
    fleet.answers.script("prompt", Script(stall_after=0))
    reply = asyncio.ensure_future(fleet.chat())
    await fleet.until(lambda: len(fleet.calls("prompt")) == 1)
    slow = _slow(fleet)
    tried = asyncio.Event()
    place = fleet.gateway.dispatcher.place_call

    def placing(*args: Any, **kwargs: Any) -> Any:
        tried.set()
        return place(*args, **kwargs)

    fleet.gateway.dispatcher.place_call = placing
    fleet.members(draining=True)
    await tried.wait()
    fleet.members()
    slow.resume()
    assert (await reply).text == "Here you are."


async def test_instance_whose_prompt_calls_hang_is_left_aside(start: Start) -> None:
    fleet = await start(context_deadline_s=1.0, instances=3)
    fleet.says("Here you are.")
    hung = fleet.tritons[0]
    hung.always["prompt"] = Script(stall_after=0)
    for n in range(6):
        assert (await fleet.chat(f"Question {n}")).text == "Here you are."
