"""The gateway over TLS, and as a client of a fleet that speaks it, by an authority of its own."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from gateway.api import http_protocol
from gateway.environment import ConfigError
from gateway.fleet.discovery import ConsulDiscovery
from gateway.fleet.fleet_state import FleetState
from gateway.tls import client_context, server_context
from tests.support.running import MODEL, Fleet, settings_for
from tests.support.tls import Authority, terminated

Start = Callable[..., Any]
LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def fleet(start: Start, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    monkeypatch.setattr(http_protocol, "SWEEP_S", 0.02)
    certificate, key = authority.issue("gateway")
    running: Fleet = await start(
        tls_cert_file=certificate, tls_key_file=key, header_deadline_s=0.3, max_connections_per_address=8
    )
    return running


def port(fleet: Fleet) -> int:
    found = URL(fleet.url).port
    assert found is not None
    return found


async def closed(reader: asyncio.StreamReader) -> bytes:
    """What comes until the gateway closes."""
    with suppress(ConnectionError, ssl.SSLError):
        async with asyncio.timeout(60):
            return await reader.read()
    return b""


async def test_a_client_that_trusts_the_authority_is_answered(fleet: Fleet, authority: Authority) -> None:
    fleet.says("Thirty days.")
    assert fleet.url.startswith("https://")
    body = {"model": MODEL, "messages": [{"role": "user", "content": "x"}], "stream": True}
    connector = aiohttp.TCPConnector(ssl=authority.client())
    async with aiohttp.ClientSession(fleet.url, connector=connector) as http:
        for _ in range(3):  # the connection is kept
            async with http.post("/v1/chat/completions", json=body) as answer:
                text = await answer.text()
            assert text.endswith("data: [DONE]\n\n")
            assert '"content":"Th' in text


async def test_a_client_that_does_not_trust_it_asks_nothing(fleet: Fleet) -> None:
    async with aiohttp.ClientSession(fleet.url) as http:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await http.get("/health/live")
    async with asyncio.timeout(60):
        while len(fleet.connections):
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x16\x03\x01\x02\x00\x01", b"\x16\x03\x01\xff\xff" + b"\0" * 100, LIVE + b"\r\n"],
    ids=["silence", "half a hello", "a large record", "plain HTTP"],
)
async def test_a_handshake_that_never_ends_is_cut_off(fleet: Fleet, data: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port(fleet))
    writer.write(data)
    await closed(reader)
    writer.close()
    async with asyncio.timeout(60):
        while len(fleet.connections):
            await asyncio.sleep(0)


async def test_handshakes_count_as_connections_of_their_address(fleet: Fleet) -> None:
    made = [await asyncio.open_connection("127.0.0.1", port(fleet)) for _ in range(12)]
    async with asyncio.timeout(60):
        while len(fleet.connections) < 8:
            await asyncio.sleep(0)
    assert len(fleet.connections) == 8
    await asyncio.gather(*(closed(reader) for reader, _ in made))
    for _, writer in made:
        writer.close()


@pytest.mark.parametrize(
    ("sent", "status"), [(b"", b""), (LIVE + b"X-Slow: ", b"408"), (LIVE + b"X: " + b"a" * 40_000, b"431")]
)
async def test_heads_are_bounded_under_tls(fleet: Fleet, authority: Authority, sent: bytes, status: bytes) -> None:
    context = authority.client()
    reader, writer = await asyncio.open_connection("127.0.0.1", port(fleet), ssl=context, server_hostname="localhost")
    writer.write(sent)
    answer = await closed(reader)
    assert answer[9:12] == status
    writer.close()


async def test_what_comes_with_the_handshakes_last_bytes_is_not_lost(fleet: Fleet, authority: Authority) -> None:
    """A client may send its request in the same packet in which it finishes the handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = authority.client().wrap_bio(incoming, outgoing, server_hostname="localhost")
    reader, writer = await asyncio.open_connection("127.0.0.1", port(fleet))
    while True:
        try:
            session.do_handshake()
            break
        except ssl.SSLWantReadError:
            writer.write(outgoing.read())
            incoming.write(await reader.read(1 << 16))
    session.write(LIVE + b"Connection: close\r\n\r\n")
    writer.write(outgoing.read())
    async with asyncio.timeout(60):
        incoming.write(await reader.read(1 << 16))
        while not (answer := _decrypted(session)):
            incoming.write(await reader.read(1 << 16))
    assert answer.startswith(b"HTTP/1.1 200")
    writer.close()


