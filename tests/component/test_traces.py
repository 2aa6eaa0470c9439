"""One trace a request, as a real OTLP receiver gets it: over the gateway's steps, across migrations and gateways."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gateway import telemetry
from gateway.config import Settings
from gateway.environment import ConfigError
from gateway.serving.background import BackgroundAnswers
from gateway.triton.fake_answers import Script
from tests.support.gateway_client import Client
from tests.support.otlp_receiver import OtlpReceiver, receiving
from tests.support.ports import NOBODY, OTLP
from tests.support.running import MODEL, Fleet

Start = Callable[..., Any]
THEIRS = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{THEIRS}-b7ad6b7169203331"


@pytest.fixture
async def receiver() -> AsyncIterator[OtlpReceiver]:
    async with receiving(OTLP) as running:
        yield running


@pytest.fixture
async def traced(start: Start, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    monkeypatch.setattr(telemetry, "EXPORT_S", 0.5)
    monkeypatch.setattr(telemetry, "GATHER_S", 0.1)
    fleet: Fleet = await start(trace_endpoint=receiver.url, trace_sample=1.0)
    return fleet


async def test_a_chat_with_retrieval_is_one_trace(traced: Fleet, receiver: OtlpReceiver) -> None:
    await traced.learn("handbook")
    reply = await traced.chat("How long may I return it?", model="rag", max_tokens=5, temperature=0, seed=7)
    (request,) = await receiver.until("POST /v1/chat/completions")
    (chat,) = receiver.under(request)
    children = {span.name: span for span in receiver.under(chat)}
    assert {span.trace for span in receiver.spans} == {request.trace}
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["ragfleet.request_id"] == reply.headers["x-request-id"]
    assert chat.name == "chat rag"
    assert chat.attributes["gen_ai.operation.name"] == "chat"
    assert chat.attributes["gen_ai.request.model"] == "rag"
    assert chat.attributes["gen_ai.request.seed"] == 7
    assert chat.attributes["gen_ai.usage.input_tokens"] == reply.json["usage"]["prompt_tokens"]
    assert chat.attributes["gen_ai.usage.output_tokens"] == reply.json["usage"]["completion_tokens"]
    assert chat.attributes["gen_ai.response.finish_reasons"] == [reply.json["choices"][0]["finish_reason"]]
    assert children.keys() == {"dispatch context", "dispatch llm"}
    told = {call.model: call.traceparent for call in traced.answers.calls}
    assert told == {name: f"00-{request.trace}-{children[f'dispatch {name}'].id}-01" for name in ("context", "llm")}, (
        "Triton goes on with the trace"
    )
    assert "How long" not in repr(receiver.spans), "no prompt is told"


async def test_a_trace_goes_on_that_a_client_has_begun(
    start: Start, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry, "EXPORT_S", 0.5)
    monkeypatch.setattr(telemetry, "GATHER_S", 0.1)
    fleet = await start(trace_endpoint=receiver.url, trace_sample=0.0)
    await fleet.chat("Hello", max_tokens=2, headers={"traceparent": f"{PARENT}-01"})
    (request,) = await receiver.until("POST /v1/chat/completions")
    assert (request.trace, request.parent) == (THEIRS, PARENT.split("-")[2])
    assert all(call.traceparent for call in fleet.calls())


async def test_what_a_client_does_not_trace_is_not_traced(traced: Fleet, receiver: OtlpReceiver) -> None:
    await traced.chat("Hello", max_tokens=2, headers={"traceparent": f"{PARENT}-00"})
    assert not any(call.traceparent for call in traced.calls())
    await traced.chat("Hello", max_tokens=2)
    await receiver.until("POST /v1/chat/completions")  # the second one's: spans come in the order in which they end
    assert THEIRS not in {span.trace for span in receiver.spans}


@pytest.mark.parametrize(
    "header", ["", "00", PARENT, f"ff{PARENT[2:]}-01", "x" * 5000, f"00-{0:032}-{0:016}-01", "ÿ" * 55]
)
async def test_what_is_no_trace_context_begins_a_new_trace(traced: Fleet, receiver: OtlpReceiver, header: str) -> None:
    reply = await traced.chat("Hello", max_tokens=2, headers={"traceparent": header})
    assert reply.status == 200
    (request,) = await receiver.until("POST /v1/chat/completions")
    assert request.trace != THEIRS
    assert request.parent == ""


async def test_a_migration_links_the_second_attempt_with_the_first(traced: Fleet, receiver: OtlpReceiver) -> None:
    traced.answers.script("llm", Script(reset_after=3))
    await traced.stream("Go on.", max_tokens=12)
    await receiver.until("POST /v1/chat/completions")
    first, second = receiver.named("dispatch llm")
    assert first.failed
    assert first.attributes["error.type"] == "reset"
    assert (first.attributes["gen_ai.usage.output_tokens"], second.attributes["gen_ai.usage.output_tokens"]) == (3, 9)
    assert first.attributes["ragfleet.instance"] != second.attributes["ragfleet.instance"]
    assert second.links == [first.id]
    assert (first.links, second.failed, second.trace) == ([], False, first.trace)


async def test_a_gateway_that_takes_over_goes_on_with_the_trace(
    traced: Fleet, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BackgroundAnswers, "RENEW_S", 0.02)
    monkeypatch.setattr(BackgroundAnswers, "COMMIT_S", 0.0)
    client = Client(traced)
    for triton in traced.tritons:
        triton.always["llm"] = Script(stall_after=3)
    body = {"model": MODEL, "input": "How long?", "background": True, "max_output_tokens": 9}
    made = await client.ask("POST", "/v1/responses", body)
    path = f"/v1/responses/{made['id']}?stream=true"
    async with traced.http.get(path) as events:
        async for line in events.content:
            if line.startswith(b"event: response.output_text.delta"):
                break
    for triton in traced.tritons:
        triton.always.clear()
    await traced.gateway.background.close()
    first, second = await receiver.until(f"chat {MODEL}", 2)
    assert second.trace == first.trace
    assert second.links == [first.id]
    assert second.parent == first.id


async def test_a_failed_answer_says_so_without_its_words(traced: Fleet, receiver: OtlpReceiver) -> None:
    reply = await traced.chat("Hello", model="nobody's secret")
    assert reply.status == 404
    (request,) = await receiver.until("POST /v1/chat/completions")
    (chat,) = receiver.under(request)
    assert chat.failed
    assert (chat.name, chat.attributes["error.type"]) == ("chat unknown", "NotFound")
    assert "secret" not in repr(receiver.spans)


async def test_paths_with_ids_are_one_name(traced: Fleet, receiver: OtlpReceiver) -> None:
    for path in ("/v1/responses/resp_1", "/v1/responses/resp_2", "/v1/nowhere/77"):
        async with traced.http.get(path) as reply:
            assert reply.status == 404
    await receiver.until("GET /v1/responses/{response_id}", 2)
    await receiver.until("GET")
    assert {span.name for span in receiver.spans} == {"GET", "GET /v1/responses/{response_id}"}


async def test_a_receiver_that_is_away_costs_no_request_and_its_thread_ends(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry, "EXPORT_S", 0.5)
    monkeypatch.setattr(telemetry, "GATHER_S", 0.1)
    monkeypatch.setattr(telemetry, "QUEUED_SPANS", 8)
    fleet = await start(trace_endpoint=f"http://127.0.0.1:{NOBODY}", trace_sample=1.0)
    replies = await asyncio.gather(*(fleet.chat("Hello", max_tokens=2) for _ in range(8)))
    assert [reply.status for reply in replies] == [200] * 8
    await fleet.gateway.tracing.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("OtelBatch")]


def test_a_share_must_be_one() -> None:
    with pytest.raises(ConfigError, match="RAGFLEET_TRACE_SAMPLE"):
        telemetry.Tracing.from_settings(Settings(trace_endpoint="http://127.0.0.1:1", trace_sample=1.5), "gateway")


async def test_what_is_not_traced_makes_no_span(
    start: Start, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet: Fleet = await start(trace_endpoint=receiver.url, trace_sample=0.0)
    await fleet.learn("handbook")
    made: list[str] = []
    monkeypatch.setattr(fleet.gateway.tracing._tracer, "start_span", lambda name, *_: made.append(name))
    for headers in ({}, {"traceparent": f"{PARENT}-00"}):
        assert (await fleet.chat("How long?", model="rag", headers=headers)).status == 200
    assert made == []
    assert not any(call.traceparent for call in fleet.answers.calls)
