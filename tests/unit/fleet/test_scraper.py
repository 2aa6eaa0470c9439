"""Loads in the store, each member in its own cadence; the fetch is a fake, the periods are tiny."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.fleet.fleet_state import FleetState
from gateway.fleet.scraper import MetricsScraper
from gateway.fleet.view import FleetMember, Instance
from tests.support.fleet_views import view_where


def member(name: str, metrics_port: int = 3) -> FleetMember:
    return FleetMember(Instance(name, name, 1, 2, metrics_port, "m"))


class Hosts:
    """What the hosts answer. A host's address is its name."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.broken: dict[str, Exception] = {}
        self.hung: set[str] = set()
        self.waiting = 1
        self.abandoned = 0

    async def fetch(self, address: str, port: int, path: str, deadline_s: float) -> bytes:
        assert path == "/metrics"
        assert deadline_s > 0
        self.asked[address] += 1
        if address in self.hung:
            try:
                await asyncio.Event().wait()
            finally:
                self.abandoned += 1
        if address in self.broken:
            raise self.broken[address]
        return b'nv_trt_llm_request_metrics{model="llm",request_type="waiting"} %d\n' % self.waiting


@asynccontextmanager
async def scraping(hosts: Hosts, *members: FleetMember, **overrides: object) -> AsyncIterator[FleetState]:
    store = FleetState()
    store.set_members(members)
    tuned = {"period_s": 0.002, "deadline_s": 0.05, "slowest_s": 0.004, "rng": random.Random(1), **overrides}
    task = asyncio.create_task(MetricsScraper(store, hosts.fetch, **tuned).run())  # type: ignore[arg-type]
    try:
        yield store
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("scrape")]


async def test_every_member_is_read_again_and_again() -> None:
    hosts = Hosts()
    async with scraping(hosts, member("a"), member("b")) as store:
        await view_where(store, lambda v: all(m.load and m.load.waiting == 1 for m in v.members.values()), 5)
        hosts.waiting = 7
        await view_where(store, lambda v: all(m.load and m.load.waiting == 7 for m in v.members.values()), 5)


async def test_members_come_and_go() -> None:
    hosts = Hosts()
    async with scraping(hosts) as store:
        store.set_members([member("a")])
        await view_where(store, lambda v: v.members["a"].load is not None, 5)
        hosts.hung.add("b")
        store.set_members([member("b")])
        hosts.waiting = 2
        store.set_members([member("c")])
        await view_where(store, lambda v: v.members["c"].load is not None, 5)
        asked = hosts.asked["a"]
        hosts.waiting = 3
        await view_where(store, lambda v: v.members["c"].load.waiting == 3, 5)  # type: ignore[union-attr]
        assert hosts.asked["a"] <= asked


async def test_one_that_moved_is_read_at_its_new_port() -> None:
    ports = []

    async def fetch(address: str, port: int, path: str, deadline_s: float) -> bytes:
        ports.append(port)
        return b""

    store = FleetState()
    store.set_members([member("a", 3)])
    task = asyncio.create_task(MetricsScraper(store, fetch, period_s=0.002).run())
    await view_where(store, lambda v: v.members["a"].load is not None, 5)
    store.set_members([member("a", 4)])
    assert store.view.members["a"].load is None
    await view_where(store, lambda v: v.members["a"].load is not None, 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert ports[-1] == 4


async def test_a_hung_host_delays_nobody() -> None:
    hosts = Hosts()
    hosts.hung.add("dead")
    async with scraping(hosts, member("dead"), member("a"), deadline_s=60.0) as store:
        for waiting in range(10):
            hosts.waiting = waiting
            await view_where(
                store, lambda v, n=waiting: (v.members["a"].load or n) and v.members["a"].load.waiting == n, 5
            )  # type: ignore[misc]
        assert hosts.asked["dead"] == 1
        assert store.view.members["dead"].load is None
    assert hosts.abandoned == 1


@pytest.mark.parametrize("fault", [OSError("refused"), RuntimeError("odd"), ValueError()])
async def test_the_last_load_stands_in_for_a_while_then_there_is_none(fault: Exception) -> None:
    hosts = Hosts()
    heard: list[tuple[str, bool]] = []
    async with scraping(
        hosts, member("a"), stale_after_s=0.05, on_scrape=lambda name, answered: heard.append((name, answered))
    ) as store:
        await view_where(store, lambda v: v.members["a"].load is not None, 5)
        hosts.broken["a"] = fault
        await view_where(store, lambda v: v.members["a"].load is None, 5)
        assert heard.count(("a", False)) > 1
        del hosts.broken["a"]
        await view_where(store, lambda v: v.members["a"].load is not None, 5)
    assert heard[0] == ("a", True)


async def test_a_hung_host_is_given_up_at_the_deadline_and_told_of() -> None:
    hosts = Hosts()
    silent = asyncio.Event()
    hosts.hung.add("a")
    async with scraping(hosts, member("a"), deadline_s=0.01, on_scrape=lambda name, answered: answered or silent.set()):
        async with asyncio.timeout(60):
            await silent.wait()
    assert hosts.abandoned >= 1


async def test_one_without_a_metrics_port_is_not_asked() -> None:
    hosts = Hosts()
    async with scraping(hosts, member("a", 0), member("b")) as store:
        await view_where(store, lambda v: v.members["b"].load is not None, 5)
    assert hosts.asked["a"] == 0


async def test_an_error_of_ours_ends_the_run() -> None:
    def heard(name: str, answered: bool) -> None:
        raise LookupError(name)

    store = FleetState()
    store.set_members([member("a")])
    with pytest.raises(LookupError):
        async with asyncio.timeout(60):
            await MetricsScraper(store, Hosts().fetch, period_s=0.002, on_scrape=heard).run()


async def test_idle_members_are_read_seldom_until_there_is_something_to_do() -> None:
    hosts, busy = Hosts(), asyncio.Event()
    hosts.waiting = 0
    async with scraping(hosts, member("a"), member("b"), idle=lambda: not busy.is_set(), idle_period_s=3600.0) as store:
        await view_where(store, lambda v: all(m.load is not None for m in v.members.values()), 5)
        asked = hosts.asked.total()
        hosts.waiting = 7  # somebody else's request, which we see with the next reading
        busy.set()
        await view_where(store, lambda v: all(m.load and m.load.waiting == 7 for m in v.members.values()), 5)
        assert asked == 2
        busy.clear()  # what runs at a member is reason enough
        hosts.waiting = 8
        await view_where(store, lambda v: all(m.load and m.load.waiting == 8 for m in v.members.values()), 5)
