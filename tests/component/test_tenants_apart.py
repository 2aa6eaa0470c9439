"""Two tenants with the same documents: neither sees anything of the other through any path, id, cursor, name or key.

What is another's is answered, byte for byte, as what nobody has.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.tenants.caller import dump_caller
from gateway.tenants.tenant import Tenant as Owner
from tests.support.ingesting import bring_in, clear_away, ingestion
from tests.support.replies import Reply
from tests.support.running import EMBEDDING, MODEL, Fleet

FILES, STORES, TALKS = "/v1/files", "/v1/vector_stores", "/v1/conversations"
CHATS = "/v1/chat/completions"
TENANTS = """
tenants:
  - {name: acme, keys: [acme-key]}
  - {name: globex, keys: [globex-key]}
"""
NOBODYS = {
    "store_id": "vs_" + "0" * 24,
    "file_id": "file-" + "0" * 24,
    "batch_id": "vsfb_" + "0" * 24,
    "response_id": "resp_" + "0" * 32,
    "conversation_id": "conv_" + "0" * 24,
    "item_id": "msg_" + "0" * 32,
    "completion_id": "chatcmpl-" + "0" * 32,
    "job_id": "batch_" + "0" * 24,
    "upload_id": "upload_" + "0" * 24,
}


@dataclass
class Tenant:
    """One tenant and what is its own."""

    fleet: Fleet
    name: str
    own: dict[str, str] = field(default_factory=dict)
    """By the name that it has in paths."""
    gone: dict[str, str] = field(default_factory=dict)
    """What it had and deleted."""

    async def call(self, method: str, path: str, body: Any = None, key: str | None = None) -> Reply:
        """Whatever comes back."""
        headers = {"authorization": f"Bearer {self.name}-key"} | ({} if key is None else {"idempotency-key": key})
        data = body if body is None or isinstance(body, aiohttp.FormData) else json.dumps(body).encode()
        async with self.fleet.http.request(method, path, data=data, headers=headers) as response:
            return Reply(response.status, response.headers, await response.read())

    async def ask(self, method: str, path: str, body: Any = None, key: str | None = None) -> Any:
        """The body of a good answer."""
        reply = await self.call(method, path, body, key)
        assert reply.status == 200, reply.raw
        return reply.json

    async def upload(self, name: str = "returns.md") -> str:
        """The id of a new file, the same for both but for the tenant."""
        form = aiohttp.FormData()
        form.add_field("purpose", "assistants")
        form.add_field("file", b"Thirty days.", filename=name)
        return str((await self.ask("POST", FILES, form, f"the same key for {name}"))["id"])

    async def settle(self) -> None:
        """The same files, stores and batches under the same names and keys, some of them deleted again."""
        file, gone = await self.upload(), await self.upload("gone.md")
        made = await self.ask("POST", STORES, {"name": "handbook"}, "the same key for a store")
        store = made["id"]
        batch = await self.ask("POST", f"{STORES}/{store}/file_batches", {"file_ids": [file, gone]})
        await bring_in(self.fleet.gateway)
        response = await self.ask("POST", "/v1/responses", {"model": MODEL, "input": "How long?"})
        message = {"role": "user", "content": "How long?"}
        chat = await self.ask("POST", CHATS, {"model": MODEL, "messages": [message], "store": True})
        talk, items = await self._talk()
        self.own = {"store_id": store, "file_id": file, "batch_id": batch["id"], "response_id": response["id"]}
        self.own |= {"conversation_id": talk, "item_id": items[0], "job_id": f"batch_{self.name}"}
        self.own["completion_id"] = chat["id"]
        parts = {"filename": "parts.md", "purpose": "assistants", "bytes": 12, "mime_type": "text/markdown"}
        self.own["upload_id"] = (await self.ask("POST", "/v1/uploads", parts, "the same key for an upload"))["id"]
        job = {"id": self.own["job_id"], "created_at": 1, "status": "validating", "input_file_id": file}
        job |= {"endpoint": "/v1/responses", "request_counts": {}}  # the file has no requests: it will fail
        await self.fleet.gateway.catalog.of(Owner(self.name)).batches.create(job, dump_caller(Owner(self.name)))
        other = (await self.ask("POST", STORES, {"name": "old"}))["id"]
        self.gone = {"store_id": other, "file_id": gone, "item_id": items[1]}
        async with ingestion(self.fleet.gateway):
            await self.ask("DELETE", f"{FILES}/{gone}")
            await self.ask("DELETE", f"{STORES}/{other}")

    async def _talk(self) -> tuple[str, list[str]]:
        """A conversation of two items, of which the second is deleted again, and their ids."""
        items = [{"role": "user", "content": text} for text in ("How long?", "Why?")]
        talk = (await self.ask("POST", TALKS, {"items": items}, "the same key for a conversation"))["id"]
        listed = (await self.ask("GET", f"{TALKS}/{talk}/items?order=asc"))["data"]
        await self.ask("DELETE", f"{TALKS}/{talk}/items/{listed[1]['id']}")
        return talk, [item["id"] for item in listed]


@pytest.fixture
async def fleet(start: Any, tmp_path: Path) -> Fleet:
    (tmp_path / "tenants.yaml").write_text(TENANTS)
    running: Fleet = await start(tenants_file=tmp_path / "tenants.yaml")
    return running


@pytest.fixture
async def acme(fleet: Fleet) -> Tenant:
    made = Tenant(fleet, "acme")
    await made.settle()
    return made


@pytest.fixture
async def globex(fleet: Fleet, acme: Tenant) -> AsyncIterator[Tenant]:
    """The one that tries; afterwards all of the other's is still there."""
    before = await _all_of(acme)
    made = Tenant(fleet, "globex")
    await made.settle()
    yield made
    await clear_away(fleet.gateway)
    for had, has in zip(before, await _all_of(acme), strict=True):
        assert all(each in has for each in had)


