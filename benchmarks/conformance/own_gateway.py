"""A gateway over fake Tritons: the description that it gives of itself, and real answers of its paths."""

import asyncio
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.ingesting import ingestion
from tests.support.running import EMBEDDING, MODEL, Fleet, make_tokenizer, settings_for

Json = dict[str, Any]
DEADLINE_S = 120
MESSAGES = [{"role": "user", "content": "How long may goods be returned?"}]
TOOL = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
CLIENT_TOOLS: list[tuple[Json, Json]] = [
    ({"type": "custom", "name": "sql"}, {"input": "select 1"}),
    ({"type": "apply_patch"}, {"operation": {"type": "delete_file", "path": "a"}}),
    ({"type": "local_shell"}, {"command": ["ls"]}),
]
CALL = {"tool_choice": "required", "temperature": 0}


@dataclass(frozen=True)
class RealAnswer:
    """What was answered. path: as the description has it, without the version in front."""

    method: str
    path: str
    body: Any


def observe() -> tuple[Json, Sequence[RealAnswer]]:
    """The document, and answers. Raises RuntimeError for a request that is refused, TimeoutError."""
    return asyncio.run(_observe())


async def _observe() -> tuple[Json, Sequence[RealAnswer]]:
    with tempfile.TemporaryDirectory() as folder:
        async with (
            asyncio.timeout(DEADLINE_S),
            Fleet(settings_for(Path(folder), make_tokenizer(Path(folder)))) as fleet,
        ):
            document: Json = (await fleet.get("/openapi.json")).json
            client = _Client(fleet.http)
            await fleet.learn("handbook")
            async with ingestion(fleet.gateway):
                await _files(client)
                await _plain(client)
                fleet.says("Thirty days. [1]")
                await _chats(client, fleet.stores["handbook"])
                await _responses(client, fleet.stores["handbook"])
                fleet.says('{"name": "weather", "arguments": {"city": "Berlin"}}')
                functions = [{"type": "function", "function": TOOL}]
                await client.post("/chat/completions", model=MODEL, messages=MESSAGES, tools=functions, **CALL)
                await client.post("/responses", model=MODEL, input="?", tools=[{"type": "function", **TOOL}], **CALL)
                for tool, arguments in CLIENT_TOOLS:
                    fleet.says(json.dumps({"name": tool.get("name", tool["type"]), "arguments": arguments}))
                    await client.post("/responses", model=MODEL, input="?", tools=[tool], **CALL)
            return document, client.answers


class _Client:
    """Keeps what is answered."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http
        self.answers: list[RealAnswer] = []

    async def call(self, method: str, path: str, ids: Json | None = None, **given: Any) -> Any:
        """A good answer. ids: of the names in the path."""
        async with self._http.request(method, "/v1" + path.format(**(ids or {})), **given) as reply:
            body = await reply.json()
            if reply.status != 200:
                raise RuntimeError(f"{method} {path}: {reply.status} {body}")
        self.answers.append(RealAnswer(method.lower(), path, body))
        return body

    def has(self, path: str) -> bool:
        """Whether there is an answer of this path."""
        return any(each.path == path for each in self.answers)

    async def ended(self, path: str, ids: Json) -> None:
        """Read it until it has ended, well or not; the deadline is the whole run's."""
        while (await self.call("GET", path, ids))["status"] not in ("completed", "failed"):  # noqa: ASYNC110 - polled, as clients do
            await asyncio.sleep(0.05)

    async def post(self, path: str, ids: Json | None = None, **body: Any) -> Any:
        """The same with a body of JSON."""
        return await self.call("POST", path, ids, json=body)


async def _chats(client: _Client, store: str) -> None:
    path, one = "/chat/completions", "/chat/completions/{completion_id}"
    search = [{"type": "file_search", "vector_store_ids": [store]}]
    asked: Json = {"model": MODEL, "messages": MESSAGES, "store": True, "logprobs": True, "top_logprobs": 2}
    made = await client.post(path, **asked, tools=search, metadata={"team": "a"}, n=2)
    ids = {"completion_id": made["id"]}
    for each in (path, one, f"{one}/messages"):
        await client.call("GET", each, ids)
    await client.post(one, ids, metadata={"team": "b"})
    await client.call("DELETE", one, ids)


async def _plain(client: _Client) -> None:
    await client.post("/completions", model=MODEL, prompt=["Once", "Twice"], logprobs=2, max_tokens=4)
    await client.post("/embeddings", model=EMBEDDING, input=["a", "b"])


