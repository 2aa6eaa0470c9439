"""`/v1/responses/{id}`: what is stored, what continues it, and what is gone when it is deleted."""

import json
from typing import Any

import pytest

from gateway.errors import CatalogUnavailable
from gateway.knowledge.catalog.responses import TenantResponses
from tests.support.gateway_client import Client
from tests.support.running import MODEL, Fleet

PATH = "/v1/responses"


@pytest.fixture
def client(fleet: Fleet) -> Client:
    fleet.says("Thirty days.")
    return Client(fleet)


async def _ask(client: Client, text: Any, **fields: Any) -> Any:
    return await client.ask("POST", PATH, {"model": MODEL, "input": text, "max_output_tokens": 60, **fields})


def _asked(fleet: Fleet) -> list[tuple[str, str]]:
    """The conversation of the last prompt."""
    inputs = {tensor["name"]: tensor["data"][0] for tensor in fleet.calls("prompt")[-1].body["inputs"]}
    return [(each["role"], each["content"]) for each in json.loads(inputs["messages"])]


async def test_an_answer_is_there_until_it_is_deleted(client: Client) -> None:
    made = await _ask(client, "How long?", metadata={"a": "b"}, instructions="Be brief.")
    path = f"{PATH}/{made['id']}"
    assert made["store"] is True
    assert await client.ask("GET", path) == made
    listed = await client.ask("GET", f"{path}/input_items")
    (item,) = listed["data"]
    assert item.pop("id") == listed["first_id"] == listed["last_id"]
    assert item == {
        "type": "message",
        "role": "user",
        "status": "completed",
        "content": [{"type": "input_text", "text": "How long?"}],
    }
    assert await client.ask("DELETE", path) == {"id": made["id"], "object": "response", "deleted": True}
    for gone in (path, f"{path}/input_items"):
        assert (await client.call("GET", gone)).status == 404
    assert (await client.call("DELETE", path)).status == 404


async def test_a_streamed_answer_is_stored_when_its_end_is_told(client: Client) -> None:
    body = {"model": MODEL, "input": "How long?", "stream": True}
    async with client.fleet.http.post(PATH, json=body) as response:
        events = [json.loads(line[6:]) async for line in response.content if line.startswith(b"data: ")]
    final = events[-1]["response"]
    assert events[-1]["type"] == "response.completed"
    assert await client.ask("GET", f"{PATH}/{final['id']}") == final


async def test_input_is_paged(client: Client) -> None:
    texts = ["a", "b", "c", "d", "e"]
    made = await _ask(client, [{"role": "user", "content": text} for text in texts])
    seen: list[str] = []
    after = ""
    while True:
        page = await client.ask("GET", f"{PATH}/{made['id']}/input_items?order=asc&limit=2&after={after}")
        seen += [item["content"][0]["text"] for item in page["data"]]
        after = page["last_id"]
        if not page["has_more"]:
            break
    assert seen == texts
    newest = await client.ask("GET", f"{PATH}/{made['id']}/input_items")
    assert [item["content"][0]["text"] for item in newest["data"]] == texts[::-1]
    assert (await client.call("GET", f"{PATH}/{made['id']}/input_items?after=msg_none")).status == 404


@pytest.mark.parametrize(("by_default", "asked"), [(True, False), (False, None)])
async def test_what_is_not_to_be_stored_is_not(start: Any, by_default: bool, asked: bool | None) -> None:
    client = Client(await start(store_responses=by_default))
    made = await _ask(client, "How long?", **({} if asked is None else {"store": asked}))
    assert made["store"] is False
    assert (await client.call("GET", f"{PATH}/{made['id']}")).status == 404
    reply = await client.call("POST", PATH, {"model": MODEL, "input": "Why?", "previous_response_id": made["id"]})
    assert (reply.status, reply.error["code"]) == (404, "previous_response_not_found")


async def test_an_answer_continues_another_without_its_instructions(client: Client) -> None:
    first = await _ask(client, "How long?", instructions="Be brief.")
    second = await _ask(client, "Why?", previous_response_id=first["id"], instructions="Be kind.")
    assert second["previous_response_id"] == first["id"]
    assert _asked(client.fleet) == [
        ("system", "Be kind."),
        ("user", "How long?"),
        ("assistant", "Thirty days."),
        ("user", "Why?"),
    ]
    await _ask(client, "And?", previous_response_id=second["id"])
    assert [text for _, text in _asked(client.fleet)] == [
        *("How long?", "Thirty days."),
        *("Why?", "Thirty days."),
        "And?",
    ]
    items = (await client.ask("GET", f"{PATH}/{second['id']}/input_items"))["data"]
    assert [item["content"][0]["text"] for item in items] == ["Why?"]


async def test_what_continues_a_deleted_answer_is_read_and_not_continued(client: Client) -> None:
    first = await _ask(client, "How long?")
    second = await _ask(client, "Why?", previous_response_id=first["id"])
    await client.ask("DELETE", f"{PATH}/{first['id']}")
    assert await client.ask("GET", f"{PATH}/{second['id']}") == second
    body = {"model": MODEL, "input": "And?", "previous_response_id": second["id"]}
    reply = await client.call("POST", PATH, body)
    assert (reply.status, reply.error["code"]) == (404, "previous_response_not_found")
    assert first["id"] in reply.error["message"]