async def _all_of(tenant: Tenant) -> list[Any]:
    store, batch = tenant.own["store_id"], tenant.own["batch_id"]
    lists = (FILES, STORES, f"{STORES}/{store}/files", f"{STORES}/{store}/file_batches/{batch}/files")
    lists += (CHATS, f"{CHATS}/{tenant.own['completion_id']}/messages")
    lists += (f"{TALKS}/{tenant.own['conversation_id']}/items",)
    found = [(await tenant.ask("GET", path))["data"] for path in lists]
    for at, each in enumerate(found[1]):
        found[1][at] = {name: value for name, value in each.items() if name != "last_active_at"}
    return found


def _paths(document: Any) -> Iterator[tuple[str, str]]:
    """Each method and path with an id in it, of those that the gateway has."""
    for path, methods in document["paths"].items():
        if "_id}" in path and path.startswith("/v1/"):
            yield from ((method.upper(), path) for method in methods)


BODIES: dict[str, Any] = {
    "/v1/vector_stores/{store_id}": {"name": "mine"},
    "/v1/vector_stores/{store_id}/files": {"file_id": "{file_id}"},
    "/v1/vector_stores/{store_id}/files/{file_id}": {"attributes": {"mine": True}},
    "/v1/vector_stores/{store_id}/file_batches": {"file_ids": ["{file_id}"]},
    "/v1/vector_stores/{store_id}/search": {"query": "How long?"},
    "/v1/chat/completions/{completion_id}": {"metadata": {"mine": "yes"}},
    "/v1/conversations/{conversation_id}": {"metadata": {"mine": "yes"}},
    "/v1/conversations/{conversation_id}/items": {"items": [{"type": "item_reference", "id": "{item_id}"}]},
    "/v1/uploads/{upload_id}/complete": {"part_ids": ["part_" + "0" * 24]},
}


def _with(text: str, ids: dict[str, str]) -> str:
    for name, value in ids.items():
        text = text.replace(f"{{{name}}}", value)
    return text


async def test_no_path_shows_or_changes_what_is_anothers(acme: Tenant, globex: Tenant) -> None:
    """Each path with every mixture of the other's ids, own ones and nobody's: 404, and the same words."""
    document = (await globex.fleet.get("/openapi.json")).json
    paths = list(_paths(document))
    assert len(paths) == 37, "a new path: see that this test covers it"
    for method, path in paths:
        names = re.findall(r"{(\w+)}", path)
        wanted = json.dumps(BODIES.get(path, {})) if method == "POST" else "null"
        names += [name for name in re.findall(r"{(\w+)}", wanted) if name not in names]
        for theirs in range(1, 2 ** len(names)):  # which of the ids are the other's; the rest are own
            mixed = [name for at, name in enumerate(names) if theirs >> at & 1]
            replies = []
            for ids in (acme.own, NOBODYS):
                chosen = {name: (ids if name in mixed else globex.own)[name] for name in names}
                reply = await globex.call(method, _with(path, chosen), json.loads(_with(wanted, chosen)))
                assert reply.status == 404, (method, path, mixed, reply.raw)
                replies.append(_with_names(reply.raw.decode(), ids))
            assert replies[0] == replies[1], (method, path, mixed)


def _with_names(text: str, ids: dict[str, str]) -> str:
    """The text with the names of ids in their place."""
    for name, value in ids.items():
        text = text.replace(value, name)
    return text


