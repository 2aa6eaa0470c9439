"""Clients that leave: whatever was running for them ends at once, and whatever was held is given back.

The last half is what `Fleet` sees to after every test (see `Fleet.settled`).
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway.triton.fake_answers import Script
from tests.support.running import Fleet

Start = Callable[..., Any]


async def _leave(request: "asyncio.Task[Any]") -> None:
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request


@pytest.mark.parametrize("stream", [False, True])
async def test_while_the_engine_reads_the_prompt(fleet: Fleet, stream: bool) -> None:
    fleet.answers.script("llm", Script(stall_after=0))
    request = asyncio.ensure_future(fleet.chat(stream=stream))
    await fleet.until(lambda: len(fleet.calls()) == 1)
    await _leave(request)
    (call,) = fleet.calls()
    await fleet.until(lambda: call.end == "gone")


@pytest.mark.parametrize("stream", [False, True])
async def test_in_the_middle_of_an_answer(fleet: Fleet, stream: bool) -> None:
    fleet.answers.script("llm", Script(stall_after=9))
    request = asyncio.ensure_future(fleet.chat(stream=stream))
    await fleet.until(lambda: any(call.sent == 9 for call in fleet.calls()))
    await _leave(request)
    (call,) = fleet.calls()
    await fleet.until(lambda: call.end == "gone")


async def test_while_tokens_flow(start: Start) -> None:
    fleet = await start(max_context=100_000)
    async with fleet.open(max_tokens=90_000) as stream:
        await stream.text(200)
        stream.leave()
    (call,) = fleet.calls()
    await fleet.until(lambda: call.end == "gone")
    assert call.sent < 90_000


@pytest.mark.parametrize("model", ["prompt", "context"])
async def test_while_the_prompt_is_built(fleet: Fleet, model: str) -> None:
    await fleet.learn("handbook")
    fleet.answers.script(model, Script(stall_after=0))
    request = asyncio.ensure_future(fleet.chat(**({"model": "rag"} if model == "context" else {})))
    await fleet.until(lambda: len(fleet.calls(model)) == 1)
    await _leave(request)
    (call,) = fleet.calls(model)
    await fleet.until(lambda: call.end == "gone")
    assert not fleet.calls("llm")


async def test_while_two_prompt_calls_race(start: Start) -> None:
    fleet = await start(context_deadline_s=2.0, attempts=2)
    fleet.gateway.generation._prompts._context._calls._latency._estimate_s = 0.01
    fleet.answers.script("prompt", Script(stall_after=0), Script(stall_after=0))
    request = asyncio.ensure_future(fleet.chat())
    await fleet.until(lambda: len(fleet.calls("prompt")) == 2)
    await _leave(request)
    await fleet.until(lambda: [call.end for call in fleet.calls("prompt")] == ["gone", "gone"])


async def test_while_waiting_for_a_place(start: Start) -> None:
    fleet = await start(instances=1, slots=1, admission_headroom=1.0, admission_deadline_s=10.0)
    fleet.answers.script("llm", Script(stall_after=3))
    first = asyncio.ensure_future(fleet.stream())
    await fleet.until(lambda: any(call.sent == 3 for call in fleet.calls()))
    second = asyncio.ensure_future(fleet.chat())
    while not fleet.gateway.admission.waiting:
        await asyncio.sleep(0)
    await _leave(second)
    while fleet.gateway.admission.waiting:
        await asyncio.sleep(0)
    fleet.tritons[0].resume()
    assert (await first).done
    assert len(fleet.calls()) == 1, "nothing was started for a client that had left"


async def test_while_a_begun_answer_waits_for_an_instance(start: Start) -> None:
    fleet = await start(instances=1)
    fleet.answers.script("llm", Script(stall_after=9))
    async with fleet.open(max_tokens=40) as stream:
        await stream.text()
        await fleet.until(lambda: any(call.sent == 9 for call in fleet.calls()))
        fleet.members(healthy=False)
        fleet.gateway.registry.move_away("triton-0")
        stream.leave()
    await fleet.settled()
    assert len(fleet.calls()) == 1


async def test_before_the_body_is_whole(fleet: Fleet) -> None:
    host, port = fleet.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    while not fleet._state.tasks:
        await asyncio.sleep(0)
    writer.close()
    await writer.wait_closed()
    await fleet.settled()
    assert not fleet.calls("prompt")
    assert await reader.read() == b""


async def test_client_that_does_not_read_is_ended_at_the_deadline(start: Start) -> None:
    fleet = await start(max_context=100_000, request_deadline_s=2.0)
    async with fleet.open(max_tokens=90_000) as stream:
        await stream.text()
        (connection,) = fleet._state.connections
        connection.flow.pause_writing()  # as when the client's and our buffers are full
        (call,) = fleet.calls()
        await fleet.until(lambda: call.end == "gone")
        while fleet.gateway.admission.held:
            await asyncio.sleep(0)
        connection.flow.resume_writing()
        events = await stream.rest()
    assert events.error is not None
    assert events.error["code"] == "deadline_exceeded"
    assert events.done


async def test_clients_that_leave_at_any_moment(start: Start) -> None:
    """A crowd, each leaving a few turns of the loop later than the one before."""
    fleet = await start(instances=3, slots=32, admission_deadline_s=10.0)
    await fleet.learn("handbook")
    for turns in range(0, 120, 3):
        fields = {"model": "rag"} if turns % 2 else {"stream": bool(turns % 4)}
        request = asyncio.ensure_future(fleet.chat(f"Question {turns}", max_tokens=64, **fields))
        for _ in range(turns):
            await asyncio.sleep(0)
        await _leave(request) if not request.done() else None
    await fleet.settled()
    assert not fleet.gateway.detector.ejected()
    assert (await fleet.chat()).status == 200


async def test_leaving_is_counted_as_such(fleet: Fleet) -> None:
    fleet.answers.script("llm", Script(stall_after=3))
    async with fleet.open() as stream:
        await stream.text()
        stream.leave()
    await fleet.settled()
    metrics = (await fleet.get("/metrics")).raw.decode()
    assert 'ragfleet_requests_total{model="tiny",route="chat",status="499",tenant="default"} 1.0' in metrics
    assert "ragfleet_in_flight 0.0" in metrics
