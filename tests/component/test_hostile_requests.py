"""Bodies and headers that no client library sends, to every path of the OpenAPI document: each has an answer, and none a 500."""

import asyncio
import json
import re
from typing import Any

import pytest

from gateway.api import authentication
from tests.support.running import MODEL, Fleet

pytestmark = pytest.mark.timeout(300)
CHAT = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1})[1:-1].encode()
VALUES = (
    b"1e400",
    b"-1e400",
    b"1" * 5000,
    b"0." + b"3" * 5000,
    b"NaN",
    b"Infinity",
    b"[" * 5000 + b"]" * 5000,
    b'"\\ud800"',
    b'"\\u0000"',
    b'"\x00"',
    b'"\xff\xfe"',
    b"-9223372036854775809",
)
BODIES = (
    b"",
    b"null",
    b" " * 100_000,
    b"{}{}",
    b"\xef\xbb\xbf{}",
    '{"model":"x"}'.encode("utf-16"),
    b'{"\\ud800":1}',
    b"{" + CHAT + b',"model":1,"model":"tiny"}',
)
HEADERS = (
    (b"Last-Event-ID", b"9" * 5000),
    (b"Last-Event-ID", b"\xff"),
    (b"Idempotency-Key", b"x" * 30_000),
    (b"Idempotency-Key", b"\xff\xfe"),
    (b"Content-Type", b"multipart/form-data; boundary=" + b"x" * 10_000),
    (b"Content-Type", b";;;===;"),
    (b"Range", b"bytes=0-99999999999999999999"),
    (b"traceparent", b"00-" + b"f" * 32 + b"-" + b"0" * 16 + b"-zz"),
    (b"X-Request-Id", b"\xff" * 100),
    (b"Authorization", b"Bearer \xff"),
    (b"Accept", b"application/openmetrics-text; version=x, text/plain; version=1.0.0; escaping=x"),
)


@pytest.fixture
async def fleet(start: Any, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    monkeypatch.setattr(authentication, "LONGEST_S", 0.0)  # a wrong key is sent to each path
    made: Fleet = await start(api_key="secret", admin_key="admins", max_body_bytes=200_000)
    return made


def _request(method: str, path: str, body: bytes, header: tuple[bytes, bytes] | None = None) -> bytes:
    key = b"admins" if path.startswith("/admin") else b"secret"
    fields = [(b"Host", b"x"), (b"Authorization", b"Bearer " + key), (b"Content-Type", b"application/json")]
    fields = [field for field in fields if header is None or field[0] != header[0]]
    fields += [(b"Content-Length", str(len(body)).encode()), (b"Connection", b"close"), *([header] if header else [])]
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (method.upper().encode(), path.encode(), lines, body)


async def _status(fleet: Fleet, data: bytes) -> int:
    host, port = fleet.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(60):
            writer.write(data)
            return int((await reader.read()).split(b" ", 2)[1])
    finally:
        writer.close()


async def _operations(fleet: Fleet) -> list[tuple[str, str, list[str]]]:
    """Method, path, and the names of what its body may have."""
    document = (await fleet.get("/openapi.json")).json
    found = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            schema = document["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], schema)
            found.append((method, re.sub(r"\{[^}]*\}", "x", path), list(schema.get("properties", {}))))
    return found


async def test_bodies(fleet: Fleet) -> None:
    for method, path, names in await _operations(fleet):
        if method not in ("post", "put", "patch"):
            continue
        named = [
            b"{%b:%b}" % (json.dumps(name).encode(), VALUES[(at + turn) % len(VALUES)])
            for at, name in enumerate(names)
            for turn in (0, 5)
        ]
        for body in (*BODIES, *named):
            assert await _status(fleet, _request(method, path, body)) < 500, (method, path, body[:80])
    message = b'{"model":"tiny","max_tokens":1,"temperature":%b,"messages":[{"role":"user","content":"Hi"}]}'
    for value in VALUES:
        expected = 200 if value.startswith(b"0.") else 400  # a number with many digits is one
        assert await _status(fleet, _request("post", "/v1/chat/completions", message % value)) == expected, value[:80]


async def test_headers(fleet: Fleet) -> None:
    for method, path, _ in await _operations(fleet):
        body = b"{" + CHAT + b',"stream":true}' if method in ("post", "put", "patch") else b""
        for header in HEADERS:
            assert await _status(fleet, _request(method, path, body, header)) < 500, (method, path, header)
