"""Tenants embed by turns."""

import asyncio
from collections import Counter

import pytest

from gateway.ingestion.fair_turns import TenantTurns
from gateway.ingestion.poison_detection import PoisonDetector


async def _embed(turns: TenantTurns, tenant: str, pieces: int, sent: list[str]) -> None:
    async with turns.among(tenant):
        for _ in range(pieces):
            await turns.next(tenant, 8)
            sent.append(tenant)
            await asyncio.sleep(0)


@pytest.mark.parametrize(("weight", "share"), [(1.0, 10), (3.0, 30)])
async def test_a_small_file_of_another_tenant_does_not_wait_for_a_large_one(weight: float, share: int) -> None:
    turns, sent = TenantTurns({"large": weight}), list[str]()
    large = asyncio.create_task(_embed(turns, "large", 200, sent))
    while len(sent) < 50:
        await asyncio.sleep(0)
    await _embed(turns, "small", 10, sent)
    meanwhile = Counter(sent[50:])
    assert abs(meanwhile["large"] - share) <= 4
    await large
    assert Counter(sent) == {"large": 200, "small": 10}


async def test_one_tenants_files_come_one_after_the_other() -> None:
    turns, sent = TenantTurns(), list[str]()

    async def named(name: str) -> None:
        async with turns.among("a"):
            for _ in range(5):
                await turns.next("a", 8)
                sent.append(name)
                await asyncio.sleep(0)

    await asyncio.gather(named("first"), named("second"))
    assert sent == ["first"] * 5 + ["second"] * 5


async def test_who_is_cancelled_in_its_turn_holds_up_nobody() -> None:
    turns, sent = TenantTurns(), list[str]()
    stuck = asyncio.create_task(_embed(turns, "stuck", 10**9, sent))
    await asyncio.sleep(0)
    stuck.cancel()
    await asyncio.gather(stuck, return_exceptions=True)
    await asyncio.wait_for(_embed(turns, "b", 5, sent), 60)
    assert Counter(sent)["b"] == 5


def test_a_failure_counts_only_where_others_were_served_since_the_one_before() -> None:
    strikes = PoisonDetector()
    assert [strikes.failed("index", "a") for _ in range(9)] == [0] * 9, "the index is away"
    strikes.answered("index")
    assert (strikes.failed("index", "a"), strikes.failed("index", "a"), strikes.failed("index", "b")) == (1, 1, 0)
    strikes.answered("objects")
    assert strikes.failed("index", "a") == 1
    strikes.answered("index")
    assert strikes.failed("index", "a") == 2
    strikes.forget("a")
    strikes.answered("index")
    assert strikes.failed("index", "a") == 0