async def _responses(client: _Client, store: str) -> None:
    search = [{"type": "file_search", "vector_store_ids": [store]}]
    include = ["file_search_call.results", "message.output_text.logprobs"]
    asked: Json = {
        "model": MODEL,
        "input": "How long?",
        "include": include,
        "tools": search,
        "instructions": "Be brief.",
    }
    made = await client.post("/responses", **asked)
    ids = {"response_id": made["id"]}
    for each in ("/responses/{response_id}", "/responses/{response_id}/input_items"):
        await client.call("GET", each, ids)
    await client.post("/responses/input_tokens", model=MODEL, input="How long?")
    waiting = await client.post("/responses", model=MODEL, input="How long?", background=True)
    await client.post("/responses/{response_id}/cancel", {"response_id": waiting["id"]})
    await client.call("DELETE", "/responses/{response_id}", ids)
    talk, path = await client.post("/conversations", metadata={"a": "b"}), "/conversations/{conversation_id}"
    ids = {"conversation_id": talk["id"]}
    await client.post("/responses", model=MODEL, input="How long?", conversation=talk["id"])
    items = list(_conversation())
    added = await client.post(f"{path}/items", ids, items=items)
    ids["item_id"] = added["data"][0]["id"]
    for each in (path, f"{path}/items", f"{path}/items/{{item_id}}"):
        await client.call("GET", each, ids)
    await client.post(path, ids, metadata={"a": "c"})
    for each in (f"{path}/items/{{item_id}}", path):
        await client.call("DELETE", each, ids)


def _conversation() -> Iterator[Json]:
    yield {"role": "user", "content": [{"type": "input_text", "text": "The weather?"}]}
    yield {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}], "content": []}
    yield {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}", "status": "completed"}
    yield {"type": "function_call_output", "call_id": "call_1", "output": "Rain."}
    yield {"type": "custom_tool_call", "call_id": "call_2", "name": "sql", "input": "select 1"}
    yield {"type": "custom_tool_call_output", "call_id": "call_2", "output": "1"}
    patch = {"type": "delete_file", "path": "a"}
    yield {"type": "apply_patch_call", "call_id": "call_3", "status": "completed", "operation": patch}
    yield {"type": "apply_patch_call_output", "call_id": "call_3", "status": "completed"}
    yield {"role": "assistant", "content": "Rain."}


async def _files(client: _Client) -> None:
    form = aiohttp.FormData()
    form.add_field("purpose", "assistants")
    form.add_field("file", b"Goods may be returned within thirty days.", filename="returns.md")
    file = (await client.call("POST", "/files", data=form))["id"]
    ids = {"file_id": file}
    for each in ("/files", "/files/{file_id}"):
        await client.call("GET", each, ids)
    stores, one = "/vector_stores", "/vector_stores/{vector_store_id}"
    ids["vector_store_id"] = (await client.post(stores, name="books", metadata={"a": "b"}))["id"]
    await client.post(one, ids, expires_after={"anchor": "last_active_at", "days": 7})
    await client.post(f"{one}/files", ids, file_id=file, attributes={"year": 2026, "draft": False})
    batch = await client.post(f"{one}/file_batches", ids, file_ids=[file])
    ids["batch_id"] = batch["id"]
    batch_path = f"{one}/file_batches/{{batch_id}}"
    await client.ended(f"{one}/files/{{file_id}}", ids)
    for each in (stores, one, f"{one}/files", f"{one}/files/{{file_id}}/content", batch_path, f"{batch_path}/files"):
        await client.call("GET", each, ids)
    await client.post(f"{one}/files/{{file_id}}", ids, attributes={"year": 2027})
    await client.post(f"{one}/search", ids, query="How long?")
    await client.post(f"{batch_path}/cancel", ids)
    await client.call("DELETE", f"{one}/files/{{file_id}}", ids)
    await client.call("DELETE", one, ids)
    await client.call("DELETE", "/files/{file_id}", ids)
    await _upload(client)
    await _batch(client)


async def _upload(client: _Client) -> None:
    announced = {"filename": "returns.md", "purpose": "assistants", "bytes": 4, "mime_type": "text/markdown"}
    ids: Json = {}
    for _ in range(2):
        ids["upload_id"] = (await client.post("/uploads", **announced))["id"]
        form = aiohttp.FormData()
        form.add_field("data", b"Yes.", filename="upload")
        part = (await client.call("POST", "/uploads/{upload_id}/parts", ids, data=form))["id"]
        if not client.has("/uploads/{upload_id}/complete"):
            await client.post("/uploads/{upload_id}/complete", ids, part_ids=[part])
    await client.post("/uploads/{upload_id}/cancel", ids)


async def _batch(client: _Client) -> None:
    form = aiohttp.FormData()
    form.add_field("purpose", "batch")
    form.add_field("file", b"no request", filename="requests.jsonl")
    file = (await client.call("POST", "/files", data=form))["id"]
    made = await client.post("/batches", input_file_id=file, endpoint="/v1/embeddings", completion_window="24h")
    ids = {"batch_id": made["id"]}
    await client.ended("/batches/{batch_id}", ids)
    await client.call("GET", "/batches", ids)
