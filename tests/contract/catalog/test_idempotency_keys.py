"""Idempotency keys on every database that the catalog can stand on."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.errors import BadRequest, Conflict
from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.idempotency import KEEP_S, PATIENCE_S
from gateway.knowledge.catalog.types import PageQuery, StoredReply
from gateway.tenants.tenant import Tenant
from tests.contract.catalog.conftest import Clock

DONE = StoredReply(201, '{"id": "vs_1", "name": "Größe \\u0000"}', {"x-first": "1"})


@pytest.fixture
async def other(url: str, clock: Clock) -> AsyncIterator[Catalog]:
    """Another gateway's."""
    made = Catalog(url, clock=clock)
    yield made
    await made.close()


async def once(
    catalog: Catalog, *, tenant: str = "a", key: str = "k", request: str = "h", answer: StoredReply = DONE
) -> StoredReply:
    """A request that makes a store."""
    async with catalog.of(Tenant(tenant)).transaction() as inner:
        before = await inner.keys.claim(key, request)
        if before is not None:
            return before
        await inner.stores.create(name="made")
        await inner.keys.keep(key, answer)
        return answer


async def stores(catalog: Catalog, tenant: str = "a") -> int:
    return len((await catalog.of(Tenant(tenant)).stores.page(PageQuery())).items)


async def test_the_first_answer_is_given_again_for_a_day(catalog: Catalog, clock: Clock) -> None:
    assert await once(catalog) == DONE
    clock.now += KEEP_S - 1
    assert await once(catalog, answer=StoredReply(200, "{}")) == DONE
    assert await stores(catalog) == 1
    clock.now += 1
    await once(catalog)
    assert await stores(catalog) == 2


async def test_a_key_belongs_to_one_request_of_one_tenant(catalog: Catalog) -> None:
    await once(catalog)
    with pytest.raises(Conflict, match="another request"):
        await once(catalog, request="other")
    assert await once(catalog, tenant="b", request="other", answer=StoredReply(200, "{}")) == StoredReply(200, "{}")
    assert (await stores(catalog), await stores(catalog, "b")) == (1, 1)


async def test_one_of_many_at_once_does_the_work_and_all_have_its_answer(catalog: Catalog, other: Catalog) -> None:
    answers = [StoredReply(200, f'"{number}"') for number in range(8)]
    given = await asyncio.gather(
        *(once((catalog, other)[number % 2], answer=answer) for number, answer in enumerate(answers))
    )
    assert len({each.body for each in given}) == 1
    assert await stores(catalog) == 1


async def test_work_that_failed_leaves_neither_itself_nor_the_key(catalog: Catalog) -> None:
    async def fail() -> None:
        async with catalog.of(Tenant("a")).transaction() as inner:
            assert await inner.keys.claim("k", "h") is None
            await inner.stores.create(name="half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await stores(catalog) == 0
    await once(catalog, request="other")


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)  # SQLite's writers take turns
async def test_what_takes_long_is_not_waited_for_for_ever(url: str, catalog: Catalog, other: Catalog) -> None:
    async with catalog.of(Tenant("a")).transaction() as inner:
        assert await inner.keys.claim("k", "h") is None
        async with asyncio.timeout(PATIENCE_S + 10):
            with pytest.raises(Conflict, match="in progress") as refused:
                await once(other)
        assert refused.value.retry_after_s is not None
        await once(other, key="another")
        await inner.keys.keep("k", DONE)
    assert await once(other, answer=StoredReply(200, "{}")) == DONE


async def test_keys_live_on_in_another_process(catalog: Catalog, other: Catalog) -> None:
    await once(catalog)
    await catalog.close()
    assert await once(other, answer=StoredReply(200, "{}")) == DONE


async def test_expiry_forgets_keys(catalog: Catalog, clock: Clock) -> None:
    await once(catalog)
    await catalog.removals.expire()
    assert await once(catalog, answer=StoredReply(200, "{}")) == DONE
    clock.now += KEEP_S
    await catalog.removals.expire()
    await once(catalog, request="other")


@pytest.mark.parametrize("key", ["", "k" * 256, "a\0"])
async def test_an_unusable_key_is_refused(catalog: Catalog, key: str) -> None:
    with pytest.raises(BadRequest):
        await once(catalog, key=key)
