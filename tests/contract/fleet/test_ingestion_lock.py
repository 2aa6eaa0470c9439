"""The ingestion's lock on a Consul that is only a socket: one holds it, and without Consul nobody stands still."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from gateway.ingestion.lock import KEY, ConsulLock


class Consul:
    """Sessions and one key, as Consul keeps them."""

    def __init__(self) -> None:
        self.sessions: dict[str, dict[str, str]] = {}
        self.holder = ""
        self.url = ""
        self.away = False

    async def answer(self, request: web.Request) -> web.Response:
        if self.away:
            return web.Response(status=500, text="No cluster leader")
        path = request.path.removeprefix("/v1/")
        if path == "session/create":
            name = f"s{len(self.sessions)}"
            self.sessions[name] = json.loads(await request.read())
            return web.json_response({"ID": name})
        verb, _, session = path.rpartition("/")
        if verb == "session/renew":
            return web.json_response([self.sessions[session]]) if session in self.sessions else web.Response(status=404)
        if verb == "session/destroy":
            self.expire(session)
            return web.json_response(True)
        assert path == f"kv/{KEY}"
        session = request.query["acquire"]
        if session not in self.sessions:
            return web.Response(status=500, text="invalid session")
        self.holder = self.holder or session
        return web.json_response(self.holder == session)

    def expire(self, session: str) -> None:
        self.sessions.pop(session, None)
        if self.holder == session:
            self.holder = ""


@pytest.fixture
async def consul() -> AsyncIterator[Consul]:
    made = Consul()
    app = web.Application()
    app.router.add_route("PUT", "/{path:.*}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def becomes(lock: ConsulLock, *, may_work: bool) -> None:
    async with asyncio.timeout(60):
        while lock.may_work is not may_work:
            await lock.changed.wait()
            lock.changed.clear()


async def test_one_of_two_holds_it_until_it_ends(consul: Consul) -> None:
    first, second = (ConsulLock(consul.url, name, ttl_s=0.1) for name in ("one", "two"))
    task = asyncio.create_task(first.run())
    await becomes(first, may_work=True)
    other = asyncio.create_task(second.run())
    while len(consul.sessions) < 2:
        await asyncio.sleep(0)
    assert not second.may_work
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not first.may_work
    await becomes(second, may_work=True)
    other.cancel()
    await asyncio.gather(other, return_exceptions=True)
    assert (consul.sessions, consul.holder) == ({}, "")


async def test_a_lost_session_is_made_anew(consul: Consul) -> None:
    lock = ConsulLock(consul.url, "one", ttl_s=0.1)
    task = asyncio.create_task(lock.run())
    await becomes(lock, may_work=True)
    consul.expire(consul.holder)
    async with asyncio.timeout(60):
        while not consul.holder:
            await asyncio.sleep(0)
    await becomes(lock, may_work=True)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_without_consul_the_leases_are_enough(consul: Consul) -> None:
    consul.away = True
    lock = ConsulLock(consul.url, "one", ttl_s=0.1)
    task = asyncio.create_task(lock.run())
    await becomes(lock, may_work=True)
    assert not lock.held
    consul.away = False
    async with asyncio.timeout(60):
        while not lock.held:
            await lock.changed.wait()
            lock.changed.clear()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
