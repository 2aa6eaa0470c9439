"""Streams with a journal: read again from any event on, gone on with by another gateway, whatever the answer is of."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from gateway.errors import CatalogUnavailable
from gateway.knowledge.catalog import schema
from gateway.serving.background import BackgroundAnswers
from gateway.tenants import ledger
from gateway.triton.fake_answers import Script
from tests.component.test_ledger import rows
from tests.support.replies import Reply
from tests.support.running import MODEL, Fleet, ask

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
TEXT = "Returns are accepted within thirty days of the purchase, with the receipt."
JOURNAL = {"X-Ragfleet-Journal": "true"}
WIDE = {"max_tokens": 200, "stream_options": {"include_usage": True}}
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
Event = tuple[str, str]
"""Its id and its data."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """And an answer's end is held up for its row, however slow the disk is."""
    monkeypatch.setattr(ledger, "COMMIT_S", 60.0)
    monkeypatch.setattr(BackgroundAnswers, "RENEW_S", 0.02)
    monkeypatch.setattr(BackgroundAnswers, "COMMIT_S", 0.0)


def _parsed(raw: bytes) -> list[Event]:
    """Of a chat: each event has an id."""
    found = []
    for event in raw.decode().split("\n\n")[:-1]:
        head, data = event.split("\n")
        assert head.startswith("id: ")
        assert data.startswith("data: ")
        found.append((head[4:], data[6:]))
    return found


async def _stream(fleet: Fleet, **fields: Any) -> list[Event]:
    reply = await fleet.post(ask(stream=True, **WIDE, **fields), headers=JOURNAL)
    assert reply.status == 200, reply.raw
    return _parsed(reply.raw)


async def _broken(fleet: Fleet, **fields: Any) -> list[Event]:
    """A stream whose client loses its connection once it has seen something of the answer."""
    raw = b""
    async with fleet.http.post(CHAT, json=ask(stream=True, **WIDE, **fields), headers=JOURNAL) as response:
        while not _told(_parsed(raw)):
            raw = (raw + await response.content.readany()).rpartition(b"\n\n")[0] + b"\n\n"
        response.close()
    return _parsed(raw)


async def _rest(fleet: Fleet, event_id: str, *, key: str = "any") -> Reply:
    headers = {"Last-Event-ID": event_id, "Authorization": f"Bearer {key}"}
    return await fleet.post(ask(stream=True), headers=headers)


def _told(events: Sequence[Event]) -> list[tuple[int, Any]]:
    """Choice and delta of the pieces."""
    chunks = [json.loads(data) for _, data in events if data != "[DONE]"]
    deltas = [(each["index"], each["delta"]) for chunk in chunks for each in chunk.get("choices", ())]
    return [(index, delta) for index, delta in deltas if delta.get("content") or delta.get("tool_calls")]


def _texts(events: Sequence[Event]) -> dict[int, str]:
    found: dict[int, str] = {}
    for index, delta in _told(events):
        found[index] = found.get(index, "") + delta["content"]
    return found


def _choices(events: Sequence[Event]) -> list[Any]:
    return [choice for _, data in events if data != "[DONE]" for choice in json.loads(data)["choices"]]


def _log_probs(events: Sequence[Event]) -> list[Any]:
    return [each for choice in _choices(events) if choice["logprobs"] for each in choice["logprobs"]["content"]]


def _ends(events: Sequence[Event]) -> list[tuple[int, str]]:
    """Of each choice, once."""
    return sorted((each["index"], each["finish_reason"]) for each in _choices(events) if each["finish_reason"])


def _usage(events: Sequence[Event]) -> Any:
    return next(chunk["usage"] for _, data in events[::-1] if (chunk := json.loads(data)).get("usage"))


def _stall(fleet: Fleet, *tokens: int) -> None:
    """The next answers stop for good after so many tokens."""
    fleet.answers.script("llm", *[Script(stall_after=count) for count in tokens])


async def _gateway_ends(fleet: Fleet) -> None:
    """As when it is killed, but for the waiting: what it made is nobody's, and is taken over."""
    await fleet.gateway.background.close()


async def test_events_are_those_of_any_stream_and_have_ids(fleet: Fleet) -> None:
    fleet.says(TEXT)
    plain = await fleet.stream(**WIDE)
    events = await _stream(fleet)
    answer = json.loads(events[0][1])["id"]
    assert [each for each, _ in events] == [f"{answer}:{number}" for number in range(len(events))]
    assert events[-1][1] == "[DONE]"
    chunks = [json.loads(data) for _, data in events[:-1]]
    assert [chunk["choices"] for chunk in chunks] == [chunk["choices"] for chunk in plain.chunks]
    assert chunks[-1]["usage"] == plain.chunks[-1]["usage"]