def _decrypted(session: ssl.SSLObject) -> bytes:
    try:
        return session.read(1 << 16)
    except ssl.SSLWantReadError:
        return b""


async def test_instances_are_spoken_to_over_tls(start: Start, authority: Authority) -> None:
    fleet: Fleet = await start(triton_tls=True, ca_file=authority.ca_file)
    fleet.says("Thirty days.")
    async with AsyncExitStack() as stack:
        await _hidden(fleet, authority.server(), stack)
        reply = await fleet.chat()
        assert reply.status == 200
        assert reply.json["choices"][0]["message"]["content"] == "Thirty days."


async def test_an_instance_with_a_strangers_certificate_gets_nothing(
    start: Start, authority: Authority, tmp_path: Path
) -> None:
    fleet: Fleet = await start(triton_tls=True, ca_file=Authority(tmp_path / "other").ca_file, admission_deadline_s=1.0)
    async with AsyncExitStack() as stack:
        await _hidden(fleet, authority.server(), stack)
        reply = await fleet.chat()
        assert reply.status == 503
        assert not fleet.answers.calls


async def _hidden(fleet: Fleet, context: ssl.SSLContext, stack: AsyncExitStack) -> None:
    """From now on the instances are behind TLS."""
    members = []
    for triton in fleet.tritons:
        member = fleet.member(triton)
        port = await stack.enter_async_context(terminated(triton.port, context))
        members.append(replace(member, instance=replace(member.instance, http_port=port)))
    fleet.gateway.store.set_members(members)


@asynccontextmanager
async def consul(context: ssl.SSLContext, entries: Sequence[Any]) -> AsyncIterator[str]:
    """A Consul that says the same always."""

    async def health(request: web.Request) -> web.Response:
        return web.json_response(entries, headers={"X-Consul-Index": "7"})

    app = web.Application()
    app.router.add_get("/v1/health/service/{name}", health)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        assert site._server is not None
        yield f"https://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("known", [True, False])
async def test_consul_is_known_by_the_authority_and_sees_our_certificate(
    authority: Authority, tmp_path: Path, tokenizer_dir: Path, known: bool
) -> None:
    certificate, key = authority.issue("client")
    shown = {"client_cert_file": certificate, "client_key_file": key} if known else {}
    settings = settings_for(tmp_path, tokenizer_dir, ca_file=authority.ca_file, **shown)
    store = FleetState(lambda: 0.0)
    alive = asyncio.Event()
    store.subscribe(lambda view: alive.set() if view.source_alive else None)
    async with consul(authority.server(asks=True), []) as url:
        discovery = ConsulDiscovery(url, store=store, tls=client_context(settings))
        if known:
            following = asyncio.create_task(discovery.run())
            async with asyncio.timeout(60):
                await alive.wait()
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        else:
            connector = aiohttp.TCPConnector(ssl=client_context(settings))
            async with aiohttp.ClientSession(connector=connector) as http:
                with pytest.raises((aiohttp.ClientError, ssl.SSLError, OSError)):
                    await http.get(f"{url}/v1/health/service/x")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"tls_cert_file": "nowhere.pem"}, "RAGFLEET_TLS_CERT_FILE=.*nowhere.pem cannot be read: No such file"),
        ({"tls_cert_file": "gateway.pem"}, "are no certificate and its key"),
        ({"tls_cert_file": "gateway.pem", "tls_key_file": "other.key"}, "are no certificate and its key"),
        ({"tls_key_file": "gateway.key"}, "without RAGFLEET_TLS_CERT_FILE"),
        ({"ca_file": "gateway.key"}, "holds no certificate"),
        ({"ca_file": "nowhere.pem"}, "RAGFLEET_CA_FILE=.*cannot be read"),
        ({"client_key_file": "gateway.key"}, "without RAGFLEET_CLIENT_CERT_FILE"),
    ],
)
def test_files_that_do_not_do_are_told_in_a_sentence(
    authority: Authority, tmp_path: Path, tokenizer_dir: Path, given: dict[str, str], told: str
) -> None:
    authority.issue("gateway")
    authority.issue("other")
    settings = settings_for(tmp_path, tokenizer_dir, **{name: tmp_path / file for name, file in given.items()})
    context = client_context if "tls" not in min(given) else server_context
    with pytest.raises(ConfigError, match=told):
        context(settings)