async def test_no_cursor_shows_where_anothers_things_stand_or_stood(acme: Tenant, globex: Tenant) -> None:
    store, batch = globex.own["store_id"], globex.own["batch_id"]
    members = (f"{STORES}/{store}/files", f"{STORES}/{store}/file_batches/{batch}/files")
    lists = {FILES: "file_id", STORES: "store_id", **dict.fromkeys(members, "file_id")}
    lists[f"{TALKS}/{globex.own['conversation_id']}/items"] = "item_id"
    for path, kind in lists.items():
        for param in ("after", "before"):
            expected = (await globex.call("GET", f"{path}?{param}={NOBODYS[kind]}")).raw.decode()
            for theirs in (acme.own[kind], acme.gone[kind]):
                reply = await globex.call("GET", f"{path}?{param}={theirs}")
                assert reply.status == 404
                assert reply.raw.decode() == expected.replace(NOBODYS[kind], theirs)
            assert (await globex.call("GET", f"{path}?{param}={globex.gone[kind]}")).status == 200, "its own, deleted"


async def test_lists_and_models_have_only_ones_own(acme: Tenant, globex: Tenant) -> None:
    await acme.ask("POST", STORES, {"name": "secret", "file_ids": [acme.own["file_id"]]})
    await bring_in(acme.fleet.gateway)
    said = json.dumps(await _all_of(globex))
    assert all(value not in said for value in (*acme.own.values(), *acme.gone.values()))
    for path in (FILES, STORES):
        assert len((await globex.ask("GET", path))["data"]) == 1
    names = [each["id"] for each in (await globex.ask("GET", "/v1/models"))["data"]]
    assert "rag:handbook" in names
    assert "rag:secret" not in names
    assert (await globex.call("GET", "/v1/models/rag:secret")).status == 404


def _questions(store: str) -> Iterator[tuple[str, Any]]:
    """Every way to ask for what a store says, by its id or its name."""
    tool = {"type": "file_search", "vector_store_ids": [store]}
    chat = {"messages": [{"role": "user", "content": "How long?"}], "max_tokens": 4}
    yield "/v1/chat/completions", {**chat, "model": MODEL, "tools": [tool]}
    yield "/v1/chat/completions", {**chat, "model": f"rag:{store}"}
    yield "/v1/responses", {"model": MODEL, "input": "How long?", "tools": [tool], "max_output_tokens": 4}
    yield "/v1/responses", {"model": f"rag:{store}", "input": "How long?"}


async def test_no_question_reaches_anothers_store(acme: Tenant, globex: Tenant) -> None:
    secret = (await acme.ask("POST", STORES, {"name": "secret", "file_ids": [acme.own["file_id"]]}))["id"]
    for name in (secret, "secret", acme.own["store_id"]):
        for path, body in _questions(name):
            assert (await globex.call("POST", path, body)).status == 404, (path, body)
    both = {"type": "file_search", "vector_store_ids": [globex.own["store_id"], acme.own["store_id"]]}
    path, body = next(_questions("handbook"))
    assert (await globex.call("POST", path, {**body, "tools": [both]})).status == 404, "not even beside one's own"
    assert not globex.fleet.calls("context")


@pytest.mark.parametrize(
    "filters",
    [
        None,
        {"type": "or", "filters": [{"type": "ne", "key": "nowhere", "value": 1}, {"type": "eq", "key": "a", "value": 1}]},
        {"type": "eq", "key": "tenant", "value": "acme"},
        {"type": "eq", "key": "x", "value": '" or tenant == "acme'},
    ],
)  # fmt: skip
async def test_same_name_means_ones_own_store_whatever_the_filter(acme: Tenant, globex: Tenant, filters: Any) -> None:
    only = f'tenant == "globex" and store in ["{globex.own["store_id"]}"]'
    fleet = globex.fleet
    for path, body in _questions("handbook"):
        if filters is not None and "tools" not in body:
            continue
        if filters is not None:
            body["tools"][0]["filters"] = filters
        assert (await globex.call("POST", path, body)).status == 200
    found = await globex.ask("POST", f"{STORES}/{globex.own['store_id']}/search", {"query": "q", "filters": filters})
    assert found["object"] == "vector_store.search_results.page"
    asked = [call.body["inputs"] for model in ("context", "search") for call in fleet.calls(model)]
    sent = [tensor["data"][0] for inputs in asked for tensor in inputs if tensor["name"] == "filter"]
    assert len(sent) >= 3
    for expression in sent:
        assert expression == only or expression.startswith(f"{only} and (")
        assert acme.own["store_id"] not in expression


