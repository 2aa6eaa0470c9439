"""Every list and map that a client can send has a bound, and reading stops at its first wrong item."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from gateway.api.chat_schemas import ChatRequest
from gateway.api.completions import CompletionRequest
from gateway.api.embeddings import EmbeddingRequest
from gateway.api.json_body import MAX_KEYS
from gateway.api.response_schemas import ResponsesRequest
from gateway.api.store_schemas import ChangedFile, ChangedStore, NewFile, NewFileBatch, NewStore, SearchRequest
from gateway.api.validation import read
from gateway.errors import BadRequest

SCHEMAS: list[type[BaseModel]] = [
    ChatRequest,
    CompletionRequest,
    ResponsesRequest,
    EmbeddingRequest,
    NewStore,
    ChangedStore,
    NewFile,
    NewFileBatch,
    ChangedFile,
    SearchRequest,
]
MANY = 150_000
WRONG: list[Any] = [{}, [], None, -1, 1.5, "", "x" * 9, [[]], {"type": 1}, [-1], True]


def unbounded(part: Any, at: str) -> Iterator[str]:
    if isinstance(part, list):
        for each in part:
            yield from unbounded(each, at)
    if not isinstance(part, dict):
        return
    if part.get("type") == "array" and "maxItems" not in part:
        yield f"{at}: list"
    is_map = part.get("type") == "object" and "properties" not in part and part.get("additionalProperties") is not False
    if is_map and "maxProperties" not in part:
        yield f"{at}: map"
    for name, each in part.items():
        if name not in ("default", "enum", "const"):
            yield from unbounded(each, f"{at}.{name}")


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.__name__)
def test_every_list_and_map_has_a_bound(schema: type[BaseModel]) -> None:
    assert not list(unbounded(schema.model_json_schema(), schema.__name__))


def bombs() -> Iterator[tuple[type[BaseModel], dict[str, Any]]]:
    """Each field of each schema as a list of many wrong items; as an object of many keys; the same within messages."""
    for schema in SCHEMAS:
        for name in schema.model_fields:
            for item in WRONG:
                yield schema, {name: [item] * MANY}
            yield schema, {name: {f"k{number}": {} for number in range(MAX_KEYS)}}
        yield schema, {f"k{number}": {} for number in range(MAX_KEYS)}
    for item in WRONG:
        yield ChatRequest, {"model": "m", "messages": [{"role": "user", "content": [item] * MANY}]}
        yield ChatRequest, {"model": "m", "messages": [{"role": "user", "content": [item] * 256}] * 1000}
        yield ResponsesRequest, {"model": "m", "input": [{"role": "user", "content": [item] * MANY}]}
        yield ResponsesRequest, {"model": "m", "input": [{"role": "user", "content": [item] * 256}] * 1000}
        tool = {"type": "file_search", "vector_store_ids": [item] * MANY}
        yield ChatRequest, {"model": "m", "messages": [{"role": "user", "content": "x"}], "tools": [tool]}
        yield NewFileBatch, {"files": [{"file_id": "file-1", "attributes": {"a": item}}] * 2000}


def test_a_body_of_wrong_items_is_refused_at_the_first() -> None:
    worst: list[str] = []
    for schema, body in bombs():
        try:
            schema.model_validate(body)
        except ValidationError as error:
            if error.error_count() > MAX_KEYS + len(schema.model_fields):
                worst.append(f"{schema.__name__} {str(body)[:80]}: {error.error_count()} errors")
    assert not worst, "\n".join(worst)


@pytest.mark.parametrize(
    ("schema", "body", "param", "words"),
    [
        (EmbeddingRequest, {"model": "m", "input": ["x"] * 2049}, "input", "at most 2048 items"),
        (EmbeddingRequest, {"model": "m", "input": [1, 2, -1]}, "input.2", "greater than or equal to 0"),
        (EmbeddingRequest, {"model": "m", "input": [[1], ["x"]]}, "input.1.0", "valid number"),
        (EmbeddingRequest, {"model": "m", "input": ["x", 1]}, "input.1", "valid string"),
        (CompletionRequest, {"model": "m", "prompt": ["x"] * 33}, "prompt", "at most 32 items"),
        (CompletionRequest, {"model": "m", "prompt": 7}, "prompt", "valid string"),
        (ChatRequest, {"model": "m", "messages": [{"role": "user", "content": [{}]}]}, "messages.0.content.0", "type"),
        (ChatRequest, {"model": "m", "messages": [{"role": "user", "content": 1}]}, "messages.0.content", "string"),
        (ResponsesRequest, {"model": "m", "input": [{"role": "user", "content": 1}]}, "input.0.content", "string"),
        (SearchRequest, {"query": ["a"] * 17}, "query", "at most 16 items"),
        (SearchRequest, {"query": ["a", " "]}, "query.1", "white space"),
    ],
)
def test_of_a_union_the_arm_that_was_meant_complains(
    schema: type[BaseModel], body: dict[str, Any], param: str, words: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        read(schema, body)
    assert refused.value.param is not None
    assert refused.value.param.startswith(param)
    assert words in refused.value.message


def test_an_error_repeats_no_more_than_a_little_of_what_was_sent() -> None:
    with pytest.raises(BadRequest) as refused:
        read(ChatRequest, {"x" * 1_000_000: 1, "model": "m", "messages": [{"role": "user", "content": "x"}]})
    assert len(refused.value.message) < 300
