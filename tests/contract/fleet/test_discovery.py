"""ConsulDiscovery against a real Consul: what a gateway must see, and how soon."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from gateway.fleet.discovery import ConsulDiscovery
from gateway.fleet.fleet_state import FleetState
from gateway.fleet.view import FleetView
from tests.contract.fleet.consul_agent import ConsulAgent
from tests.contract.fleet.http_server import FakeHttpServer
from tests.support.fleet_views import view_where

SOON = 5.0


@asynccontextmanager
async def following(consul: ConsulAgent, **overrides: float) -> AsyncIterator[FleetState]:
    store = FleetState()
    discovery = ConsulDiscovery(consul.url, store=store, **{"wait_s": 2.0, "margin_s": 1.0, **overrides})  # type: ignore[arg-type]
    task = asyncio.create_task(discovery.run())
    try:
        await view_where(store, lambda v: v.source_alive, SOON)
        yield store
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def serving(view: FleetView) -> set[str]:
    return {m.instance.name for m in view.serving}


@pytest.fixture
def registered(consul: ConsulAgent, servers: list[FakeHttpServer]) -> Iterator[list[FakeHttpServer]]:
    """triton-0 and triton-1 at the first two servers."""
    for n in (0, 1):
        consul.register(f"triton-{n}", servers[n].port)
    yield servers
    for name in ("triton-0", "triton-1", "triton-2"):
        consul.deregister(name)


async def test_instances_come_with_their_meta_once_both_checks_pass(
    consul: ConsulAgent, registered: list[FakeHttpServer]
) -> None:
    async with following(consul) as store:
        view = await view_where(store, lambda v: serving(v) == {"triton-0", "triton-1"}, SOON)
        instance = view.members["triton-0"].instance
        assert (instance.address, instance.http_port) == ("127.0.0.1", registered[0].port)
        assert (instance.grpc_port, instance.metrics_port) == (registered[0].port + 1, registered[0].port)
        assert (instance.model, instance.slots) == ("m", 4)


async def test_a_new_one_and_a_leaving_one_are_seen_at_once(
    consul: ConsulAgent, registered: list[FakeHttpServer]
) -> None:
    async with following(consul) as store:
        await view_where(store, lambda v: len(serving(v)) == 2, SOON)
        consul.register("triton-2", registered[2].port)
        await view_where(store, lambda v: "triton-2" in serving(v), SOON)
        consul.deregister("triton-2")
        await view_where(store, lambda v: "triton-2" not in v.members, SOON)


async def test_a_failing_one_stays_visible_with_its_reason_and_rejoins(
    consul: ConsulAgent, registered: list[FakeHttpServer]
) -> None:
    async with following(consul) as store:
        await view_where(store, lambda v: len(serving(v)) == 2, SOON)
        registered[0].status = 503
        view = await view_where(store, lambda v: serving(v) == {"triton-1"}, SOON)
        member = view.members["triton-0"]
        assert (member.healthy, member.draining) == (False, False)
        assert member.reason.startswith("ready is critical:")
        assert "503" in member.reason
        registered[0].status = 200
        await view_where(store, lambda v: serving(v) == {"triton-0", "triton-1"}, SOON)


async def test_a_hung_one_is_isolated_by_the_checks_time(consul: ConsulAgent, registered: list[FakeHttpServer]) -> None:
    async with following(consul) as store:
        await view_where(store, lambda v: len(serving(v)) == 2, SOON)
        registered[0].hang = True
        await view_where(store, lambda v: serving(v) == {"triton-1"}, SOON)
        registered[0].hang = False
        await view_where(store, lambda v: len(serving(v)) == 2, SOON)


async def test_a_worker_that_stops_beating_takes_its_instance_out(
    consul: ConsulAgent, registered: list[FakeHttpServer]
) -> None:
    async with following(consul) as store:
        consul.register("triton-2", registered[2].port, ttl="1s")
        await view_where(store, lambda v: "triton-2" in serving(v), SOON)
        view = await view_where(store, lambda v: "triton-2" not in serving(v), SOON)
        assert view.members["triton-2"].reason.startswith("worker is critical: TTL expired")
        consul.beat("triton-2", "queue 0")
        await view_where(store, lambda v: "triton-2" in serving(v), SOON)


async def test_maintenance_is_told_apart_from_failure(consul: ConsulAgent, registered: list[FakeHttpServer]) -> None:
    async with following(consul) as store:
        await view_where(store, lambda v: len(serving(v)) == 2, SOON)
        consul.maintain("triton-0", "rolling+restart")
        view = await view_where(store, lambda v: serving(v) == {"triton-1"}, SOON)
        assert view.members["triton-0"].draining
        assert view.members["triton-0"].reason == "draining: rolling restart"
        consul.resume_service("triton-0")
        view = await view_where(store, lambda v: serving(v) == {"triton-0", "triton-1"}, SOON)
        assert not view.members["triton-0"].draining


async def test_changing_notes_cause_no_churn(consul: ConsulAgent, registered: list[FakeHttpServer]) -> None:
    async with following(consul) as store:
        before = await view_where(store, lambda v: len(serving(v)) == 2, SOON)
        heard: list[FleetView] = []
        store.subscribe(heard.append)
        for n in range(20):
            consul.beat("triton-0", f"queue {n}")
            await asyncio.sleep(0.02)
        registered[1].status = 503  # news among the noise is not lost
        after = await view_where(store, lambda v: serving(v) == {"triton-0"}, SOON)
        assert after.version == before.version + 1
        assert len(heard) == 2


async def test_restart_on_the_same_data_never_empties_the_fleet(
    consul: ConsulAgent, registered: list[FakeHttpServer]
) -> None:
    async with following(consul) as store:
        await view_where(store, lambda v: len(serving(v)) == 2, SOON)
        seen: list[FleetView] = []
        store.subscribe(seen.append)
        consul.kill()
        view = await view_where(store, lambda v: not v.source_alive, SOON)
        assert serving(view) == {"triton-0", "triton-1"}
        await asyncio.to_thread(consul.start)
        await view_where(
            store, lambda v: v.source_alive and all(m.healthy and not m.reason for m in v.members.values()), 10
        )
        assert all(serving(v) == {"triton-0", "triton-1"} for v in seen)


async def test_restart_on_an_empty_disk_keeps_the_fleet_until_it_registers_again(
    consul: ConsulAgent, registered: list[FakeHttpServer]
) -> None:
    async with following(consul, hold_s=6.0) as store:
        await view_where(store, lambda v: len(serving(v)) == 2, SOON)
        for _ in range(30):  # push the index far beyond what a fresh Consul has
            consul.beat("triton-0", f"beat {_}")
        consul.kill()
        consul.wipe()
        await asyncio.to_thread(consul.start)
        view = await view_where(store, lambda v: v.source_alive and v.members["triton-0"].reason != "", 10)
        assert serving(view) == {"triton-0", "triton-1"}
        assert view.members["triton-0"].reason == "believed since Consul was away; now: not registered"

        consul.register("triton-0", registered[0].port)
        view = await view_where(store, lambda v: v.members["triton-0"].reason == "", SOON)
        assert serving(view) == {"triton-0", "triton-1"}
        view = await view_where(store, lambda v: "triton-1" not in v.members, 10)  # it never came back
        assert serving(view) == {"triton-0"}

        consul.register("triton-1", registered[1].port)  # and news still flow after the reset
        await view_where(store, lambda v: serving(v) == {"triton-0", "triton-1"}, SOON)


async def test_who_died_with_consul_is_not_believed_for_long(
    consul: ConsulAgent, registered: list[FakeHttpServer]
) -> None:
    async with following(consul, hold_s=60.0) as store:
        await view_where(store, lambda v: len(serving(v)) == 2, SOON)
        consul.kill()
        registered[0].status = 503
        await asyncio.to_thread(consul.start)
        view = await view_where(store, lambda v: v.source_alive and serving(v) == {"triton-1"}, 10)
        assert "503" in view.members["triton-0"].reason


async def test_a_paused_consul_is_noticed_and_forgiven(consul: ConsulAgent, registered: list[FakeHttpServer]) -> None:
    async with following(consul, wait_s=0.5, margin_s=0.5) as store:
        await view_where(store, lambda v: len(serving(v)) == 2, SOON)
        consul.pause()
        try:
            view = await view_where(store, lambda v: not v.source_alive, SOON)
            assert serving(view) == {"triton-0", "triton-1"}
        finally:
            consul.resume()
        await view_where(store, lambda v: v.source_alive and len(serving(v)) == 2, SOON)