async def test_no_answer_continues_anothers(acme: Tenant, globex: Tenant) -> None:
    response = await acme.ask("GET", f"/v1/responses/{acme.own['response_id']}")
    theirs = {**acme.own, "output_id": response["output"][0]["id"]}
    for name, fields in (
        ("response_id", {"previous_response_id": "{response_id}"}),
        ("conversation_id", {"conversation": "{conversation_id}"}),
        ("item_id", {"input": [{"type": "item_reference", "id": "{item_id}"}]}),
        ("output_id", {"input": [{"type": "item_reference", "id": "{output_id}"}]}),
    ):
        said = []
        for ids in (theirs, {**NOBODYS, "output_id": "msg_" + "1" * 32}):
            body = {"model": MODEL, "input": "And?", **json.loads(_with(json.dumps(fields), ids))}
            for path in ("/v1/responses", "/v1/responses/input_tokens"):
                reply = await globex.call("POST", path, body)
                assert reply.status == 404, (name, reply.raw)
                said.append(_with_names(reply.raw.decode(), ids))
        assert len(set(said)) == 1, name
    assert await acme.ask("GET", f"/v1/responses/{acme.own['response_id']}") == response


async def test_no_batch_reads_anothers_file(acme: Tenant, globex: Tenant) -> None:
    said = []
    for ids in (acme.own, NOBODYS):
        body = {"input_file_id": ids["file_id"], "endpoint": "/v1/responses", "completion_window": "24h"}
        reply = await globex.call("POST", "/v1/batches", body)
        assert reply.status == 404
        said.append(_with_names(reply.raw.decode(), ids))
    assert len(set(said)) == 1
    listed = [each["id"] for each in (await globex.ask("GET", "/v1/batches"))["data"]]
    assert listed == [globex.own["job_id"]]


async def test_same_key_and_same_request_are_anothers_work(acme: Tenant, globex: Tenant) -> None:
    """Both sent the same requests under the same keys: each made its own, and a key tells nothing of the other's."""
    assert set(acme.own.values()).isdisjoint(globex.own.values())
    body = {"name": "only acme's"}
    made = await acme.ask("POST", STORES, body, "k")
    reply = await globex.call("POST", STORES, {"name": "another body"}, "k")
    assert reply.status == 200, "a conflict would tell that the key is in use"
    assert reply.json["id"] != made["id"]
    assert "idempotent-replayed" not in reply.headers
    assert (await acme.call("POST", STORES, body, "k")).json == made


async def test_same_request_id_does_not_mix_two_answers(acme: Tenant, globex: Tenant) -> None:
    """Who leaves ends only its own answer, even under the other's X-Request-Id."""
    fleet = acme.fleet
    before = len(fleet.calls("llm"))
    for tenant in (acme, globex):
        headers = {"authorization": f"Bearer {tenant.name}-key", "x-request-id": "the-same"}
        assert (await fleet.chat(headers=headers)).status == 200
    ids = {call.body["id"] for call in fleet.calls("llm")[before:]}
    assert len(ids) == 2


async def test_embeddings_know_no_tenant(acme: Tenant, globex: Tenant) -> None:
    body = {"model": EMBEDDING, "input": "Thirty days."}
    assert (await acme.ask("POST", "/v1/embeddings", body))["data"] == (
        await globex.ask("POST", "/v1/embeddings", body)
    )["data"]


@pytest.mark.parametrize("shared", [False, True])
async def test_caches_are_a_tenants_own_unless_they_are_shared(start: Any, tmp_path: Path, shared: bool) -> None:
    """The engine's prefixes and the embeddings: what is sent tells tenants apart, and one's requests not."""
    (tmp_path / "tenants.yaml").write_text(TENANTS)
    fleet = await start(tenants_file=tmp_path / "tenants.yaml", share_caches=shared)
    await fleet.gateway.catalog.collections.add("c", embedding_model=EMBEDDING, dimension=8)
    salts: dict[str, set[int]] = {}
    for name in ("acme", "globex"):
        tenant = Tenant(fleet, name)
        before = len(fleet.answers.calls)
        store = (await tenant.ask("POST", STORES, {"name": "handbook"}))["id"]
        await tenant.ask("POST", "/v1/embeddings", {"model": EMBEDDING, "input": ["Thirty days.", "Nine euros."]})
        await tenant.ask("POST", f"{STORES}/{store}/search", {"query": "How long?"})
        for path, body in _questions(store):
            assert (await tenant.call("POST", path, body)).status == 200
        calls = fleet.answers.calls[before:]
        assert {call.model for call in calls} == {"embedding", "search", "context", "llm"}
        sent = [_salts(call.body, call.model) for call in calls]
        assert all(each for each in sent) is not shared
        salts[name] = set().union(*sent)
        assert len(salts[name]) == (0 if shared else 1)
    assert salts["acme"].isdisjoint(salts["globex"])


def _salts(body: Any, model: str) -> set[int]:
    if model == "llm":
        return {body["cache_salt_id"]} if "cache_salt_id" in body else set()
    return {value for tensor in body["inputs"] if tensor["name"] == "cache_salt_id" for value in tensor["data"]}
