"""The scraper over real sockets."""

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest

from gateway.fleet.fleet_state import FleetState
from gateway.fleet.outlier_detection import OutlierDetector, OutlierState
from gateway.fleet.scraper import MetricsScraper
from gateway.fleet.view import FleetMember, Instance
from gateway.triton.connection import Pool, get
from gateway.triton.errors import InstanceError
from tests.contract.fleet.http_server import FakeHttpServer
from tests.support.fleet_views import view_where

ACTIVE = b'nv_trt_llm_request_metrics{model="llm",request_type="active",version="1"} 3\n'


@pytest.fixture
def pool() -> Iterator[Pool]:
    made = Pool()
    yield made
    made.close()


async def test_a_body_comes_back(servers: list[FakeHttpServer], pool: Pool) -> None:
    servers[0].body = ACTIVE * 5000
    assert await get(pool, "127.0.0.1", servers[0].port, "/metrics", 5) == ACTIVE * 5000
    assert servers[0].asked == ["/metrics"]


async def test_another_status_is_an_error(servers: list[FakeHttpServer], pool: Pool) -> None:
    servers[0].status = 503
    with pytest.raises(InstanceError, match="HTTP status 503"):
        await get(pool, "127.0.0.1", servers[0].port, "/metrics", 5)


async def test_a_hung_instance_loses_trust_within_its_time_and_comes_back(
    servers: list[FakeHttpServer], pool: Pool
) -> None:
    """Three unanswered scrapes of 0.2 s: out in less than a second, without one request lost on it."""
    store, trust = FleetState(), OutlierDetector()
    store.set_members(
        [FleetMember(Instance(f"t-{n}", "127.0.0.1", 1, 2, server.port, "m")) for n, server in enumerate(servers)]
    )
    store.subscribe(trust.follow)
    for server in servers:
        server.body = ACTIVE
    scraper = MetricsScraper(store, partial(get, pool), period_s=0.1, deadline_s=0.2, on_scrape=trust.scraped)
    task = asyncio.create_task(scraper.run())
    try:
        await view_where(store, lambda v: all(m.load and m.load.active == 3 for m in v.members.values()), 5)
        servers[0].hang = True
        async with asyncio.timeout(60):
            while "t-0" not in trust.ejected():
                await asyncio.sleep(0.01)
        assert "t-1" not in trust.ejected()
        assert "t-2" not in trust.ejected()
        servers[0].hang = False
        async with asyncio.timeout(60):
            while "t-0" in trust.ejected():
                await asyncio.sleep(0.01)
        assert trust.standing("t-0").state is OutlierState.PROBING
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
