"""Idempotency keys on every database that the catalog can stand on."""

import asyncio

import pytest
from conftest import Clock

from gateway.errors import BadRequest, Conflict
from gateway.knowledge.catalog.idempotency import KEEP_S, Answer, Claim, Idempotency
from gateway.knowledge.catalog.sql import SqlCatalog

DONE = Answer(201, '{"id": "vs_1", "name": "Größe \\u0000"}')


@pytest.fixture
async def keys(catalog: SqlCatalog, clock: Clock) -> Idempotency:
    return Idempotency(catalog.database, clock=clock, lease_s=60)


async def claimed(keys: Idempotency, tenant: str = "a", request: str = "h") -> Claim:
    claim = await keys.begin(tenant, "k", request)
    assert isinstance(claim, Claim)
    return claim


async def test_the_first_answer_is_given_again_for_a_day(keys: Idempotency, clock: Clock) -> None:
    await keys.finish(await claimed(keys), DONE)
    clock.now += KEEP_S - 1
    assert await keys.begin("a", "k", "h") == DONE
    clock.now += 1
    await claimed(keys)


async def test_a_key_belongs_to_one_request_of_one_tenant(keys: Idempotency) -> None:
    claim = await claimed(keys)
    for _ in range(2):
        with pytest.raises(Conflict, match="another request"):
            await keys.begin("a", "k", "other")
        await keys.finish(claim, DONE)
    await claimed(keys, tenant="b", request="other")


async def test_one_of_many_at_once_does_the_work(keys: Idempotency) -> None:
    results = await asyncio.gather(*(keys.begin("a", "k", "h") for _ in range(8)), return_exceptions=True)
    assert [type(each) for each in sorted(results, key=lambda each: type(each).__name__)] == [Claim] + [Conflict] * 7


async def test_work_that_failed_may_be_sent_again(keys: Idempotency) -> None:
    await keys.abandon(await claimed(keys))
    await claimed(keys, request="other")


async def test_the_claim_of_a_killed_process_ends_and_changes_nothing_after(keys: Idempotency, clock: Clock) -> None:
    old = await claimed(keys)
    with pytest.raises(Conflict, match="in progress"):
        await keys.begin("a", "k", "h")
    clock.now += 60
    new = await claimed(keys)
    await keys.finish(old, Answer(200, "old"))
    await keys.abandon(old)
    await keys.finish(new, DONE)
    await keys.abandon(new)
    assert await keys.begin("a", "k", "h") == DONE


async def test_expiry_forgets_keys(keys: Idempotency, catalog: SqlCatalog, clock: Clock) -> None:
    await keys.finish(await claimed(keys), DONE)
    await catalog.expire()
    assert await keys.begin("a", "k", "h") == DONE
    clock.now += KEEP_S
    await catalog.expire()
    await claimed(keys, request="other")


@pytest.mark.parametrize("key", ["", "k" * 256, "a\0"])
async def test_an_unusable_key_is_refused(keys: Idempotency, key: str) -> None:
    with pytest.raises(BadRequest):
        await keys.begin("a", key, "h")