async def test_a_stream_without_a_journal_leaves_none(fleet: Fleet) -> None:
    await fleet.stream()
    await fleet.stream(headers={"X-Ragfleet-Journal": "false"})
    async with fleet.gateway.catalog.database.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(schema.journaled_answers)) == 0


async def test_each_event_comes_once_from_any_cursor_on(fleet: Fleet) -> None:
    fleet.says(TEXT)
    events = await _stream(fleet)
    for at, (event_id, _) in enumerate(events):
        reply = await _rest(fleet, event_id)
        assert (reply.status, _parsed(reply.raw)) == (200, events[at + 1 :])


async def test_a_client_that_lost_its_connection_goes_on_live(fleet: Fleet) -> None:
    fleet.says(TEXT)
    whole = _texts(await _stream(fleet))
    _stall(fleet, 4)
    seen = await _broken(fleet)
    going_on = asyncio.ensure_future(_rest(fleet, seen[-1][0]))
    await _gateway_ends(fleet)
    events = [*seen, *_parsed((await going_on).raw)]
    assert [int(each.rpartition(":")[2]) for each, _ in events] == list(range(len(events)))
    assert _texts(events) == whole


@pytest.mark.parametrize(
    "fields", [{}, {"logprobs": True, "top_logprobs": 2}, {"n": 3, "temperature": 1, "seed": 7}, {"stop": "days"}]
)
async def test_another_gateway_goes_on_with_it(fleet: Fleet, fields: dict[str, Any]) -> None:
    whole = await _stream(fleet, **fields)
    _stall(fleet, *(5, 3, 9)[: fields.get("n", 1)])
    seen = await _broken(fleet, **fields)
    await _gateway_ends(fleet)
    events = [*seen, *_parsed((await _rest(fleet, seen[-1][0])).raw)]
    assert [int(each.rpartition(":")[2]) for each, _ in events] == list(range(len(events)))
    assert _texts(events) == _texts(whole)
    assert _log_probs(events) == _log_probs(whole)
    assert _ends(events) == _ends(whole)
    assert _usage(events[:-1]) == _usage(whole[:-1])
    await fleet.gateway.ledger.step()
    _, row = await rows(fleet)
    usage = _usage(events[:-1])
    assert (row.state, row.outcome, row.prompt, row.completion) == (
        "settled", "completed", usage["prompt_tokens"], usage["completion_tokens"],
    )  # fmt: skip
    assert len(fleet.calls("prompt")) == 2, "the prompt is in the journal"


async def test_a_call_is_made_once_and_its_id_stays(fleet: Fleet) -> None:
    call = '{"name": "weather", "arguments": {"city": "Bonn"}}'
    fleet.says(call)
    _stall(fleet, len(fleet.table.encode(call)) - 4)
    seen = await _broken(fleet, tools=[TOOL])
    await _gateway_ends(fleet)
    events = [*seen, *_parsed((await _rest(fleet, seen[-1][0])).raw)]
    calls = [delta["tool_calls"][0] for _, delta in _told(events)]
    assert [call["function"].get("name") for call in calls] == ["weather", *[None] * (len(calls) - 1)]
    assert len([call for call in calls if "id" in call]) == 1
    assert "".join(call["function"]["arguments"] for call in calls) == '{"city": "Bonn"}'


async def test_what_is_refused_has_a_status_of_its_own(fleet: Fleet) -> None:
    reply = await fleet.post(ask(stream=True, temperature=9), headers=JOURNAL)
    assert (reply.status, reply.error["param"]) == (400, "temperature")
    fleet.members(out=fleet.tritons)
    reply = await fleet.post(ask(stream=True), headers=JOURNAL)
    assert reply.status == 503
    await fleet.settled()
    async with fleet.gateway.catalog.database.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(schema.journaled_answers)) == 0


