"""Responses with `background`: made without a client, read again from any event on, cancelled, taken over from a dead gateway."""

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import update

from gateway.errors import CatalogUnavailable
from gateway.knowledge.catalog import schema
from gateway.serving.background import BackgroundAnswers
from gateway.triton.fake_answers import Script, log_prob_of
from tests.support.gateway_client import Client
from tests.support.running import MODEL, Fleet

PATH = "/v1/responses"
TEXT = "Returns are accepted within thirty days of the purchase, with the receipt."


@pytest.fixture
def client(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr(BackgroundAnswers, "RENEW_S", 0.02)
    monkeypatch.setattr(BackgroundAnswers, "COMMIT_S", 0.0)
    fleet.says(TEXT)
    return Client(fleet)


async def _begin(client: Client, **fields: Any) -> Any:
    body = {"model": MODEL, "input": "How long?", "background": True, "temperature": 0, **fields}
    return await client.ask("POST", PATH, body)


async def _ended(client: Client, response_id: str) -> Any:
    async with asyncio.timeout(60):
        while True:
            found = await client.ask("GET", f"{PATH}/{response_id}")
            if found["status"] not in ("queued", "in_progress"):
                return found
            await asyncio.sleep(0.01)


async def _events(client: Client, response_id: str, after: int | None = None) -> list[Any]:
    """Those behind this one, to the end."""
    cursor = "" if after is None else f"&starting_after={after}"
    reply = await client.call("GET", f"{PATH}/{response_id}?stream=true{cursor}")
    assert reply.status == 200, reply.raw
    return [json.loads(line[6:]) for line in reply.raw.decode().split("\n") if line.startswith("data: ")]


def _stall(fleet: Fleet, tokens: int | None) -> None:
    """Every engine stops for good after so many tokens; None: none does."""
    for triton in fleet.tritons:
        if tokens is None:
            triton.always.pop("llm", None)
        else:
            triton.always["llm"] = Script(stall_after=tokens)


async def _until_event(client: Client, response_id: str, kind: str, count: int = 1) -> None:
    """So many events of the kind can be read."""
    path = f"{PATH}/{response_id}?stream=true"
    async with client.fleet.http.get(path) as response:
        async for line in response.content:
            count -= line.startswith(f"event: {kind}".encode())
            if count <= 0:
                return


async def test_an_answer_is_made_without_its_client(client: Client) -> None:
    made = await _begin(client, metadata={"a": "b"})
    assert (made["status"], made["background"], made["output"]) == ("queued", True, [])
    ended = await _ended(client, made["id"])
    assert (ended["status"], ended["metadata"]) == ("completed", {"a": "b"})
    assert ended["output"][0]["content"][0]["text"] == TEXT
    items = await client.ask("GET", f"{PATH}/{made['id']}/input_items")
    assert items["data"][0]["content"][0]["text"] == "How long?"
    body = {"model": MODEL, "input": "Why?", "previous_response_id": made["id"]}
    assert (await client.call("POST", PATH, body)).status == 200


async def test_its_events_are_read_again_from_any_of_them_on(client: Client) -> None:
    made = await _begin(client)
    ended = await _ended(client, made["id"])
    events = await _events(client, made["id"])
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[0]["response"]["id"] == made["id"]
    assert events[-1] == {"type": "response.completed", "sequence_number": len(events) - 1, "response": ended}
    for after in range(len(events)):
        assert await _events(client, made["id"], after) == events[after + 1 :]


async def test_a_stream_that_breaks_is_gone_on_with(client: Client) -> None:
    _stall(client.fleet, 3)
    body = {"model": MODEL, "input": "How long?", "background": True, "stream": True, "temperature": 0}
    seen: list[Any] = []
    async with client.fleet.http.post(PATH, json=body) as response:
        async for line in response.content:
            if line.startswith(b"data: "):
                seen.append(json.loads(line[6:]))
                if seen[-1]["type"].endswith(".delta"):
                    break
        response.close()
    _stall(client.fleet, None)
    await client.fleet.gateway.background.close()  # as at this gateway's end; its successor takes over
    response_id, last = seen[0]["response"]["id"], seen[-1]["sequence_number"]
    rest = await _events(client, response_id, last)
    events = [*seen, *rest]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert "".join(event["delta"] for event in events if event["type"].endswith("text.delta")) == TEXT
    assert len({event["item_id"] for event in events if "item_id" in event}) == 1
    assert events[-1]["response"] == await _ended(client, response_id)
    assert events[-1]["response"]["usage"]["output_tokens"] == len(client.fleet.table.encode(TEXT))


async def test_no_token_is_asked_for_twice_when_a_gateway_takes_over(client: Client) -> None:
    _stall(client.fleet, 5)
    made = await _begin(client)
    await _until_event(client, made["id"], "response.output_text.delta", 3)
    prompt = client.fleet.calls("llm")[0].body["input_ids"]
    _stall(client.fleet, None)
    await client.fleet.gateway.background.close()
    ended = await _ended(client, made["id"])
    assert ended["output"][0]["content"][0]["text"] == TEXT
    sent = client.fleet.calls("llm")[-1].body["input_ids"]
    assert sent[: len(prompt)] == prompt
    assert len(sent) - len(prompt) >= 3
    assert len(client.fleet.calls("prompt")) == 1, "the prompt is in the journal"


async def test_what_a_dead_gateway_of_this_machine_leaves_waits_for_no_lease(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BackgroundAnswers, "LEASE_S", 3600.0)
    _stall(client.fleet, 5)
    made = await _begin(client)
    await _until_event(client, made["id"], "response.output_text.delta", 3)
    _stall(client.fleet, None)
    gateway = client.fleet.gateway
    async with gateway.catalog.database.write() as connection:
        await connection.execute(update(schema.journaled_answers).values(owner="dead"))
    await client.fleet.until(lambda: not gateway.background.running)
    (gateway.settings.home / "run" / "gateways" / "dead").touch()
    assert (await _ended(client, made["id"]))["output"][0]["content"][0]["text"] == TEXT


async def test_log_probs_are_whole_when_a_gateway_takes_over(client: Client) -> None:
    _stall(client.fleet, 5)
    made = await _begin(client, include=["message.output_text.logprobs"], top_logprobs=2)
    await _until_event(client, made["id"], "response.output_text.delta", 3)
    _stall(client.fleet, None)
    await client.fleet.gateway.background.close()
    ended = await _ended(client, made["id"])
    told = ended["output"][0]["content"][0]["logprobs"]
    table = client.fleet.table
    assert [each["bytes"] for each in told] == [list(table.bytes_of[token]) for token in table.encode(TEXT)]
    assert [each["logprob"] for each in told] == [log_prob_of(token) for token in table.encode(TEXT)]
    assert {len(each["top_logprobs"]) for each in told} == {2}
    deltas = [event for event in await _events(client, made["id"]) if event["type"].endswith("text.delta")]
    assert [each for event in deltas for each in event["logprobs"]] == told


async def test_an_answer_is_cancelled(client: Client) -> None:
    _stall(client.fleet, 3)
    made = await _begin(client)
    await _until_event(client, made["id"], "response.output_text.delta")
    cancelled = await client.ask("POST", f"{PATH}/{made['id']}/cancel")
    assert (cancelled["id"], cancelled["status"], cancelled["output"]) == (made["id"], "cancelled", [])
    await client.fleet.until(lambda: all(call.end == "gone" for call in client.fleet.calls("llm")))
    assert await client.ask("POST", f"{PATH}/{made['id']}/cancel") == cancelled
    events = await _events(client, made["id"])
    assert [each["sequence_number"] for each in events] == list(range(len(events)))
    last = events[-1]
    assert (last["type"], last["response"]) == ("response.cancelled", cancelled)
    assert not any(each["type"] == last["type"] for each in events[:-1])
    for after in range(len(events)):
        assert await _events(client, made["id"], after) == events[after + 1 :]
    assert await _events(client, made["id"], 1000) == []


async def test_whoever_reads_is_told_that_it_was_cancelled(client: Client) -> None:
    _stall(client.fleet, 3)
    body = {"model": MODEL, "input": "How long?", "background": True, "stream": True}
    async with client.fleet.http.post(PATH, json=body) as response:
        told = b""
        while b"text.delta" not in told:
            told += await response.content.readline()
        made = json.loads(told.split(b"data: ", 1)[1].split(b"\n", 1)[0])["response"]["id"]
        await client.ask("POST", f"{PATH}/{made}/cancel")
        told += await response.content.read()
    assert told.count(b"event: response.cancelled\n") == 1
    assert told == (await client.call("GET", f"{PATH}/{made}?stream=true")).raw


async def test_a_deleted_answer_is_not_made_any_more(client: Client) -> None:
    _stall(client.fleet, 3)
    made = await _begin(client)
    await _until_event(client, made["id"], "response.output_text.delta")
    await client.ask("DELETE", f"{PATH}/{made['id']}")
    await client.fleet.until(lambda: all(call.end == "gone" for call in client.fleet.calls("llm")))
    assert (await client.call("GET", f"{PATH}/{made['id']}?stream=true")).status == 404


async def test_only_what_is_made_in_the_background_is_cancelled_or_streamed(client: Client) -> None:
    made = await client.ask("POST", PATH, {"model": MODEL, "input": "How long?"})
    for method, path in (("POST", f"{PATH}/{made['id']}/cancel"), ("GET", f"{PATH}/{made['id']}?stream=true")):
        assert (await client.call(method, path)).status == 400
    for method, path in (("POST", f"{PATH}/resp_none/cancel"), ("GET", f"{PATH}/resp_none?stream=true")):
        assert (await client.call(method, path)).status == 404
    reply = await client.call("GET", f"{PATH}/{made['id']}?stream=true&starting_after=-1")
    assert (reply.status, reply.error["param"]) == (400, "starting_after")


async def test_events_are_gone_some_time_after_the_end(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await _begin(client)
    ended = await _ended(client, made["id"])
    await _events(client, made["id"])
    monkeypatch.setattr(BackgroundAnswers, "EVENTS_S", 0.0)

    async def gone() -> bool:
        reply = await client.call("GET", f"{PATH}/{made['id']}?stream=true&starting_after=2")
        return reply.status == 409 and reply.error["code"] == "stream_cursor_expired"

    async with asyncio.timeout(60):
        while not await gone():
            pass
    assert await client.ask("GET", f"{PATH}/{made['id']}") == ended


async def test_an_answer_that_cannot_be_made_is_failed_by_name(client: Client) -> None:
    for triton in client.fleet.tritons:
        triton.always["llm"] = Script(reset_after=0)
    made = await _begin(client)
    ended = await _ended(client, made["id"])
    assert (ended["status"], ended["error"]["code"]) == ("failed", "poison_request")
    events = await _events(client, made["id"])
    assert events[-1]["type"] == "response.failed"
    body = {"model": MODEL, "input": "Why?", "previous_response_id": made["id"]}
    reply = await client.call("POST", PATH, body)
    assert (reply.status, reply.error["code"]) == (409, "previous_response_unfinished")


async def test_one_whose_end_cannot_be_written_is_taken_up_though_others_are_made(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, away = client.fleet.gateway.stored, True
    finish = stored.finish

    async def finished(*args: Any) -> Any:
        nonlocal away
        if away:
            away = False
            raise CatalogUnavailable("away")
        return await finish(*args)

    _stall(client.fleet, 3)
    other = await _begin(client)
    await _until_event(client, other["id"], "response.output_text.delta", 2)
    queue, let_fall = client.fleet.gateway.background._queue, list[str]()
    release = queue.release

    async def released(owner: str, answer_ids: Any = None) -> None:
        await release(owner, answer_ids)
        let_fall.extend(answer_ids or ())

    monkeypatch.setattr(queue, "release", released)
    monkeypatch.setattr(stored, "finish", finished)
    for triton in client.fleet.tritons:
        triton.always["llm"] = Script(reset_after=0)
    made = await _begin(client)
    async with asyncio.timeout(60):
        while let_fall != [made["id"]]:
            await asyncio.sleep(0.01)
    assert (await _ended(client, made["id"]))["status"] == "failed"
    _stall(client.fleet, None)
    await client.ask("DELETE", f"{PATH}/{other['id']}")


async def test_what_nobody_reads_is_cancelled_where_that_is_set(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BackgroundAnswers, "RENEW_S", 0.02)
    fleet = await start(background_unread_s=0.1)
    client = Client(fleet)
    _stall(fleet, 3)
    made = await _begin(client)
    await fleet.until(lambda: bool(fleet.calls("llm")) and all(call.end == "gone" for call in fleet.calls("llm")))
    assert (await client.ask("GET", f"{PATH}/{made['id']}"))["status"] == "cancelled"


async def test_a_tenants_answers_are_bounded(start: Any) -> None:
    fleet = await start(background_answers=1)
    client = Client(fleet)
    _stall(fleet, 0)
    made = await _begin(client)
    reply = await client.call("POST", PATH, {"model": MODEL, "input": "How long?", "background": True})
    assert (reply.status, reply.error["type"]) == (429, "rate_limit_error")
    await client.ask("POST", f"{PATH}/{made['id']}/cancel")
    _stall(fleet, None)
    assert (await client.call("POST", PATH, {"model": MODEL, "input": "How long?", "background": True})).status == 200


async def test_a_turn_of_a_conversation_is_added_at_its_end(client: Client) -> None:
    conversation = (await client.ask("POST", "/v1/conversations"))["id"]
    made = await _begin(client, conversation=conversation)
    await _ended(client, made["id"])
    items = await client.ask("GET", f"/v1/conversations/{conversation}/items?order=asc")
    assert [item["content"][0]["text"] for item in items["data"]] == ["How long?", TEXT]
