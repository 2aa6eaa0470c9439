"""The plain fetch, and the scraper with it, over real sockets."""

import asyncio
import time

import pytest

from gateway.fleet.outlier_detection import OutlierDetector, OutlierState
from gateway.fleet.scraper import MetricsScraper, fetch_plain
from gateway.fleet.store import FleetStore
from gateway.fleet.view import FleetMember, Instance
from tests.contract.fleet.door import Door
from tests.support import ports

ACTIVE = b'nv_trt_llm_request_metrics{model="llm",request_type="active",version="1"} 3\n'


async def test_a_body_comes_back(doors: list[Door]) -> None:
    doors[0].body = ACTIVE * 5000
    assert await fetch_plain("127.0.0.1", doors[0].port, "/metrics", 5) == ACTIVE * 5000
    assert doors[0].asked == ["/metrics"]


async def test_another_status_is_an_error(doors: list[Door]) -> None:
    doors[0].status = 503
    with pytest.raises(OSError, match="answered 503"):
        await fetch_plain("127.0.0.1", doors[0].port, "/metrics", 5)


async def test_nobody_there_is_an_error() -> None:
    with pytest.raises(OSError):
        await fetch_plain("127.0.0.1", ports.NOBODY, "/metrics", 5)


async def test_a_hung_server_is_a_timeout(doors: list[Door]) -> None:
    doors[0].hang = True
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        await fetch_plain("127.0.0.1", doors[0].port, "/metrics", 0.1)
    assert time.monotonic() - started < 1
    doors[0].hang = False


async def test_a_hung_instance_loses_trust_within_its_time_and_comes_back(doors: list[Door]) -> None:
    """Three unanswered scrapes of 0.2 s: out in less than a second, without one request lost on it."""
    store, trust = FleetStore(), OutlierDetector()
    store.set_members(
        [FleetMember(Instance(f"t-{n}", "127.0.0.1", 1, 2, door.port, "m")) for n, door in enumerate(doors)]
    )
    store.subscribe(trust.follow)
    for door in doors:
        door.body = ACTIVE
    scraper = MetricsScraper(store, fetch_plain, period_s=0.1, deadline_s=0.2, heard=trust.heard)
    task = asyncio.create_task(scraper.run())
    try:
        await store.wait_for(lambda v: all(m.load and m.load.active == 3 for m in v.members.values()), 5)
        doors[0].hang = True
        started = time.monotonic()
        async with asyncio.timeout(5):
            while trust.admits("t-0"):
                await asyncio.sleep(0.01)
        assert time.monotonic() - started < 1.5
        assert trust.admits("t-1")
        assert trust.admits("t-2")
        doors[0].hang = False
        async with asyncio.timeout(5):
            while not trust.admits("t-0"):
                await asyncio.sleep(0.01)
        assert trust.standing("t-0").state is OutlierState.PROBING
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