async def test_wrong_headers_are_named(fleet: Fleet) -> None:
    for headers, path, named in (
        ({"X-Ragfleet-Journal": "yes"}, CHAT, "X-Ragfleet-Journal"),
        ({"Last-Event-ID": "12"}, CHAT, "Last-Event-ID"),
        ({"Last-Event-ID": "chatcmpl-1:-1"}, CHAT, "Last-Event-ID"),
        ({"Last-Event-ID": "chatcmpl-1:²"}, CHAT, "Last-Event-ID"),
        (JOURNAL, "/v1/completions", "X-Ragfleet-Journal"),
    ):
        body = {"model": MODEL, "prompt": "x", "stream": True} if path != CHAT else ask(stream=True)
        reply = await fleet.post(body, path=path, headers=headers)
        assert (reply.status, reply.error["param"]) == (400, named)
    body = {"model": MODEL, "input": "x", "stream": True, "store": False}
    reply = await fleet.post(body, path=RESPONSES, headers=JOURNAL)
    assert (reply.status, reply.error["param"]) == (400, "store")


async def test_another_tenants_stream_is_one_that_nobody_has(start: Any, tmp_path: Path) -> None:
    tenants = tmp_path / "tenants.yaml"
    tenants.write_text("tenants:\n  - {name: acme, keys: [any]}\n  - {name: globex, keys: [other]}\n")
    fleet = await start(tenants_file=tenants)
    fleet.http.headers["Authorization"] = "Bearer any"
    events = await _stream(fleet)
    assert (await _rest(fleet, events[0][0])).status == 200
    theirs = await _rest(fleet, events[0][0], key="other")
    nobodys = await _rest(fleet, f"chatcmpl-{'0' * 32}:0", key="other")
    assert (theirs.status, nobodys.status) == (404, 404)
    answer = events[0][0].partition(":")[0]
    assert theirs.raw.replace(answer.encode(), b"") == nobodys.raw.replace(b"chatcmpl-" + b"0" * 32, b"")


@pytest.mark.parametrize("rule", ["setting", "tenant"])
async def test_what_nobody_reads_is_cancelled(start: Any, tmp_path: Path, rule: str) -> None:
    tenants = tmp_path / "tenants.yaml"
    tenants.write_text("tenants: [{name: acme, keys: [any], limits: {unread_stream_seconds: 1}}]\n")
    fleet = await start(**({"tenants_file": tenants} if rule == "tenant" else {"stream_unread_s": 0.2}))
    fleet.http.headers["Authorization"] = "Bearer any"
    _stall(fleet, 4)
    seen = await _broken(fleet)
    await fleet.until(lambda: all(call.end == "gone" for call in fleet.calls("llm")))
    rest = (await _rest(fleet, seen[0][0])).raw.decode().split("\n\n")
    assert json.loads(rest[-3].removeprefix("data: "))["error"]["code"] == "stream_cancelled"
    assert rest[-2:] == ["data: [DONE]", ""]
    await fleet.settled()
    await fleet.gateway.ledger.step()
    (row,) = await rows(fleet)
    assert (row.state, row.outcome) == ("settled", "client_left")


async def test_streams_have_one_by_setting_and_go_without_while_the_database_is_away(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = await start(journal_streams=True)
    reply = await fleet.post(ask(stream=True))
    assert reply.raw.startswith(b"id: chatcmpl-")

    async def away(*_: Any, **__: Any) -> None:
        raise CatalogUnavailable("away")

    monkeypatch.setattr("gateway.knowledge.catalog.background.BackgroundQueue.begin", away)
    assert (await fleet.post(ask(stream=True))).raw.startswith(b"data: ")
    assert (await fleet.post(ask(stream=True), headers=JOURNAL)).status == 503


async def test_a_streamed_response_is_gone_on_with(fleet: Fleet) -> None:
    fleet.says(TEXT)
    body = {"model": MODEL, "input": "How long?", "stream": True, "store": True, "temperature": 0}
    _stall(fleet, 5)
    seen: list[Any] = []
    async with fleet.http.post(RESPONSES, json=body) as response:
        async for line in response.content:
            if line.startswith(b"data: "):
                seen.append(json.loads(line[6:]))
                if seen[-1]["type"].endswith(".delta"):
                    break
        response.close()
    response_id, last = seen[0]["response"]["id"], seen[-1]["sequence_number"]
    await _gateway_ends(fleet)
    reply = await fleet.get(f"{RESPONSES}/{response_id}?stream=true&starting_after={last}")
    events = seen + [json.loads(line[6:]) for line in reply.raw.decode().split("\n") if line.startswith("data: ")]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert "".join(event["delta"] for event in events if event["type"].endswith("text.delta")) == TEXT
    assert events[-1]["response"] == (await fleet.get(f"{RESPONSES}/{response_id}")).json
    assert events[-1]["response"]["background"] is False
