"""What cannot fit into a context is refused before anything reads it, and no instance is blamed for what is large."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.triton.fake_answers import Script
from tests.support.running import EMBEDDING, MODEL, Fleet
from tokens.vocabulary import TokenTable

Start = Callable[..., Any]
KNOWN = "Input tokens exceed the configured limit of"
"""By which LangChain and LiteLLM know the error."""
HUGE = "word " * 700_000
LONG = "word " * 3000


@pytest.mark.parametrize("text", [HUGE, LONG], ids=["by its bytes", "by its tokens"])
@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/v1/chat/completions", lambda text: {"messages": [{"role": "user", "content": text}]}, "messages"),
        (
            "/v1/chat/completions",
            lambda text: {"messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]},
            "messages",
        ),
        ("/v1/responses", lambda text: {"input": text}, "input"),
        ("/v1/responses", lambda text: {"input": "Hello", "instructions": text}, "input"),
        ("/v1/completions", lambda text: {"prompt": text}, "prompt"),
        ("/v1/completions", lambda text: {"prompt": ["Hello", text]}, "prompt"),
        ("/v1/completions", lambda text: {"prompt": [1] * (len(text) // 12)}, "prompt"),
    ],
)
async def test_a_text_over_the_context(
    fleet: Fleet, path: str, fields: Callable[[str], dict[str, Any]], param: str, text: str
) -> None:
    reply = await fleet.post({"model": MODEL, **fields(text)}, path=path)
    assert reply.status == 400
    assert reply.error["code"] == "context_length_exceeded"
    assert reply.error["message"].startswith(KNOWN)
    assert reply.error["param"] in (param, "messages")
    assert not fleet.calls()
    assert not fleet.gateway.detector.ejected()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/completions"])
async def test_what_its_bytes_refuse_is_never_tokenized(
    fleet: Fleet, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TokenTable, "encode", lambda *_, **__: pytest.fail("it was tokenized"))
    body = {"messages": [{"role": "user", "content": HUGE}]} if "chat" in path else {"input": HUGE}
    reply = await fleet.post(
        {"model": MODEL, **({"prompt": HUGE} if path.endswith("/completions") and "chat" not in path else body)},
        path=path,
    )
    assert (reply.status, reply.error["code"]) == (400, "context_length_exceeded")
    assert not fleet.calls("prompt")


@pytest.mark.parametrize(
    "given",
    ["word " * 200_000, ["short", "word " * 9000], [[7] * 9000], ["word " * 4000] * 100],
    ids=["bytes", "tokens", "ids", "together"],
)
async def test_embedding_inputs_over_the_limit(fleet: Fleet, given: Any) -> None:
    reply = await fleet.post({"model": EMBEDDING, "input": given}, path="/v1/embeddings")
    assert (reply.status, reply.error["code"], reply.error["param"]) == (400, "context_length_exceeded", "input")
    assert KNOWN in reply.error["message"]
    assert not fleet.calls("embedding")


async def test_an_embedding_input_that_fills_the_limit(fleet: Fleet) -> None:
    reply = await fleet.post({"model": EMBEDDING, "input": ["word " * 8190]}, path="/v1/embeddings")
    assert reply.status == 200
    assert reply.json["usage"]["total_tokens"] == 8190


async def test_a_large_prompt_that_is_late_is_its_own_fault(start: Start) -> None:
    fleet = await start(max_context=200_000, context_deadline_s=0.2)
    for triton in fleet.tritons:
        triton.always["prompt"] = Script(stall_after=0)
    replies = await asyncio.gather(*(fleet.chat("word " * 60_000) for _ in range(6)))
    assert {(reply.status, reply.error["code"]) for reply in replies} == {(504, "deadline_exceeded")}
    assert len(fleet.calls("prompt")) == len(replies), "each was tried once"
    assert not fleet.gateway.detector.ejected()


BOMBS: dict[str, dict[str, Any]] = {
    "parts": {"messages": [{"role": "user", "content": [{}] * 9_500}]},
    "messages": {"messages": [{}] * 9_500},
    "stop": {"stop": [1] * 300_000},
    "tools": {"tools": [{}] * 9_500},
    "keys": {f"k{number}": 1 for number in range(1000)},
    "too many keys": {f"k{number}": 1 for number in range(100_000)},
    "numbers": {"input": [-1] * 300_000, "prompt": [-1] * 300_000},
    "lists": {"input": [[]] * 9_500, "prompt": [[]] * 9_500, "query": [[]] * 9_500},
    "too many lists": {"input": [[]] * 900_000},
    "strings": {"file_ids": [1] * 300_000, "input": [""] * 300_000},
    "files": {"files": [{"file_id": "x", "attributes": {"a": []}}] * 4500},
    "maps": {"metadata": {f"k{number}": "v" for number in range(1000)}, "attributes": {}},
    "filters": {"filters": {"type": "and", "filters": [{"type": "and"}] * 4500}, "query": "x"},
}


@pytest.mark.parametrize("name", BOMBS)
async def test_a_body_of_wrong_items_is_refused_on_every_path(start: Start, name: str) -> None:
    """Bodies that fill what the server reads, or go past it."""
    fleet = await start()
    store = await fleet.post({}, path="/v1/vector_stores")
    stores = f"/v1/vector_stores/{store.json['id']}"
    paths = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings", "/v1/vector_stores")
    for path in (*paths, stores, f"{stores}/search", f"{stores}/files", f"{stores}/file_batches"):
        reply = await fleet.post(json.dumps({"model": MODEL, **BOMBS[name]}).encode(), path=path)
        assert reply.status == 400, (path, reply.raw[:300])
        assert len(reply.raw) < 1000
