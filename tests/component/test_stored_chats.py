"""`/v1/chat/completions/{id}`: chats with `store`, as they were given, streamed or whole, until they are deleted."""

import json
from typing import Any

import pytest

from gateway.errors import CatalogUnavailable
from gateway.knowledge.catalog.chat_completions import TenantChatCompletions
from tests.support.gateway_client import Client
from tests.support.running import MODEL, Fleet

PATH = "/v1/chat/completions"
USER = {"role": "user", "content": "How long?", "name": "ada"}


@pytest.fixture
def client(fleet: Fleet) -> Client:
    fleet.says("Thirty days.")
    return Client(fleet)


async def _ask(client: Client, **fields: Any) -> Any:
    return await client.ask("POST", PATH, {"model": MODEL, "messages": [USER], "store": True, **fields})


def _as_stored(made: Any, metadata: Any) -> Any:
    return {**{name: value for name, value in made.items() if name not in ("ragfleet", "rag")}, "metadata": metadata}


async def test_a_chat_is_there_until_it_is_deleted(client: Client) -> None:
    messages = [{"role": "system", "content": [{"type": "text", "text": "Be brief."}]}, USER]
    made = await _ask(client, messages=messages, metadata={"team": "a"})
    path = f"{PATH}/{made['id']}"
    assert await client.ask("GET", path) == _as_stored(made, {"team": "a"})
    asked = await client.ask("GET", f"{path}/messages")
    first, second = asked["data"]
    assert (first["id"], second["id"]) == (f"{made['id']}-0", f"{made['id']}-1")
    assert (first["content"], first["content_parts"]) == ("Be brief.", messages[0]["content"])
    assert second == {**USER, "id": second["id"], "refusal": None, "content_parts": None}
    page = await client.ask("GET", f"{path}/messages?limit=1&order=desc")
    assert (page["data"], page["has_more"]) == ([second], True)
    assert await client.ask("POST", path, {"metadata": {"team": "b"}}) == _as_stored(made, {"team": "b"})
    assert (await client.call("POST", path, {})).error["param"] == "metadata"
    gone = await client.ask("DELETE", path)
    assert gone == {"id": made["id"], "object": "chat.completion.deleted", "deleted": True}
    for method, each in (("GET", path), ("GET", f"{path}/messages"), ("DELETE", path)):
        assert (await client.call(method, each)).status == 404
    assert await client.ids(PATH) == []
    assert await client.ids(f"{PATH}?after={made['id']}") == [], "a cursor outlives what it stood for"


@pytest.mark.parametrize("fields", [{}, {"n": 2}, {"logprobs": True, "top_logprobs": 2}], ids=str)
async def test_a_streamed_chat_is_kept_as_a_whole_one(client: Client, fields: Any) -> None:
    whole = await _ask(client, temperature=0, **fields)
    body = {"model": MODEL, "messages": [USER], "store": True, "stream": True, "temperature": 0, **fields}
    async with client.fleet.http.post(PATH, json=body) as response:
        first = json.loads((await response.content.readuntil(b"\n\n")).rpartition(b"data: ")[2])
        assert (await response.read()).endswith(b"data: [DONE]\n\n")
    found = await client.ask("GET", f"{PATH}/{first['id']}")
    for of_its_own in ("id", "created"):
        found[of_its_own] = whole[of_its_own]
    assert found == _as_stored(whole, {})


async def test_a_deleted_chat_cannot_be_streamed_again(client: Client) -> None:
    body = {"model": MODEL, "messages": [USER], "store": True, "stream": True}
    async with client.fleet.http.post(PATH, json=body) as response:
        event_id = (await response.text()).partition("\n")[0].removeprefix("id: ")
    again = {"Last-Event-ID": event_id}
    assert (await client.fleet.post(body, headers=again)).status == 200
    await client.ask("DELETE", f"{PATH}/{event_id.partition(':')[0]}")
    assert (await client.fleet.post(body, headers=again)).status == 404


async def test_calls_of_a_stream_are_kept(client: Client) -> None:
    client.fleet.says('{"name": "weather", "arguments": {"city": "Berlin"}}')
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    body = {"model": MODEL, "messages": [USER], "store": True, "tools": [tool], "tool_choice": "required"}
    async with client.fleet.http.post(PATH, json={**body, "stream": True}) as response:
        first = json.loads((await response.content.readuntil(b"\n\n")).rpartition(b"data: ")[2])
        await response.read()
    (choice,) = (await client.ask("GET", f"{PATH}/{first['id']}"))["choices"]
    assert choice["finish_reason"] == "tool_calls"
    (call,) = choice["message"]["tool_calls"]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == ("weather", {"city": "Berlin"})


async def test_they_are_listed_by_model_and_metadata(client: Client) -> None:
    ids = [(await _ask(client, metadata={"n": str(n), "all": "x"}))["id"] for n in range(3)]
    ids.sort()  # within one second their order is that of their ids
    await _ask(client, store=False)
    await _ask(client, store=None)
    assert set(await client.ids(PATH)) == set(ids)
    assert len(await client.ids(f"{PATH}?metadata[n]=1&metadata[all]=x")) == 1
    assert await client.ids(f"{PATH}?metadata[n]=1&metadata[all]=y") == []
    assert await client.ids(f"{PATH}?model=other") == []
    assert len(await client.ids(f"{PATH}?model={MODEL}&limit=2")) == 2
    up, down = await client.ids(f"{PATH}?order=asc"), await client.ids(f"{PATH}?order=desc")
    assert up == down[::-1]
    assert await client.ids(f"{PATH}?after={up[1]}") == up[2:]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("order=up", "order"),
        ("surprise=1", "surprise"),
        ("metadata=1", "metadata"),
        (f"metadata[{'x' * 65}]=1", "metadata"),
        (f"metadata[a]={'x' * 513}", "metadata"),
        ("metadata[a]=%00", "metadata"),
        ("&".join(f"metadata[{n}]=1" for n in range(17)), "metadata"),
    ],
    ids=lambda value: value[:24],
)
async def test_wrong_queries_are_named(client: Client, query: str, param: str) -> None:
    reply = await client.call("GET", f"{PATH}?{query}")
    assert (reply.status, reply.error["param"]) == (400, param)


async def test_a_database_that_is_away_is_told(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any, **__: Any) -> None:
        raise CatalogUnavailable("away")

    monkeypatch.setattr(TenantChatCompletions, "add", away)
    body = {"model": MODEL, "messages": [USER], "store": True}
    assert (await client.call("POST", PATH, body)).status == 503
    plain = {"X-Ragfleet-Journal": "false"}
    async with client.fleet.http.post(PATH, json={**body, "stream": True}, headers=plain) as response:
        events = (await response.text()).strip().split("\n\n")
    assert "error" in json.loads(events[-2][6:]), "its client does not take it for stored"
    assert (await client.call("POST", PATH, {**body, "store": False})).status == 200
