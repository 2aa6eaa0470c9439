"""A real HAProxy with the configuration of compose.yaml, in front of two gateways that are made of a few lines.

Debian's HAProxy is of the same line, 2.6, as the image.
"""

import asyncio
import contextlib
import os
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from ragfleet.paths import PROJECT
from tests.support.debian_program import unpack

CONFIGURATION = PROJECT / "docker" / "haproxy" / "haproxy.cfg"
PACKAGES = ("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1", "libpcre2-8-0", "libssl3")
SECONDS = 15.0
HIDDEN = (
    "/",
    "/metrics",
    "/metrics/",
    "//metrics",
    "/./metrics",
    "/%6detrics",
    "/%6Detrics",
    "/metric%73?x=/v1/",
    "/fleet",
    "/%66leet",
    "/docs",
    "/docs/oauth2-redirect",
    "/%64ocs",
    "/openapi.json",
    "/openapi%2ejson",
    "/ui",
    "/ui/main.js",
    "/%75i",
    "/admin/fleet",
    "/health/ready",
    "/health%2Fready",
    "/v1/../metrics",
    "/v1/%2e%2e/metrics",
    "/v1/%2E./%6detrics",
    "/v1%2f..%2fmetrics",
    "/v1/./../fleet",
    "/%2576%31/../metrics",
    "/v1",
    "/V1/models",
)
OPEN = ("/v1/models", "/%76%31/models", "/v1/model%73?limit=1", "/health/live")


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


class Gateway:
    """Answers /health/ready as it is told, and streams one event each time `go` is set."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready = True
        self.go = asyncio.Semaphore(0)
        self.port = 0

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["Gateway"]:
        app = web.Application()
        app.router.add_get("/health/ready", self._ready)
        app.router.add_get("/metrics", self._who)
        app.router.add_post("/v1/chat/completions", self._stream)
        app.router.add_get("/v1/models", self._who)
        app.router.add_get("/health/live", self._who)
        for path in ("/fleet", "/docs", "/openapi.json", "/ui", "/ui/main.js", "/admin/fleet"):
            app.router.add_get(path, self._who)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _ready(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self.ready else 503)

    async def _who(self, _: web.Request) -> web.Response:
        return web.Response(text=self.name)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        for number in range(3):
            await self.go.acquire()
            await answer.write(f"data: {number}\n\n".encode())
        return answer


class Balancer:
    """HAProxy on free ports."""

    def __init__(self, program: Path, gateways: list[Gateway], ports: list[int]) -> None:
        self.api, self.operations, self.metrics, self.ui = (f"http://127.0.0.1:{port}" for port in ports)
        self.program = program
        self.environment = {
            **os.environ,
            "LD_LIBRARY_PATH": str(program.parent.parent / "lib" / "x86_64-linux-gnu"),
            "RAGFLEET_LB_DNS": "127.0.0.1:53",
            "RAGFLEET_LB_PORT": str(ports[0]),
            "RAGFLEET_LB_OPERATIONS_PORT": str(ports[1]),
            "RAGFLEET_LB_METRICS_PORT": str(ports[2]),
            "RAGFLEET_LB_UI_PORT": str(ports[3]),
            "RAGFLEET_LB_GATEWAY_1": f"127.0.0.1:{gateways[0].port}",
            "RAGFLEET_LB_GATEWAY_2": f"127.0.0.1:{gateways[1].port}",
        }


@pytest.fixture
async def gateways() -> AsyncIterator[list[Gateway]]:
    async with Gateway("one").serving() as one, Gateway("two").serving() as two:
        yield [one, two]


@pytest.fixture
async def balancer(gateways: list[Gateway]) -> AsyncIterator[Balancer]:
    program = unpack("haproxy", *PACKAGES) / "usr" / "sbin" / "haproxy"
    made = Balancer(program, gateways, free_ports(4))
    process = await asyncio.create_subprocess_exec(
        program, "-db", "-f", CONFIGURATION, env=made.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield made
    finally:
        process.kill()
        await process.wait()


async def eventually(url: str, wanted: set[tuple[int, str]]) -> None:
    """Until the last answers at `url` are these (status and text), all of them."""
    seen: list[tuple[int, str]] = []
    async with asyncio.timeout(SECONDS), aiohttp.ClientSession() as client:
        while set(seen[-6:]) != wanted or len(seen) < 6:
            with contextlib.suppress(aiohttp.ClientConnectionError):
                async with client.get(url) as answer:
                    seen.append((answer.status, await answer.text() if answer.status == 200 else ""))
            await asyncio.sleep(0.1)


def test_configuration_is_valid() -> None:
    program = unpack("haproxy", *PACKAGES) / "usr" / "sbin" / "haproxy"
    nobody = [Gateway("one"), Gateway("two")]
    nobody[0].port = nobody[1].port = 8000
    made = Balancer(program, nobody, [8000, 8080, 8405, 8081])
    said = subprocess.run(
        [program, "-c", "-f", CONFIGURATION], env=made.environment, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    complaints = [line for line in said.stderr.splitlines() if "WARNING" in line or "ALERT" in line]
    assert all("could not resolve address" in line for line in complaints), "the names are Compose's"


async def test_events_come_one_by_one(balancer: Balancer, gateways: list[Gateway]) -> None:
    await eventually(f"{balancer.api}/v1/models", {(200, "one"), (200, "two")})
    async with (
        asyncio.timeout(SECONDS),
        aiohttp.ClientSession() as client,
        client.post(f"{balancer.api}/v1/chat/completions", json={}) as answer,
    ):
        for number in range(3):
            # The next event is not written before this one has come through.
            for gateway in gateways:
                gateway.go.release()
            assert await answer.content.readuntil(b"\n\n") == f"data: {number}\n\n".encode()


async def test_a_gateway_that_drains_gets_no_new_request(balancer: Balancer, gateways: list[Gateway]) -> None:
    await eventually(f"{balancer.api}/v1/models", {(200, "one"), (200, "two")})
    gateways[0].ready = False
    await eventually(f"{balancer.api}/v1/models", {(200, "two")})
    gateways[0].ready = True
    await eventually(f"{balancer.api}/v1/models", {(200, "one"), (200, "two")})
    gateways[0].ready = gateways[1].ready = False
    await eventually(f"{balancer.api}/v1/models", {(503, "")})


async def test_what_is_for_operators_stays_inside(balancer: Balancer) -> None:
    await eventually(f"{balancer.api}/v1/models", {(200, "one"), (200, "two")})
    async with asyncio.timeout(SECONDS), aiohttp.ClientSession() as client:
        for path in HIDDEN:
            async with client.get(URL(balancer.api + path, encoded=True)) as answer:
                assert answer.status == 404, path
        for path in OPEN:
            async with client.get(URL(balancer.api + path, encoded=True)) as answer:
                assert answer.status == 200, path
        async with client.get(f"{balancer.operations}/metrics") as answer:
            assert answer.status == 200
        for path in ("/ui", "/ui/main.js", "/admin/fleet", "/v1/models"):
            async with client.get(balancer.ui + path) as answer:
                assert answer.status == 200, path
        for path in ("/", "/uix", "/metrics", "/fleet", "/docs", "/ui/../metrics", "/ui/%2e%2e/metrics"):
            async with client.get(URL(balancer.ui + path, encoded=True)) as answer:
                assert answer.status == 404, path
        async with client.get(f"{balancer.metrics}/metrics") as answer:
            assert "haproxy_server_status" in await answer.text()
