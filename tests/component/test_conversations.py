"""`/v1/conversations`: items that responses continue and add to."""

import json
from typing import Any

import pytest

from tests.support.gateway_client import Client
from tests.support.running import MODEL, Fleet

PATH = "/v1/conversations"


@pytest.fixture
def client(fleet: Fleet) -> Client:
    fleet.says("Thirty days.")
    return Client(fleet)


def _message(text: str, **fields: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": text, **fields}


def _texts(items: Any) -> list[str]:
    return [item["content"][0]["text"] for item in items["data"]]


async def test_a_conversation_is_made_changed_and_deleted(client: Client) -> None:
    made = await client.ask("POST", PATH, {"metadata": {"topic": "a"}, "items": [_message("Hi")]})
    assert (made["object"], made["metadata"]) == ("conversation", {"topic": "a"})
    path = f"{PATH}/{made['id']}"
    assert await client.ask("GET", path) == made
    changed = await client.ask("POST", path, {"metadata": {"topic": "b"}})
    assert changed == {**made, "metadata": {"topic": "b"}}
    assert await client.ask("DELETE", path) == {"id": made["id"], "object": "conversation.deleted", "deleted": True}
    for gone in (path, f"{path}/items"):
        assert (await client.call("GET", gone)).status == 404


async def test_items_are_added_listed_and_deleted(client: Client) -> None:
    conversation = await client.ask("POST", PATH)
    path = f"{PATH}/{conversation['id']}/items"
    added = await client.ask("POST", path, {"items": [_message(text) for text in "abc"]})
    assert _texts(added) == ["a", "b", "c"]
    assert _texts(await client.ask("GET", f"{path}?order=asc")) == ["a", "b", "c"]
    second = added["data"][1]
    page = await client.ask("GET", f"{path}?order=asc&limit=1&after={second['id']}")
    assert (_texts(page), page["has_more"]) == (["c"], False)
    assert await client.ask("GET", f"{path}/{second['id']}") == second
    assert await client.ask("DELETE", f"{path}/{second['id']}") == conversation
    assert (await client.call("GET", f"{path}/{second['id']}")).status == 404
    assert _texts(await client.ask("GET", path)) == ["c", "a"]
    assert _texts(await client.ask("GET", f"{path}?order=asc&after={second['id']}")) == ["c"], "behind what is gone"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_response_continues_it_and_adds_to_it(client: Client, stream: bool) -> None:
    conversation = await client.ask("POST", PATH, {"items": [_message("Be brief.", role="system"), _message("Hi")]})
    for question, reference in (("How long?", conversation["id"]), ("Why?", {"id": conversation["id"]})):
        body = {"model": MODEL, "input": question, "conversation": reference, "stream": stream}
        reply = await client.call("POST", "/v1/responses", body)
        assert reply.status == 200, reply.raw
        if not stream:
            assert reply.json["conversation"] == {"id": conversation["id"]}
    inputs = {tensor["name"]: tensor["data"][0] for tensor in client.fleet.calls("prompt")[-1].body["inputs"]}
    said = ["Be brief.", "Hi", "How long?", "Thirty days.", "Why?"]
    assert [each["content"] for each in json.loads(inputs["messages"])] == said
    items = await client.ask("GET", f"{PATH}/{conversation['id']}/items?order=asc")
    assert _texts(items) == [*said, "Thirty days."]


async def test_same_key_makes_one_conversation(client: Client) -> None:
    body = {"items": [_message("Hi")]}
    made = await client.ask("POST", PATH, body, key="k")
    assert await client.ask("POST", PATH, body, key="k") == made
    path = f"{PATH}/{made['id']}/items"
    added = await client.ask("POST", path, body, key="l")
    assert await client.ask("POST", path, body, key="l") == added
    assert _texts(await client.ask("GET", path)) == ["Hi", "Hi"]


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("", {"items": [_message("x")] * 21}, 400, "items"),
        ("", {"items": [{"type": "message", "role": "nobody", "content": "x"}]}, 400, "items.0.role"),
        ("", {"items": [{"type": "item_reference", "id": "msg_none"}]}, 404, "items.0"),
        ("", {"metadata": {"a": 1}}, 400, "metadata.a"),
        ("", {"name": "x"}, 400, "name"),
        ("/conv_none", {"metadata": {}}, 404, "conversation_id"),
        ("/conv_none/items", {"items": [_message("x")]}, 404, "conversation_id"),
        ("/{id}/items", {"items": []}, 400, "items"),
        ("/{id}", {}, 400, "metadata"),
    ],
)
async def test_what_is_refused(client: Client, path: str, body: Any, status: int, param: str) -> None:
    made = await client.ask("POST", PATH)
    reply = await client.call("POST", PATH + path.replace("{id}", made["id"]), body)
    assert (reply.status, reply.error["param"]) == (status, param), reply.raw


async def test_a_conversation_has_a_bound(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.knowledge.catalog.conversations.MAX_ITEMS", 3)
    made = await client.ask("POST", PATH, {"items": [_message("a"), _message("b")]})
    body = {"model": MODEL, "input": "How long?", "conversation": made["id"]}
    reply = await client.call("POST", "/v1/responses", body)
    assert (reply.status, reply.error["code"]) == (409, "conversation_too_long")
    assert len((await client.ask("GET", f"{PATH}/{made['id']}/items"))["data"]) == 2