@pytest.mark.parametrize("way", ["previous_response_id", "conversation"])
async def test_an_item_at_fault_is_counted_as_the_client_has_sent_it(client: Client, way: str) -> None:
    """What is stored stands before it, and is not counted."""
    talk = (await client.ask("POST", "/v1/conversations"))["id"]
    first = await _ask(client, "How long?", **({"conversation": talk} if way == "conversation" else {}))
    continued = {way: talk if way == "conversation" else first["id"]}
    wrong = {"type": "function_call_output", "call_id": "call_0", "output": "x"}
    body = {"model": MODEL, "input": [{"role": "user", "content": "Why?"}, wrong], **continued}
    reply = await client.call("POST", PATH, body)
    assert (reply.status, reply.error["param"]) == (400, "input.1.call_id")
    assert "'input.1.call_id'" in reply.error["message"]


async def test_what_is_stored_and_cannot_be_continued_is_named(client: Client) -> None:
    talk = (await client.ask("POST", "/v1/conversations"))["id"]
    wrong = {"type": "function_call_output", "call_id": "call_0", "output": "x"}
    await client.ask("POST", f"/v1/conversations/{talk}/items", {"items": [wrong]})
    reply = await client.call("POST", PATH, {"model": MODEL, "input": "Why?", "conversation": talk})
    assert (reply.status, reply.error["param"]) == (400, "conversation")
    for nobodys in ("conv_none", {"id": "conv_none"}):
        reply = await client.call("POST", PATH, {"model": MODEL, "input": "Why?", "conversation": nobodys})
        assert (reply.status, reply.error["param"]) == (404, "conversation")


async def test_a_stored_item_is_referred_to(client: Client) -> None:
    """The AI SDK's second turn."""
    first = await _ask(client, "How long?")
    (message,) = first["output"]
    for reference in ({"type": "item_reference", "id": message["id"]}, {"id": message["id"]}):
        second = await _ask(client, [{"role": "user", "content": "Hi"}, reference, {"role": "user", "content": "Why?"}])
        assert _asked(client.fleet) == [("user", "Hi"), ("assistant", "Thirty days."), ("user", "Why?")]
        items = (await client.ask("GET", f"{PATH}/{second['id']}/input_items"))["data"]
        assert items[1] == message


async def test_the_oldest_turns_are_left_out_where_that_is_asked_for(start: Any) -> None:
    fleet = await start(max_context=128)
    fleet.says("Yes.")
    turns = [{"role": "user", "content": f"{n} " + "word " * 20} for n in range(12)]
    body = {"model": MODEL, "input": turns, "instructions": "Be brief.", "max_output_tokens": 8}
    refused = await fleet.post(body, path=PATH)
    assert (refused.status, refused.error["code"]) == (400, "context_length_exceeded")
    reply = await fleet.post({**body, "truncation": "auto"}, path=PATH)
    assert (reply.status, reply.json["truncation"]) == (200, "auto"), reply.raw
    system, *kept = _asked(fleet)
    assert system == ("system", "Be brief.")
    assert kept == [("user", turn["content"]) for turn in turns[-len(kept) :]]
    assert 0 < len(kept) < len(turns)
    one = await fleet.post({**body, "input": "word " * 500, "truncation": "auto"}, path=PATH)
    assert (one.status, one.error["code"]) == (400, "context_length_exceeded")


async def test_tokens_are_counted_as_they_are_billed(client: Client) -> None:
    first = await _ask(client, "How long?")
    body = {"model": MODEL, "input": "Why?", "previous_response_id": first["id"], "instructions": "Be brief."}
    counted = await client.ask("POST", f"{PATH}/input_tokens", body)
    answered = await client.ask("POST", PATH, body)
    assert counted == {"object": "response.input_tokens", "input_tokens": answered["usage"]["input_tokens"]}
    refused = await client.call("POST", f"{PATH}/input_tokens", {"model": MODEL, "input": []})
    assert (refused.status, refused.error["param"]) == (400, "input")


async def test_without_a_database_an_answer_is_given_and_says_that_it_is_not_stored(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any, **__: Any) -> None:
        raise CatalogUnavailable("The catalog's database does not answer.")

    monkeypatch.setattr(TenantResponses, "add", away)
    made = await _ask(client, "How long?")
    assert (made["status"], made["store"]) == ("completed", False)
    reply = await client.call("POST", PATH, {"model": MODEL, "input": "How long?", "store": True})
    assert (reply.status, reply.error["code"]) == (503, "catalog_unavailable")


@pytest.mark.parametrize("name", ["include", "include[]", "include%5B%5D", "include%5b%5d"])
async def test_lists_in_queries_are_written_as_clients_write_them(client: Client, name: str) -> None:
    made = await _ask(client, "How long?")
    conversation = await client.ask(
        "POST", "/v1/conversations", {"items": [{"type": "message", "role": "user", "content": "x"}]}
    )
    query = f"{name}=file_search_call.results&{name}=message.output_text.logprobs"
    assert (await client.ask("GET", f"{PATH}/{made['id']}?{query}"))["id"] == made["id"]
    assert len((await client.ask("GET", f"{PATH}/{made['id']}/input_items?limit=1&{query}"))["data"]) == 1
    items = await client.ask("GET", f"/v1/conversations/{conversation['id']}/items?{query}")
    assert (
        await client.ask("GET", f"/v1/conversations/{conversation['id']}/items/{items['first_id']}?{query}")
        == items["data"][0]
    )
    wrong = await client.call("GET", f"{PATH}/{made['id']}?{name}=surprise")
    assert (wrong.status, wrong.error["param"]) == (400, "include.0")
