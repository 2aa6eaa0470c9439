"""Every parameter that the document describes, with values that it forbids: a 400 that names it, and nothing is done."""

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.support.running import EMBEDDING, MODEL, Fleet

pytestmark = pytest.mark.timeout(600)  # many requests
Json = dict[str, Any]
GOOD: dict[str, Json] = {
    "/v1/chat/completions": {"model": MODEL, "messages": [{"role": "user", "content": "Hello?"}]},
    "/v1/completions": {"model": MODEL, "prompt": "Hello?"},
    "/v1/responses": {"model": MODEL, "input": "Hello?"},
    "/v1/conversations": {},
    "/v1/conversations/{conversation_id}": {"metadata": {}},
    "/v1/conversations/{conversation_id}/items": {"items": [{"role": "user", "content": "Hello?"}]},
    "/v1/embeddings": {"model": EMBEDDING, "input": "Hello?"},
    "/v1/batches": {"input_file_id": "file-0", "endpoint": "/v1/embeddings", "completion_window": "24h"},
    "/v1/uploads": {"filename": "a.txt", "purpose": "assistants", "bytes": 1, "mime_type": "text/plain"},
    "/v1/uploads/{upload_id}/complete": {"part_ids": ["part_0"]},
    "/v1/vector_stores": {},
    "/v1/vector_stores/{store_id}": {},
    "/v1/vector_stores/{store_id}/files": {"file_id": "file-0"},
    "/v1/vector_stores/{store_id}/file_batches": {"file_ids": ["file-0"]},
    "/v1/vector_stores/{store_id}/search": {"query": "Hello?"},
}
SAMPLES: tuple[Any, ...] = (
    5,
    -1,
    0.5,
    10**30,
    True,
    "surprise",
    "",
    [5],
    [[]],
    ["x", {}],
    {"surprise": 1},
    {"type": "x"},
)
DEEPEST = 2


class Document:
    """OpenAPI's, and what it forbids."""

    def __init__(self, document: Json) -> None:
        self._document = document

    def body(self, path: str) -> Json:
        """The schema of a POST's body."""
        found: Json = self._document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        return self._read(found)

    def allows(self, schema: Json, value: Any) -> bool:
        """Whether a value is an instance. Nulls are: clients send them for what they leave out."""
        whole = {**schema, "components": self._document["components"]}
        return value is None or Draft202012Validator(whole).is_valid(value)

    def wrong(self, schema: Json, depth: int = 0) -> Iterator[Any]:
        """Values that are none: of other types, out of bounds, and objects and lists with one thing in them that is wrong."""
        inside: list[Any] = []
        for each in self._arms(schema):
            inside += _beyond(each)
            if depth < DEEPEST:
                for name, inner in each.get("properties", {}).items():
                    inside += ({name: value} for value in self.wrong(inner, depth + 1))
                if isinstance(items := each.get("items"), dict):
                    inside += ([value] for value in self.wrong(items, depth + 1))
        kinds: set[str] = set()
        for value in [*SAMPLES, *inside]:
            kind = f"{type(value)}{sorted(value) if isinstance(value, dict) else ''}" if depth else str(value)
            if kind not in kinds and not self.allows(schema, value):
                kinds.add(kind)  # further in, one of each kind is enough
                yield value

    def _read(self, schema: Json) -> Json:
        while "$ref" in schema:
            schema = self._document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return schema

    def _arms(self, schema: Json) -> Iterator[Json]:
        schema = self._read(schema)
        several = schema.get("anyOf") or schema.get("oneOf")
        if several is None:
            yield schema
        for each in several or ():
            yield from self._arms(each)


def _beyond(schema: Json) -> Iterator[Any]:
    """Values just out of the bounds."""
    if (least := schema.get("minimum")) is not None:
        yield least - 1
    if (most := schema.get("maximum")) is not None:
        yield most + 1
    if 0 < (longest := schema.get("maxLength", 0)) < 10_000:
        yield "x" * (longest + 1)


async def test_what_the_document_forbids_is_refused_by_name(fleet: Fleet) -> None:
    document = Document((await fleet.get("/openapi.json")).json)
    store = (await fleet.post({}, path="/v1/vector_stores")).json["id"]
    asked, missing = 0, []
    for path, good in GOOD.items():
        real = path.format(store_id=store, conversation_id="conv_" + "0" * 32, upload_id="upload_0")
        for name, schema in document.body(path)["properties"].items():
            for value in document.wrong(schema):
                asked += 1
                reply = await fleet.post({**good, name: value}, path=real)
                param = reply.error["param"] if reply.status == 400 else None
                if (param or "").partition(".")[0] != name:
                    missing.append(f"{path} {name}={str(value)[:80]}: {reply.status} {reply.raw[:160]!r}")
    assert asked > 100 * len(GOOD)
    assert not missing, f"{len(missing)} of {asked}:\n" + "\n".join(missing[:60])
    assert not fleet.calls()
