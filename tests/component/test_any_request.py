"""Whatever a client sends, it gets an answer in OpenAI's shape: never a 500, never silence, and the next one is served.

The examples are the same in each run; RAGFLEET_TEST_EXAMPLES=600 looks further, and elsewhere each time.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

from gateway.tenants.tenant import Tenant
from tests.support.ingesting import ingestion
from tests.support.replies import Reply
from tests.support.running import EMBEDDING, MODEL, Fleet

EXAMPLES = int(os.environ.get("RAGFLEET_TEST_EXAMPLES", "0"))
PATIENCE_S = 60
pytestmark = pytest.mark.timeout(600)  # many requests
STATUSES = {200, 400, 401, 404, 405, 409, 413}


def fuzz(examples: int) -> Callable[..., Any]:
    """So many examples, over one running gateway."""
    return settings(
        max_examples=EXAMPLES or examples,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@dataclass(frozen=True)
class Ids:
    """What there is."""

    store: str
    file: str
    batch: str
    response: str
    item: str
    talk: str
    chat: str


@pytest.fixture
async def fleet(start: Any) -> Fleet:
    """Two instances; answers are short."""
    fleet: Fleet = await start(max_file_bytes=20_000, max_body_bytes=200_000, admission_deadline_s=10.0)
    words = fleet.table.encode("Thirty days [1].")
    fleet.follows(lambda ids: words[len(ids) % len(words)] if len(ids) % 7 else None)
    return fleet


@pytest.fixture
async def ids(fleet: Fleet) -> AsyncIterator[Ids]:
    """A store with a file that joined in a batch, and somebody who does the jobs and the removals."""
    await fleet.learn("handbook")
    store = fleet.stores["handbook"]
    file = await fleet.gateway.catalog.of(Tenant("default")).files.add(
        file_id="file-0", filename="a.md", purpose="assistants", size=4, sha256="0" * 64
    )
    await fleet.gateway.objects.put("files/file-0/content", b"text")
    batch = await fleet.post({"file_ids": [file.id]}, path=f"/v1/vector_stores/{store}/file_batches")
    response = (await fleet.post({"model": MODEL, "input": "How long?"}, path="/v1/responses")).json
    talk = (await fleet.post({}, path="/v1/conversations")).json
    async with ingestion(fleet.gateway):
        chat = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "store": True}
        made = (await fleet.post(chat, path="/v1/chat/completions")).json["id"]
        yield Ids(store, file.id, batch.json["id"], response["id"], response["output"][0]["id"], talk["id"], made)


async def _sent(
    fleet: Fleet, method: str, path: str, *, data: Any = None, headers: Mapping[str, str] | None = None
) -> Reply:
    """One request and what is true of every answer."""
    data = BytesIO(data) if isinstance(data, bytes) else data
    async with asyncio.timeout(PATIENCE_S):
        async with fleet.http.request(
            method, URL(fleet.url + path, encoded=True), data=data, headers=headers or {}
        ) as response:
            reply = Reply(response.status, response.headers, await response.read())
    assert reply.status in STATUSES, (reply.status, reply.raw[:500])
    if method == "HEAD":
        return reply
    assert reply.headers["x-request-id"]
    if reply.status != 200:
        assert reply.error["type"] == "invalid_request_error"
    elif reply.headers["content-type"].startswith("text/event-stream"):
        assert reply.raw.endswith((b"data: [DONE]\n\n", b"}\n\n"))
        assert b'"error":{"message"' not in reply.raw
    return reply


# JSON

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=40)
    | st.sampled_from(["", "\0", "\ud800", "x" * 600, "file-0", "auto", "rag", "rag:", "rag:\0", "é" * 300, "[1]"])
)
NAMES = st.text(max_size=12) | st.sampled_from(
    ["type", "key", "value", "filters", "file_ids", "static", "input", "stream", "n", "\0", "x" * 100]
)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=12
)
DEEP = st.integers(2, 3000).map(lambda depth: b"[" * depth + b"]" * depth)
FILTER = st.recursive(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["eq", "ne", "gt", "lte", "in", "nin"]), "key": NAMES, "value": ANYTHING}
    ),
    lambda inner: st.fixed_dictionaries({"type": st.sampled_from(["and", "or"]), "filters": st.lists(inner)}),
    max_leaves=20,
)

BODIES: dict[str, list[dict[str, Any]]] = {
    "/v1/vector_stores": [
        {
            "name": "handbook",
            "description": "d",
            "metadata": {"team": "sales"},
            "expires_after": {"anchor": "last_active_at", "days": 7},
            "file_ids": ["file-0"],
            "chunking_strategy": {
                "type": "static",
                "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 50},
            },
            "retrieval": {"score_threshold": 0.5},
        }
    ],
    "/v1/vector_stores/{store}": [{"name": "n", "metadata": None, "expires_after": None, "description": "d"}],
    "/v1/vector_stores/{store}/files": [
        {"file_id": "file-0", "attributes": {"year": 2024, "draft": False, "by": "Ada", "x": 0.5}}
    ],
    "/v1/vector_stores/{store}/files/{file}": [{"attributes": {"year": 2024}}],
    "/v1/vector_stores/{store}/file_batches": [
        {"file_ids": ["file-0"], "attributes": {"year": 2024}},
        {"files": [{"file_id": "file-0", "chunking_strategy": {"type": "auto"}}]},
    ],
    "/v1/vector_stores/{store}/file_batches/{batch}/cancel": [{}],
    "/v1/vector_stores/{store}/search": [
        {
            "query": ["How long?", "What?"],
            "filters": {"type": "and", "filters": [{"type": "eq", "key": "year", "value": 2024}]},
            "max_num_results": 5,
            "ranking_options": {
                "ranker": "auto",
                "score_threshold": 0.5,
                "hybrid_search": {"embedding_weight": 1, "text_weight": 1},
            },
            "rewrite_query": True,
        }
    ],
    "/v1/embeddings": [
        {"model": EMBEDDING, "input": ["a", "b"], "encoding_format": "base64"},
        {"model": EMBEDDING, "input": [[101, 7592], [1]]},
    ],
    "/v1/completions": [
        {"model": MODEL, "prompt": "Once", "max_tokens": 4, "stream": True, "stream_options": {"include_usage": True}},
        {"model": MODEL, "prompt": [[5, 6], [7]], "max_tokens": 4, "stop": ["x"], "seed": 1, "temperature": 0.5},
    ],
    "/v1/responses": [
        {
            "model": MODEL,
            "input": [{"role": "user", "content": [{"type": "input_text", "text": "How long?"}]}],
            "tools": [{"type": "file_search", "vector_store_ids": ["handbook"], "max_num_results": 3}],
            "include": ["file_search_call.results"],
            "stream": True,
            "max_output_tokens": 8,
        },
        {"model": "rag:handbook", "input": "How long?", "instructions": "Be brief.", "metadata": {"a": "b"}},
        {
            "model": MODEL,
            "input": [{"type": "item_reference", "id": "{item}"}, {"role": "user", "content": "Why?"}],
            "previous_response_id": "{response}",
            "store": True,
            "truncation": "auto",
        },
        {"model": MODEL, "input": "How long?", "conversation": {"id": "{talk}"}, "max_output_tokens": 4},
        {"model": MODEL, "input": "How long?", "background": True, "stream": True, "max_output_tokens": 4},
    ],
    "/v1/conversations": [{"items": [{"role": "user", "content": "Hi"}], "metadata": {"a": "b"}}],
    "/v1/conversations/{talk}": [{"metadata": {"a": "b"}}],
    "/v1/conversations/{talk}/items": [
        {"items": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]}
    ],
    "/v1/chat/completions/{chat}": [{"metadata": {"a": "b"}}],
    "/v1/responses/input_tokens": [{"model": MODEL, "input": "How long?", "previous_response_id": "{response}"}],
    "/v1/chat/completions": [
        {
            "model": MODEL,
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": [{"type": "text", "text": "How long?"}]},
            ],
            "tools": [
                {
                    "type": "file_search",
                    "vector_store_ids": ["handbook"],
                    "filters": {"type": "eq", "key": "a", "value": 1},
                }
            ],
            "max_tokens": 8,
            "stream": True,
            "stream_options": {"include_usage": True},
            "store": True,
            "metadata": {"a": "b"},
        }
    ],
}


def _places(node: Any) -> list[tuple[Any, Any]]:
    """Each place in a body: what holds it, and its key or index."""
    found: list[tuple[Any, Any]] = []
    for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else []:
        found += [(node, key), *_places(node[key])]
    return found


@st.composite
def bodies(draw: st.DrawFn, path: str) -> bytes:
    """A good body with some places changed, or something else altogether."""
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(st.binary(max_size=60) | DEEP | ANYTHING.map(_json))
    body = deepcopy(draw(st.sampled_from(BODIES[path])))
    for _ in range(draw(st.integers(0, 3))):
        places = _places(body)
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        match draw(st.integers(0, 4)):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[draw(NAMES)] = draw(ANYTHING)
            case 2 if key == "filters":
                holder[key] = draw(FILTER)
            case 3 if isinstance(holder[key], list) and len(holder[key]) < 10:
                holder[key] = holder[key] * draw(st.sampled_from([0, 2, 20, 2001]))
            case _:
                holder[key] = draw(ANYTHING)
    return _json(body)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=_escaped(value)).encode("utf-8", "surrogatepass")


def _escaped(value: Any) -> bool:
    """Whether what is not ASCII is written by escapes: both ways are good JSON."""
    return len(repr(value)) % 2 == 0


@pytest.mark.parametrize("path", BODIES)
@fuzz(40)
@given(data=st.data())
async def test_bodies(fleet: Fleet, ids: Ids, path: str, data: st.DataObject) -> None:
    body = data.draw(bodies(path))
    headers = data.draw(HEADERS)
    for name, value in vars(ids).items():
        body = body.replace(f"{{{name}}}".encode(), value.encode())
    await _sent(fleet, "POST", path.format(**vars(ids)), data=body, headers=headers)


# Headers, queries, paths

LATIN = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30).map(str.strip)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Idempotency-Key": LATIN | st.sampled_from(["k", "x" * 300]),
        "X-Request-Id": LATIN,
        "Content-Type": LATIN
        | st.sampled_from(["application/json", "text/plain; charset=utf-16", "multipart/form-data"]),
        "OpenAI-Beta": st.just("assistants=v2"),
        "Accept": LATIN,
    },
)
QUERY = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "after",
                "before",
                "limit",
                "order",
                "filter",
                "purpose",
                "model",
                "metadata",
                "metadata[a]",
                "metadata[",
                "x",
                "",
                "after%00",
            ]
        ),
        st.text(st.sampled_from("0123456789%abcdef-_&=+;٣ "), max_size=12)
        | st.sampled_from(["file-0", "vs_" + "0" * 24, "asc", "desc", "completed", "-1", "1", "100000", "%ff", "%00"]),
    ),
    max_size=4,
).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs))
SEGMENT = st.sampled_from(
    [
        "{store}",
        "{file}",
        "{batch}",
        "{response}",
        "{talk}",
        "{chat}",
        "{item}",
        "handbook",
        "file-0",
        "..",
        ".",
        "",
        "%00",
        "%ff",
        "%2e%2e",
        "a%2fb",
        "x" * 200,
        "é",
        "*",
    ]
) | st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="?#%"), min_size=1, max_size=20)
PATHS = st.one_of(
    st.sampled_from(
        [f"/v1/{name}" for name in ("files", "vector_stores", "models", "embeddings", "responses", "completions")]
    ),
    st.builds("/v1/files/{}".format, SEGMENT),
    st.builds("/v1/files/{}/content".format, SEGMENT),
    st.builds("/v1/models/{}".format, SEGMENT),
    st.just("/v1/chat/completions"),
    st.builds("/v1/chat/completions/{}".format, SEGMENT),
    st.builds("/v1/chat/completions/{}/messages".format, SEGMENT),
    st.builds("/v1/conversations/{}".format, SEGMENT),
    st.builds("/v1/conversations/{}/items".format, SEGMENT),
    st.builds("/v1/conversations/{}/items/{}".format, SEGMENT, SEGMENT),
    st.builds("/v1/responses/{}".format, SEGMENT),
    st.builds("/v1/responses/{}/{}".format, SEGMENT, st.sampled_from(["input_items", "cancel", "nothing"])),
    st.builds("/v1/vector_stores/{}".format, SEGMENT),
    st.builds("/v1/vector_stores/{}/{}".format, SEGMENT, st.sampled_from(["files", "file_batches", "search", "nothing"])),
    st.builds("/v1/vector_stores/{}/files/{}".format, SEGMENT, SEGMENT),
    st.builds("/v1/vector_stores/{}/files/{}/content".format, SEGMENT, SEGMENT),
    st.builds("/v1/vector_stores/{}/file_batches/{}/files".format, SEGMENT, SEGMENT),
    st.builds("/v1/vector_stores/{}/file_batches/{}/cancel".format, SEGMENT, SEGMENT),
    st.builds("/{}/{}".format, SEGMENT, SEGMENT),
)  # fmt: skip


@fuzz(200)
@given(
    method=st.sampled_from(["GET", "GET", "GET", "POST", "PUT", "PATCH", "HEAD", "OPTIONS"]),
    path=PATHS,
    query=QUERY,
    headers=HEADERS,
)
async def test_paths_and_queries(
    fleet: Fleet, ids: Ids, method: str, path: str, query: str, headers: dict[str, str]
) -> None:
    for name, value in vars(ids).items():
        path = path.replace(f"{{{name}}}", value)
    path = "".join(c if c.isascii() else "%C3%A9" for c in path)
    query = "".join(c if c.isascii() and c != " " else "%D9%A3" for c in query)
    await _sent(fleet, method, f"{path}?{query}" if query else path, headers=headers)


@fuzz(40)
@given(path=PATHS)
async def test_deletions(fleet: Fleet, ids: Ids, path: str) -> None:
    for name, value in (
        ("store", "vs_0"),
        ("file", "file-1"),
        ("batch", "vsfb_0"),
        ("response", "resp_0"),
        ("talk", "conv_0"),
        ("chat", "chatcmpl-0"),
    ):
        path = path.replace(f"{{{name}}}", value)
    await _sent(fleet, "DELETE", "".join(c if c.isascii() else "%C3%A9" for c in path))


# Forms

PART_HEADS = st.sampled_from(
    [
        'content-disposition: form-data; name="file"; filename="a.md"',
        'content-disposition: form-data; name="file"; filename=""',
        'content-disposition: form-data; name="file"; filename="../..\\\\x\x01"',
        "content-disposition: form-data; name=file; filename*=utf-8''%ff%e2%82%ac",
        "content-disposition: form-data; name=file; filename*=nothing''x",
        "content-disposition: form-data; name=file; filename*=x",
        'content-disposition: form-data; name="file"',
        'content-disposition: form-data; name="purpose"',
        'content-disposition: form-data; name="expires_after[anchor]"',
        'content-disposition: form-data; name="expires_after[seconds]"',
        'content-disposition: form-data; name="é"; filename="日本.txt"',
        'content-disposition: attachment; name="file"; filename="a"',
        "content-disposition: form-data",
        "content-disposition: form-data; name",
        "content-disposition",
        "x: " + "y" * 5000,
        "",
        'content-disposition: form-data; name="purpose"\r\ncontent-transfer-encoding: base64',
        "\r\n".join(f"h{n}: v" for n in range(12)),
        'content-disposition: form-data; name="' + "n" * 3000 + '"',
    ]
) | st.text(max_size=40)
VALUES = st.sampled_from([b"assistants", b"created_at", b"3600", b"x" * 30_000, b"\xff\x00", b""]) | st.binary(
    max_size=40
)
PARTS = st.lists(st.tuples(PART_HEADS, VALUES), max_size=6)


def _form(parts: list[tuple[str, bytes]], boundary: bytes, end: bytes) -> bytes:
    written = [
        b"--" + boundary + b"\r\n" + head.encode("utf-8", "surrogatepass") + b"\r\n\r\n" + value + b"\r\n"
        for head, value in parts
    ]
    return b"".join(written) + end.replace(b"B", boundary)


GOOD_PARTS = [
    ('content-disposition: form-data; name="purpose"', b"assistants"),
    ('content-disposition: form-data; name="file"; filename="a.md"', b"text"),
]


@fuzz(150)
@given(
    parts=PARTS | st.tuples(PARTS, PARTS).map(lambda some: [*some[0], *GOOD_PARTS, *some[1]]),
    kind=st.sampled_from(["multipart/form-data; boundary=b"] * 6)
    | st.sampled_from(
        [
            "multipart/form-data; boundary=",
            'multipart/form-data; boundary="b"; charset=x',
            "multipart/form-data; boundary=" + "b" * 300,
            "multipart/mixed; boundary=b",
            "application/json",
        ]
    )
    | LATIN,
    end=st.sampled_from([b"--B--\r\n"] * 4 + [b"", b"--B--", b"--B\r\n", b"--B--\r\nepilogue", b"\r\n"]),
    noise=st.just(b"") | st.binary(max_size=10),
    pieces=st.integers(1, 4),
    headers=HEADERS,
)
async def test_forms(
    fleet: Fleet,
    parts: list[tuple[str, bytes]],
    kind: str,
    end: bytes,
    noise: bytes,
    pieces: int,
    headers: dict[str, str],
) -> None:
    body = noise + _form(parts, b"b", end)
    step = max(1, len(body) // pieces)

    async def in_pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), step):
            yield body[at : at + step]

    try:
        await _sent(
            fleet,
            "POST",
            "/v1/files",
            data=in_pieces() if pieces > 1 else body,
            headers={**headers, "Content-Type": kind},
        )
    except aiohttp.ClientConnectionError:
        assert len(body) > 20_000, "the answer may come before a body that is too large is read"
