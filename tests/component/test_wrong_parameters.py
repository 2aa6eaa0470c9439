"""Each parameter of a generation with what it cannot be, made from a table: a 400 that names it, and no engine is asked."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.running import MODEL, Fleet

MESSAGES = [{"role": "user", "content": "Hello?"}]
ASKED: dict[str, dict[str, Any]] = {
    "chat/completions": {"messages": MESSAGES},
    "completions": {"prompt": "Hello?"},
    "responses": {"input": "Hello?"},
}
FUNCTION: dict[str, Any] = {"name": "look", "parameters": {"type": "object", "properties": {}}}
TOOL = {"type": "function", "function": FUNCTION}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
NO_NUMBERS = ("3", [3], {"a": 3}, True, "", 10**300)
NO_FLAGS = ("true", 1, 0, [True], {})
NO_TEXTS = (1, True, ["x"], {"x": "y"})


@dataclass(frozen=True)
class Number:
    """A whole number between two."""

    least: int
    most: int

    def wrong(self) -> Iterator[Any]:
        yield from (*NO_NUMBERS, self.least - 1, self.most + 1, self.least + 0.5, -(2**70), 2**70, 1e300)


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def wrong(self) -> Iterator[Any]:
        yield from NO_FLAGS


@dataclass(frozen=True)
class Word:
    """One of some."""

    def wrong(self) -> Iterator[Any]:
        yield from (*NO_TEXTS, "", "Low", "surprise", "x" * 10_000)


@dataclass(frozen=True)
class Text:
    """Any string."""

    def wrong(self) -> Iterator[Any]:
        yield from NO_TEXTS


@dataclass(frozen=True)
class Bias:
    """Token ids and what is added to their logits."""

    def wrong(self) -> Iterator[Any]:
        yield from (5, "5", True, [5], [["5", 1]])
        yield from ({token: 1} for token in ("", "x", "-1", "1.0", " 1", "01", "1e3", "9" * 30, "\u0661", "399999"))
        yield from ({"5": value} for value in (-100.5, 101, "1", None, True, [1], {}, 10**300))
        yield {str(token): 1 for token in range(301)}
        yield {str(token): "x" for token in range(1000)}


@dataclass(frozen=True)
class Within:
    """An object with such fields."""

    fields: dict[str, Any]

    def wrong(self) -> Iterator[Any]:
        yield from ("low", 1, True, ["low"], {"surprise": 1})
        for name, kind in self.fields.items():
            yield from ({name: value} for value in kind.wrong())


TABLE: dict[str, dict[str, Any]] = {
    "chat/completions": {
        "n": Number(1, 8),
        "logprobs": Flag(),
        "top_logprobs": Number(0, 20),
        "logit_bias": Bias(),
        "reasoning_effort": Word(),
    },
    "completions": {
        "n": Number(1, 8),
        "best_of": Number(1, 8),
        "logprobs": Number(0, 5),
        "logit_bias": Bias(),
        "echo": Flag(),
        "suffix": Text(),
    },
    "responses": {
        "top_logprobs": Number(0, 20),
        "max_tool_calls": Number(1, 2**63 - 1),
        "reasoning": Within({"effort": Word(), "summary": Word()}),
    },
}
MIXTURES: list[tuple[str, dict[str, Any], str]] = [
    ("chat/completions", {"top_logprobs": 1}, "top_logprobs"),
    ("chat/completions", {"top_logprobs": 1, "logprobs": False}, "top_logprobs"),
    ("completions", {"n": 3, "best_of": 2}, "best_of"),
    ("completions", {"best_of": 2, "stream": True}, "best_of"),
    ("completions", {"echo": True, "logprobs": 0}, "echo"),
    ("completions", {"prompt": ["a"] * 32, "n": 8}, "n"),
    ("completions", {"prompt": [[5]] * 32, "best_of": 8, "n": 2}, "best_of"),
    ("responses", {"top_logprobs": 1}, "top_logprobs"),
    ("responses", {"top_logprobs": 1, "include": ["file_search_call.results"]}, "top_logprobs"),
    ("chat/completions", {"functions": [FUNCTION], "tool_choice": "required"}, "tool_choice"),
    ("chat/completions", {"functions": [FUNCTION], "tool_choice": "none"}, "tool_choice"),
    ("chat/completions", {"functions": [FUNCTION], "tools": [TOOL]}, "functions"),
    ("chat/completions", {"functions": [FUNCTION], "function_call": {"name": "other"}}, "function_call"),
    ("chat/completions", {"tools": [TOOL], "function_call": "auto"}, "function_call"),
    ("chat/completions", {"tools": [TOOL, TOOL]}, "tools"),
    ("chat/completions", {"tools": [TOOL], "guided_regex": "a"}, "guided_regex"),
    ("chat/completions", {"tools": [TOOL], "ignore_eos": True, "max_tokens": 9}, "ignore_eos"),
    ("chat/completions", {"response_format": SCHEMA, "guided_choice": ["a"]}, "guided_choice"),
    ("chat/completions", {"response_format": SCHEMA, "ignore_eos": True, "max_tokens": 9}, "ignore_eos"),
    ("chat/completions", {"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    (
        "chat/completions",
        {"response_format": {"type": "json_object", "json_schema": {}}},
        "response_format.json_schema",
    ),
    ("chat/completions", {"structured_outputs": {"regex": "a", "choice": ["b"]}}, "structured_outputs"),
    ("chat/completions", {"structured_outputs": {"regex": "a"}, "guided_json": {}}, "structured_outputs"),
    ("chat/completions", {"stream_options": {"include_usage": True}}, "stream_options"),
    ("completions", {"stream_options": {"include_usage": True}, "stream": False}, "stream_options"),
    ("chat/completions", {"min_tokens": 9, "max_completion_tokens": 3}, "min_tokens"),
    ("completions", {"ignore_eos": True}, "ignore_eos"),
    ("chat/completions", {"messages": [{"role": "assistant"}]}, "messages.0.content"),
    ("responses", {"input": [{"type": "web_search_call", "id": "ws_1", "status": "completed"}]}, "input.0.type"),
    ("responses", {"input": [{"type": "surprise"}]}, "input.0.type"),
    ("responses", {"input": [{"type": ["message"]}]}, "input.0.type"),
    ("responses", {"tool_choice": {"type": "web_search_preview"}}, "tool_choice.type"),
    ("responses", {"tool_choice": {"type": "mcp", "server_label": "x"}}, "tool_choice.type"),
    ("responses", {"previous_response_id": "resp_0", "conversation": "conv_0"}, "previous_response_id"),
    ("responses", {"background": True, "store": False}, "background"),
    ("responses", {"conversation": "conv_0", "store": False}, "store"),
    ("responses", {"tool_choice": {"type": "file_search"}, "tools": [{"type": "function", **FUNCTION}]}, "tool_choice"),
    # What other paths have.
    ("chat/completions", {"echo": True}, "echo"),
    ("chat/completions", {"best_of": 2}, "best_of"),
    ("chat/completions", {"reasoning": {"effort": "low"}}, "reasoning"),
    ("completions", {"top_logprobs": 1}, "top_logprobs"),
    ("completions", {"reasoning_effort": "low"}, "reasoning_effort"),
    ("responses", {"n": 2}, "n"),
    ("responses", {"logprobs": True}, "logprobs"),
    ("responses", {"logit_bias": {"5": 1}}, "logit_bias"),
]


STATIC = {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 51}
OF_STORES: list[tuple[str, dict[str, Any], int, str]] = [
    ("", {"file_ids": ["file-nobodys"]}, 404, "file_ids"),
    ("", {"chunking_strategy": {"type": "static"}, "file_ids": ["file-0"]}, 400, "chunking_strategy.static"),
    ("/files", {"file_id": "file-nobodys"}, 404, "file_id"),
    (
        "/files",
        {"file_id": "file-0", "chunking_strategy": {"type": "static", "static": STATIC}},
        400,
        "chunking_strategy.static.chunk_overlap_tokens",
    ),
    ("/file_batches", {}, 400, "file_ids"),
    ("/file_batches", {"file_ids": ["file-nobodys"]}, 404, "file_ids"),
    ("/file_batches", {"files": [{"file_id": "file-nobodys"}]}, 404, "files"),
    ("/file_batches", {"files": [{"file_id": "file-0"}], "file_ids": ["file-0"]}, 400, "file_ids"),
    ("/file_batches", {"files": [{"file_id": "file-0"}], "attributes": {"a": 1}}, 400, "attributes"),
    ("/search", {"query": "x", "filters": {"type": "in", "key": "a", "value": "b"}}, 400, "filters.value"),
    ("/search", {"query": "x", "filters": {"type": "and", "filters": []}}, 400, "filters.filters"),
    (
        "/search",
        {"query": "x", "ranking_options": {"hybrid_search": {"embedding_weight": 0, "text_weight": 0}}},
        400,
        "ranking_options.hybrid_search",
    ),
]


async def test_what_a_store_is_told_and_cannot_be_is_named(fleet: Fleet) -> None:
    store = (await fleet.post({}, path="/v1/vector_stores")).json["id"]
    for path, body, status, param in OF_STORES:
        reply = await fleet.post(body, path=f"/v1/vector_stores/{store}{path}" if path else "/v1/vector_stores")
        assert (reply.status, reply.json["error"]["param"]) == (status, param), (path, body, reply.raw[:200])
    assert [each["id"] for each in (await fleet.get("/v1/vector_stores")).json["data"]] == [store], "nothing was made"
    batch = {"input_file_id": "file-nobodys", "endpoint": "/v1/embeddings", "completion_window": "24h"}
    reply = await fleet.post(batch, path="/v1/batches")
    assert (reply.status, reply.json["error"]["param"]) == (404, "input_file_id")


@pytest.mark.parametrize("path", TABLE)
async def test_each_wrong_value_is_named(fleet: Fleet, path: str) -> None:
    wrong = []
    for name, kind in TABLE[path].items():
        for value in kind.wrong():
            reply = await fleet.post({"model": MODEL, **ASKED[path], name: value}, path=f"/v1/{path}")
            param = reply.error["param"] if reply.status == 400 else None
            if (param or "").partition(".")[0] != name:
                wrong.append(f"{name}={str(value)[:60]}: {reply.status} {reply.raw[:200]!r}")
    assert not wrong, "\n".join(wrong)
    assert not fleet.calls()
    assert not fleet.calls("prompt")


async def test_each_impossible_mixture_is_named(fleet: Fleet) -> None:
    for path, fields, name in MIXTURES:
        reply = await fleet.post({"model": MODEL, **ASKED[path], **fields}, path=f"/v1/{path}")
        assert (reply.status, reply.json["error"]["param"]) == (400, name), (path, fields, reply.raw[:200])
    assert not fleet.calls()
