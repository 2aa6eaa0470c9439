"""Chats and responses from stores of the catalog: by id and by name, filtered, and only from the tenant's own."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.retrieval.store_resolver import MAX_STORES
from gateway.tenants.tenant import Tenant
from tests.support.ingesting import bring_in
from tests.support.replies import Reply
from tests.support.running import COLLECTION, MODEL, Fleet

TENANTS = """
tenants:
  - {name: acme, keys: [acme-key]}
  - {name: globex, keys: [globex-key]}
"""


@pytest.fixture
async def fleet(start: Any, tmp_path: Path) -> Fleet:
    """With two tenants."""
    (tmp_path / "tenants.yaml").write_text(TENANTS)
    running: Fleet = await start(tenants_file=tmp_path / "tenants.yaml")
    return running


async def _post(fleet: Fleet, path: str, body: Any, tenant: str = "acme") -> Reply:
    return await fleet.post(body, path=path, headers={"authorization": f"Bearer {tenant}-key"})


async def _store(fleet: Fleet, name: str, tenant: str = "acme") -> str:
    """The id of a store with one file in it."""
    catalog = fleet.gateway.catalog
    file_id = f"file-{name}"
    await fleet.gateway.objects.put(f"files/{file_id}/content", b"Thirty days.")
    await catalog.of(Tenant(tenant)).files.add(
        file_id=file_id, filename="returns.md", purpose="assistants", size=12, sha256="0" * 64
    )
    made = await _post(fleet, "/v1/vector_stores", {"name": name, "file_ids": [file_id]}, tenant)
    await bring_in(fleet.gateway)
    return str(made.json["id"])


def _asked(fleet: Fleet) -> dict[str, Any]:
    call = fleet.calls("context")[-1]
    return {tensor["name"]: tensor["data"][0] for tensor in call.body["inputs"]}


def _chat(**fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": "How long?"}], "max_tokens": 4, **fields}


@pytest.mark.parametrize("by", ["id", "name"])
async def test_tool_asks_the_tenants_store_in_the_active_collection(fleet: Fleet, by: str) -> None:
    store = await _store(fleet, "handbook")
    tool = {"type": "file_search", "vector_store_ids": [store if by == "id" else "handbook"], "max_num_results": 2}
    reply = await _post(fleet, "/v1/chat/completions", _chat(tools=[tool]))
    assert reply.status == 200, reply.raw
    assert reply.json["rag"]["grounded"] is True
    asked = _asked(fleet)
    assert asked["filter"] == f'tenant == "acme" and store in ["{store}"]'
    assert (asked["collection"], asked["top_k"]) == (COLLECTION, 2)


async def test_filter_of_the_client_stands_in_brackets_behind_ours(fleet: Fleet) -> None:
    store = await _store(fleet, "handbook")
    tool = {
        "type": "file_search",
        "vector_store_ids": [store],
        "filters": {"type": "eq", "key": "by", "value": '") or ("a" == "a'},
    }
    for path, body in (
        ("/v1/chat/completions", _chat(tools=[tool])),
        ("/v1/responses", {"model": MODEL, "input": "How long?", "max_output_tokens": 4, "tools": [tool]}),
    ):
        reply = await _post(fleet, path, body)
        assert reply.status == 200, reply.raw
        literal = json.dumps(tool["filters"]["value"])
        assert _asked(fleet)["filter"] == (
            f'tenant == "acme" and store in ["{store}"] and (attributes["by"] == {literal})'
        )


@pytest.mark.parametrize("model", ["rag", "rag:handbook", "rag:{id}"])
async def test_models_that_stand_for_stores(fleet: Fleet, model: str) -> None:
    store = await _store(fleet, "handbook")
    reply = await _post(fleet, "/v1/chat/completions", _chat(model=model.format(id=store)))
    assert reply.status == 200, reply.raw
    assert _asked(fleet)["filter"] == f'tenant == "acme" and store in ["{store}"]'
    listed = await fleet.get("/v1/models", headers={"authorization": "Bearer acme-key"})
    assert {"rag", "rag:handbook"} <= {each["id"] for each in listed.json["data"]}


async def test_other_tenants_store_is_unknown(fleet: Fleet) -> None:
    store = await _store(fleet, "handbook")
    for name in (store, "handbook"):
        tool = {"type": "file_search", "vector_store_ids": [name]}
        for body in (_chat(tools=[tool]), _chat(model=f"rag:{name}")):
            reply = await _post(fleet, "/v1/chat/completions", body, "globex")
            assert reply.status == 404
    assert (await _post(fleet, "/v1/chat/completions", _chat(model="rag"), "globex")).status == 404
    listed = await fleet.get("/v1/models", headers={"authorization": "Bearer globex-key"})
    assert not [each for each in listed.json["data"] if each["id"].startswith("rag")]
    assert not fleet.calls("context")


async def test_store_with_nothing_in_it_yet(fleet: Fleet) -> None:
    made = await _post(fleet, "/v1/vector_stores", {"name": "empty"})
    tool = {"type": "file_search", "vector_store_ids": [made.json["id"]]}
    reply = await _post(fleet, "/v1/chat/completions", _chat(tools=[tool]))
    assert (reply.status, reply.error["code"]) == (404, "store_empty")


@pytest.mark.parametrize(
    "filters", [{"type": "like", "key": "a", "value": 1}, {"type": "and", "filters": []}, {"type": "eq", "key": "a"}]
)
async def test_filter_that_cannot_be_read(fleet: Fleet, filters: Any) -> None:
    store = await _store(fleet, "handbook")
    tool = {"type": "file_search", "vector_store_ids": [store], "filters": filters}
    reply = await _post(fleet, "/v1/chat/completions", _chat(tools=[tool]))
    assert reply.status == 400
    assert (reply.error["param"] or "").startswith("tools.0.filters")


async def test_rag_finds_the_store_behind_any_number_of_newer_empty_ones(fleet: Fleet) -> None:
    store = await _store(fleet, "handbook")
    for number in range(MAX_STORES + 1):
        await fleet.gateway.catalog.of(Tenant("acme")).stores.create(name=f"empty {number}")
    reply = await _post(fleet, "/v1/chat/completions", _chat(model="rag"))
    assert reply.status == 200, reply.raw
    assert _asked(fleet)["filter"] == f'tenant == "acme" and store in ["{store}"]'
