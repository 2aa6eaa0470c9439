"""Clients that do not speak HTTP as they should: too large, too slow, too many. It takes no key, and must stop nobody else."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from yarl import URL

from gateway.api import http_protocol
from gateway.triton.fake_answers import Script
from tests.support.running import MODEL, Fleet

Start = Callable[..., Any]
LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"


@asynccontextmanager
async def connected(fleet: Fleet) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    url = URL(fleet.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the server closes; a reset is a close, too."""
    try:
        async with asyncio.timeout(60):
            return await reader.read()
    except ConnectionError:
        return b""


async def sent(fleet: Fleet, data: bytes) -> bytes:
    """What the server answers before it closes the connection."""
    async with connected(fleet) as (reader, writer):
        answer = asyncio.ensure_future(rest(reader))
        try:
            for at in range(0, len(data), 1 << 16):
                writer.write(data[at : at + (1 << 16)])
                await writer.drain()
        except ConnectionError:
            pass
        return await answer


def error(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"]


async def counted(fleet: Fleet, count: int) -> None:
    """Wait until so many connections are open."""
    async with asyncio.timeout(60):
        while len(fleet.connections) != count:
            await asyncio.sleep(0)


async def lives(fleet: Fleet) -> bool:
    return (await fleet.get("/health/live")).status == 200


@pytest.fixture
async def quick(start: Start, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """Deadlines that a test can wait for."""
    monkeypatch.setattr(http_protocol, "SWEEP_S", 0.02)
    monkeypatch.setattr(http_protocol, "LINGER_S", 0.1)
    fleet: Fleet = await start(
        header_deadline_s=0.2, keep_alive_s=1, body_grace_s=0.2, body_min_bytes_s=100_000, max_body_bytes=1_000_000
    )
    return fleet


@pytest.mark.parametrize(
    "head",
    [
        LIVE + b"X-Large: " + b"a" * 40_000 + b"\r\n\r\n",
        LIVE + b"X-Endless: " + b"a" * 4_000_000,
        LIVE + b"N" * 4_000_000,
        LIVE + b"".join(b"X-%d: a\r\n" % number for number in range(110)) + b"\r\n",
        LIVE + b"".join(b"X-%d: %b\r\n" % (number, b"a" * 900) for number in range(90)) + b"\r\n",
        b"GET /" + b"a" * 4_000_000,
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        LIVE + b"X-Folded: a\r\n" + b" a\r\n" * 20_000,
    ],
    ids=["field", "endless field", "endless name", "fields", "many bytes", "endless path", "path", "folded"],
)
async def test_a_large_head_is_refused(fleet: Fleet, head: bytes) -> None:
    answer = await sent(fleet, head)
    if answer:  # a reset may overtake it, where the client goes on to send
        assert error(answer) in ((431, "headers_too_large"), (400, "invalid_http"))
    assert await lives(fleet)


async def test_a_head_that_fills_the_bounds_is_read(fleet: Fleet) -> None:
    fields = {f"X-{number}": "a" * 330 for number in range(90)}
    reply = await fleet.get("/health/live", headers=fields)
    assert reply.status == 200


@pytest.mark.parametrize(
    "data",
    [b"", b"GET", LIVE, LIVE + b"X-Name: val", b"\r\n"],
    ids=["nothing", "method", "head", "field", "empty line"],
)
async def test_a_client_that_never_ends_its_head_is_cut_off(quick: Fleet, data: bytes) -> None:
    answer = await sent(quick, data)
    assert answer == b"" or error(answer) == (408, "request_timeout")
    assert not len(quick.connections)


async def test_a_client_that_trickles_its_head_is_cut_off(quick: Fleet) -> None:
    async with connected(quick) as (reader, writer):
        answer = asyncio.ensure_future(rest(reader))
        writer.write(LIVE)
        while not answer.done():
            writer.write(b"X")
            await asyncio.wait((answer,), timeout=0.05)
    assert not await answer or error(await answer)[0] == 408


async def test_a_connection_that_goes_quiet_after_an_answer_is_closed(quick: Fleet) -> None:
    assert (await sent(quick, LIVE + b"\r\n")).startswith(b"HTTP/1.1 200")
    assert not len(quick.connections)


async def test_a_kept_connection_outlives_the_deadline_for_heads(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends its next request while we close loses it."""
    monkeypatch.setattr(http_protocol, "SWEEP_S", 0.02)
    fleet: Fleet = await start(header_deadline_s=0.1, keep_alive_s=100)
    async with connected(fleet) as (reader, writer):
        writer.write(LIVE + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        (connection,) = fleet.connections._open
        connection.check(asyncio.get_running_loop().time() + 60)
        writer.write(LIVE + b"\r\n")
        assert b"HTTP/1.1 200" in await reader.readuntil(b"\r\n\r\n")


async def test_the_deadline_holds_for_a_later_head_too(quick: Fleet) -> None:
    async with connected(quick) as (reader, writer):
        writer.write(LIVE + b"\r\n")
        await reader.readuntil(b'{"status":"live"}')
        writer.write(LIVE)
        assert error(await rest(reader)) == (408, "request_timeout")
    assert not len(quick.connections)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings", "/v1/files"])
async def test_a_body_that_never_comes_is_cut_off(quick: Fleet, path: str) -> None:
    kind = "multipart/form-data; boundary=x" if path == "/v1/files" else "application/json"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: 900000\r\n"
    for expect in ("", "Expect: 100-continue\r\n"):
        answer = await sent(quick, f"{head}{expect}\r\n".encode())
        assert error(answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")) == (408, "request_timeout")
    assert not len(quick.connections)


async def test_who_goes_on_to_send_what_was_refused_is_cut_off(quick: Fleet) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000\r\n\r\n"
    answer = await sent(quick, head + b"a" * 20_000_000)
    assert not answer or error(answer) == (413, "payload_too_large")
    assert (await sent(quick, head)).startswith(b"HTTP/1.1 413")
    assert not len(quick.connections)


async def test_an_endless_trailer_is_refused(quick: Fleet) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await sent(quick, head + b"1\r\n{\r\n0\r\nX-Trailer: " + b"a" * 4_000_000)
    assert not answer or error(answer) == (431, "headers_too_large")
    many = b"".join(b"X-%d: a\r\n" % number for number in range(1000))
    answer = await sent(quick, head + b"1\r\n{\r\n0\r\n" + many + b"\r\n")
    assert error(answer)[0] in (400, 431)


async def test_a_trailer_is_no_header(start: Start) -> None:
    """Else it could bring a key, or a request id, behind the checks."""
    fleet = await start(api_key="secret")
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await sent(fleet, head + b"2\r\n{}\r\n0\r\nAuthorization: Bearer secret\r\n\r\n")
    assert error(answer)[0] == 401


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_of_http_1_0_gets_no_chunks(fleet: Fleet, stream: bool) -> None:
    """Which it would take for a part of the answer."""
    message = {"role": "user", "content": "How far is it?"}
    body = json.dumps({"model": MODEL, "messages": [message], "max_tokens": 3, "stream": stream}).encode()
    head = b"POST /v1/chat/completions HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    head, _, answer = (await sent(fleet, head % len(body) + body)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    if stream:
        events = answer.split(b"\n\n")
        assert events[-2:] == [b"data: [DONE]", b""]
        assert all(json.loads(event.removeprefix(b"data: ")) for event in events[:-2])
    else:
        assert json.loads(answer)["choices"]


async def test_pipelined_requests_are_answered_in_turn(fleet: Fleet) -> None:
    answer = await sent(fleet, (LIVE + b"\r\n") * 4 + LIVE + b"Connection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200") == 5


async def test_too_many_pipelined_requests_end_the_connection(fleet: Fleet) -> None:
    await sent(fleet, (LIVE + b"\r\n") * 100_000)
    await counted(fleet, 0)
    assert await lives(fleet)


async def test_who_pipelines_and_leaves_stops_the_first_request_too(fleet: Fleet) -> None:
    body = json.dumps({"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}).encode()
    ask = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    for triton in fleet.tritons:
        triton.always["llm"] = Script(stall_after=0)
    async with connected(fleet) as (_, writer):
        writer.write(ask * 2)
        await fleet.until(lambda: len(fleet.calls()) == 1)
    await fleet.until(lambda: [call.end for call in fleet.calls()] == ["gone"])


async def test_a_client_is_missed_that_leaves_behind_a_large_body(fleet: Fleet) -> None:
    """While a body fills the buffer nothing is read of the connection, its end neither."""
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}).encode() + b" " * 300_000
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    for triton in fleet.tritons:
        triton.always["llm"] = Script(stall_after=0)
    async with connected(fleet) as (_, writer):
        writer.write(head + body)
        await fleet.until(lambda: len(fleet.calls()) == 1)
    await fleet.until(lambda: [call.end for call in fleet.calls()] == ["gone"])


@pytest.mark.parametrize("cap", ["max_connections", "max_connections_per_address"])
async def test_connections_over_the_bound_are_told_so(start: Start, cap: str) -> None:
    fleet = await start(**{"max_connections_per_address": 9, cap: 3})
    async with connected(fleet), connected(fleet), connected(fleet):
        await counted(fleet, 3)
        answer = await sent(fleet, b"")
        assert error(answer) == (503, "overloaded")
    await counted(fleet, 0)
    assert await lives(fleet)


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"SSH-2.0-x\r\n", b"\0" * 99]
)
async def test_what_is_no_http_is_refused(fleet: Fleet, data: bytes) -> None:
    assert error(await sent(fleet, data)) == (400, "invalid_http")


CLOSE = b"Connection: close\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health/live HTTP/1.1\r\n" + CLOSE,
        LIVE + b"Host: y\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: a b\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: a/b\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: a:b\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: user@a\r\n",
        b"GET /health/live HTTP/0.9\r\nHost: x\r\n",
        b"GET /health/live HTTP/2.0\r\nHost: x\r\n",
        b"GET /health/live HTTP/1.2\r\nHost: x\r\n",
        LIVE + b"Transfer-Encoding: gzip, chunked\r\n",
        LIVE + b"Transfer-Encoding: gzip\r\n" + CHUNKED,
        LIVE + b"Transfer-Encoding: chunked, chunked\r\n",
        LIVE + CHUNKED + CHUNKED,
        LIVE + CHUNKED + b"Content-Length: 5\r\n",
        LIVE.replace(b"1.1", b"1.0") + CHUNKED,
        LIVE + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n",
        LIVE + b"api-key: a\r\nAPI-Key: a\r\n",
        LIVE + b"Idempotency-Key: a\r\nIdempotency-Key: b\r\n",
        LIVE + b"X-A: b\r\n folded\r\n",
        LIVE + b"X-A : b\r\n",
        LIVE + b"X-A: b\nX-B: c\r\n",
        LIVE + b"Content-Length: 0\r\nContent-Length: 0\r\n",
        LIVE + b"Content-Length: +0\r\n",
    ],
)
async def test_a_head_that_two_servers_could_read_in_two_ways_is_refused(fleet: Fleet, head: bytes) -> None:
    answer = await sent(fleet, head + b"\r\n" + (b"0\r\n\r\n" if b"chunked" in head else b""))
    assert error(answer) == (400, "invalid_http")
    assert await lives(fleet)


@pytest.mark.parametrize(
    "host", [b"", b"x", b"a_b.example:8000", b"127.0.0.1:1", b"[::1]:8000", b"[fe80::1%25eth0]", b"x:"]
)
async def test_every_host_is_answered(fleet: Fleet, host: bytes) -> None:
    head = b"GET /health/live HTTP/1.1\r\nHost: " + host + b"\r\n" + CLOSE
    assert (await sent(fleet, head + b"\r\n")).startswith(b"HTTP/1.1 200")
    chunked = head + b"Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n"
    assert (await sent(fleet, chunked)).startswith(b"HTTP/1.1 200")
    assert (await sent(fleet, b"GET /health/live HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def test_an_upgrade_is_passed_over(fleet: Fleet) -> None:
    wish = b"Connection: upgrade, close\r\nUpgrade: %b\r\n\r\n"
    for kind in (b"websocket", b"h2c"):
        assert (await sent(fleet, LIVE + wish % kind)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings", "/v1/vector_stores", "/v1/files"])
async def test_a_compressed_body_is_refused(fleet: Fleet, path: str) -> None:
    reply = await fleet.post(b"\x1f\x8b", path=path, headers={"Content-Encoding": "gzip"})
    assert (reply.status, reply.error["code"]) == (415, "unsupported_content_encoding")


async def test_bodies_are_bounded_together_and_a_tenant_has_its_share(start: Start, tmp_path: Any) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text("tenants: [{name: red, keys: [r]}, {name: blue, keys: [b]}]")
    fleet: Fleet = await start(tenants_file=file, max_body_bytes=200_000, max_held_bytes=600_000, max_context=1_000_000)
    for triton in fleet.tritons:
        triton.always["prompt"] = Script(stall_after=0)

    async def large(key: str) -> Any:
        headers = {"Authorization": f"Bearer {key}"}
        return await fleet.chat("a" * 190_000, headers=headers)

    held = [asyncio.ensure_future(large("r")) for _ in range(2)]
    await fleet.until(lambda: len(fleet.calls("prompt")) == 2)
    refused = await large("r")
    assert (refused.status, refused.error["code"]) == (429, "overloaded")
    assert "Retry-After" in refused.headers
    held.append(asyncio.ensure_future(large("b")))
    await fleet.until(lambda: len(fleet.calls("prompt")) == 3)
    for each in held:
        each.cancel()
    await asyncio.gather(*held, return_exceptions=True)
    await fleet.until(lambda: all(call.end for call in fleet.calls("prompt")))
