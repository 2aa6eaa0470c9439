"""Assistants as models of the API: listed, asked in chats and responses, bounded, and each tenant's own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.running import Fleet

PLAIN = "system: You speak in rhymes.\nmax_tokens: 16\nmax_input_chars: 200\n"
KEYS = """
tenants:
  - {name: acme, keys: [acme-key-0123456789]}
  - {name: other, keys: [other-key-0123456789]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Profiles: `poet` for everybody, `own` for the tenant `acme`."""
    made = tmp_path / "profiles"
    (made / "acme").mkdir(parents=True)
    (made / "poet.yaml").write_text(PLAIN)
    (made / "acme" / "own.yaml").write_text(PLAIN)
    return made


def asked(model: str, text: str = "Hello?", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


async def test_a_profile_makes_an_assistant_of_a_model(start: Callable[..., Any], folder: Path) -> None:
    fleet: Fleet = await start(assistants_dir=folder)
    listed = (await fleet.get("/v1/models")).json["data"]
    names = {each["id"] for each in listed}
    assert {"assistant:poet", "assistant:support", "assistant:content", "assistant:code", "assistant:data"} <= names
    assert "assistant:own" not in names
    fleet.says("Roses are red.")
    reply = await fleet.post(asked("assistant:poet", max_tokens=400))
    assert reply.status == 200, reply.json
    assert reply.json["model"] == "assistant:poet"
    assert reply.json["choices"][0]["message"]["content"] == "Roses are red."
    (prompt,) = fleet.calls("prompt")
    inputs = {tensor["name"]: tensor["data"][0] for tensor in prompt.body["inputs"]}
    sent = json.loads(inputs["messages"])
    assert [each["role"] for each in sent] == ["system", "user"]
    assert sent[0]["content"] == "You speak in rhymes."
    assert fleet.calls()[-1].body["request_output_len"] == 16


async def test_responses_and_streams_know_assistants(start: Callable[..., Any], folder: Path) -> None:
    fleet: Fleet = await start(assistants_dir=folder)
    fleet.says("Roses are red.")
    reply = await fleet.post({"model": "assistant:poet", "input": "Hello?"}, path="/v1/responses")
    assert reply.json["output"][-1]["content"][0]["text"] == "Roses are red."
    reply = await fleet.post({"model": "assistant:poet", "input": "Hello?", "background": True}, path="/v1/responses")
    assert (reply.status, reply.json["error"]["param"]) == (400, "background")
    assert (await fleet.stream(model="assistant:poet", store=True)).text == "Roses are red."
    reply = await fleet.post(asked("assistant:poet", stream=True), headers={"X-Ragfleet-Journal": "true"})
    assert (reply.status, reply.json["error"]["param"]) == (400, "X-Ragfleet-Journal")


async def test_what_an_assistant_cannot_read_is_refused(start: Callable[..., Any], folder: Path) -> None:
    fleet: Fleet = await start(assistants_dir=folder)
    reply = await fleet.post(asked("assistant:poet", "x" * 201))
    assert (reply.status, reply.json["error"]["code"]) == (400, "context_length_exceeded")
    reply = await fleet.post(asked("assistant:nobody"))
    assert (reply.status, reply.json["error"]["code"]) == (404, "model_not_found")


async def test_a_tenants_own_assistant_is_nobody_elses(start: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    tenants = tmp_path / "tenants.yaml"
    tenants.write_text(KEYS)
    fleet: Fleet = await start(assistants_dir=folder, tenants_file=tenants)
    fleet.says("Yes.")
    seen = {}
    for name in ("acme", "other"):
        key = {"authorization": f"Bearer {name}-key-0123456789"}
        reply = await fleet.post(asked("assistant:own"), headers=key)
        listed = await fleet.get("/v1/models", headers=key)
        seen[name] = reply.status, "assistant:own" in {each["id"] for each in listed.json["data"]}
    assert seen == {"acme": (200, True), "other": (404, False)}


async def test_one_that_answers_from_all_stores_searches_as_its_profile_says(
    start: Callable[..., Any], folder: Path
) -> None:
    (folder / "reader.yaml").write_text("knowledge: true\nwithout: [code]\ntop_k: 3\nmin_score: 0.25\nmax_tokens: 9\n")
    fleet: Fleet = await start(assistants_dir=folder)
    await fleet.learn("handbook", "prices", "code")
    for name in ("reader", "support"):
        reply = await fleet.post(asked(f"assistant:{name}", "When can I return it?"))
        assert reply.status == 200, reply.json
    inputs = [{tensor["name"]: tensor["data"][0] for tensor in call.body["inputs"]} for call in fleet.calls("context")]
    wanted = {fleet.stores["handbook"], fleet.stores["prices"]}
    assert [{store for store in fleet.stores.values() if store in each["filter"]} for each in inputs] == [wanted] * 2
    assert (inputs[0]["top_k"], inputs[0]["min_score"]) == (3, pytest.approx(0.25))
