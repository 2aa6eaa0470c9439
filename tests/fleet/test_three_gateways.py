"""Three gateway processes on one PostgreSQL: they let in as many as one limit says, know within a moment that a key is revoked,
and share again what one of them held that is killed."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import psycopg
import pytest
from psycopg.rows import namedtuple_row

from gateway.tenants.ledger import CHECKPOINT_TOKENS
from ragfleet.paths import Home
from tests.support.chat_client import Client, Seen
from tests.support.embedded_fleet import EmbeddedFleet, embedded
from tests.support.postgres import postgres_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # the first test waits for a whole fleet

GATEWAYS, ASKED, LIMIT = 3, 200, 50
LONG = 1_500
"""Tokens that an answer may have which is to go on until it is ended."""
BUDGET, SMALL = 4_000, 60
"""Tokens; and more than the smallest request reserves."""
PARAMS = '{"decode_step_ms": 50, "decode_step_ms_per_sequence": 0, "slots": 64}'


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """A PostgreSQL."""
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="module")
def fleet(consul_program: object, ports: int, database: str) -> Iterator[EmbeddedFleet]:
    """Three gateways, and an engine whose answers go on for a minute."""
    env = {"RAGFLEET_LLM_PARAMS": PARAMS, "RAGFLEET_CATALOG_URL": database}
    models = ("llm", "prompt")
    with embedded(
        instances=1, gateways=GATEWAYS, flavour="simulated", port_base=ports, env=env, models=models
    ) as found:
        yield found


class Operator:
    """Makes tenants and keys, over the API of the first gateway."""

    def __init__(self, fleet: EmbeddedFleet, session: aiohttp.ClientSession) -> None:
        self._url, self._session = fleet.gateway_urls[0], session

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        async with self._session.post(f"{self._url}/admin/{path}", json=body) as reply:
            assert reply.status == 200, await reply.text()
            found: dict[str, Any] = await reply.json()
            return found

    async def key(self, tenant: str, **limits: int) -> dict[str, Any]:
        """The first key of a new tenant."""
        await self.post("tenants", {"name": tenant, "limits": limits})
        return await self.post("keys", {"tenant": tenant})

    async def revoke(self, key_id: str) -> None:
        async with self._session.delete(f"{self._url}/admin/keys/{key_id}") as reply:
            assert reply.status == 200, await reply.text()


@pytest.fixture
async def operator(fleet: EmbeddedFleet) -> AsyncIterator[Operator]:
    key = Home(fleet.home).admin_key.read_text().strip()
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
        yield Operator(fleet, session)


@pytest.fixture
async def clients(fleet: EmbeddedFleet) -> AsyncIterator[Callable[[str], Awaitable[list[Client]]]]:
    """With one key: a client of each gateway, as soon as each knows the key."""
    async with AsyncExitStack() as stack:

        async def make(key: str) -> list[Client]:
            for url in fleet.gateway_urls:
                await until(lambda url=url: _knows(url, key), "every gateway knows the key")
            made = [Client(urlsplit(url).port or 0, key) for url in fleet.gateway_urls]
            return [await stack.enter_async_context(each) for each in made]

        yield make


async def until(holds: Callable[[], Awaitable[Any]], what: str) -> None:
    ends = time.monotonic() + 120
    while not await holds():
        if time.monotonic() > ends:
            pytest.fail(f"not within two minutes: {what}")
        await asyncio.sleep(0.02)


async def _knows(url: str, key: str) -> bool:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session,
        session.get(f"{url}/v1/models") as reply,
    ):
        return reply.status == 200


async def test_of_two_hundred_at_once_as_many_are_answered_as_may_be_at_a_time(
    fleet: EmbeddedFleet, operator: Operator, clients: Callable[[str], Awaitable[list[Client]]]
) -> None:
    made = await operator.key("seats", concurrent_answers=LIMIT)
    told = await _flooded(fleet, await clients(made["key"]))
    print(f"told: {dict(told)}; load {os.getloadavg()[0]:.1f}")
    assert told[429] == ASKED - LIMIT
    assert told[200] + told[0] == LIMIT, "the others are answered, or wait for a place"


async def _flooded(fleet: EmbeddedFleet, three: list[Client]) -> Counter[int]:
    """What so many at once were told, up to when all are refused but as many as may be; 0 for those that wait for a place."""
    seen = [Seen() for _ in range(ASKED)]
    flood = [
        asyncio.create_task(three[n % GATEWAYS].ask(fleet.model, f"Story {n}.", seen=each, max_tokens=LONG))
        for n, each in enumerate(seen)
    ]

    async def refused() -> bool:
        return sum(each.status not in (0, 200) for each in seen) >= ASKED - LIMIT

    try:
        await until(refused, "all but as many as may be are refused")
        assert not any(each.finish for each in seen), "an answer ended, whose seat another may have had"
        return Counter(each.status for each in seen)
    finally:
        for task in flood:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)


async def test_of_two_hundred_in_a_minute_as_many_are_let_in_as_may_be(
    fleet: EmbeddedFleet, operator: Operator, clients: Callable[[str], Awaitable[list[Client]]]
) -> None:
    for number in range(5):  # until all of them fall in one minute
        made = await operator.key(f"minute-{number}", requests_per_minute=LIMIT)
        three, began = await clients(made["key"]), await _young_minute()
        asked = (three[n % GATEWAYS].ask(fleet.model, f"Word {n}.", max_tokens=1) for n in range(ASKED))
        told = Counter(each.status for each in await asyncio.gather(*asked))
        print(f"told: {dict(told)}; load {os.getloadavg()[0]:.1f}")
        if time.time() // 60 == began:
            assert told == {200: LIMIT, 429: ASKED - LIMIT}
            return
    pytest.fail("200 requests took more than half a minute")


async def _young_minute() -> float:
    """The present one, of which half is left; or else the next."""
    if time.time() % 60 > 30:
        await asyncio.sleep(60 - time.time() % 60)
    return time.time() // 60


async def test_streams_of_unknown_length_take_no_more_tokens_than_there_are(
    fleet: EmbeddedFleet, operator: Operator, clients: Callable[[str], Awaitable[list[Client]]], database: str
) -> None:
    """Some clients leave. Of the budget no more is left than what the others hold as leases; what the counters gave is what the
    ledger says."""
    for number in range(3):  # until the minute's flood falls in one minute
        names = {period: f"tokens-{period}-{number}" for period in ("minute", "day")}
        made = {period: await operator.key(name, **{f"tokens_per_{period}": BUDGET}) for period, name in names.items()}
        three = {period: await clients(each["key"]) for period, each in made.items()}
        began = await _young_minute()
        await asyncio.gather(
            *(
                _until_refused(random.Random(n), one, fleet.model)
                for each in three.values()
                for n, one in enumerate(each * 4)
            )
        )
        if time.time() // 60 != began and number < 2:
            continue
        for period, name in names.items():
            if time.time() // 60 == began or period == "day":
                rows = await _settled(database, name)
                used = sum(row.prompt + row.completion for row in rows)
                print(f"{period}: {len(rows)} answers took {used} of {BUDGET}; load {os.getloadavg()[0]:.1f}")
                assert used <= BUDGET
                assert BUDGET - used <= BUDGET * (GATEWAYS - 1) // 20 + SMALL
                await _balanced(database, name, f"tokens/{period}")
        return


async def _until_refused(rng: random.Random, client: Client, model: str) -> None:
    """Answers, one after the other, of which some are left, as long as there are tokens; then as small ones as can be."""
    for tokens in (60, 1):
        while True:
            seen, wanted = Seen(), rng.randint(1, tokens)
            asked = asyncio.create_task(client.ask(model, "A story.", seen=seen, max_tokens=wanted))
            leaves_after = rng.randint(1, 2 * wanted)
            while not asked.done() and len(seen.at) < leaves_after:
                await asyncio.sleep(0.02)
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
            assert seen.status in (200, 429), seen.error
            if seen.status == 429:
                break


async def test_a_key_that_is_revoked_at_one_opens_nothing_at_any(
    fleet: EmbeddedFleet, operator: Operator, clients: Callable[[str], Awaitable[list[Client]]]
) -> None:
    made = await operator.key("leaving")
    await clients(made["key"])
    await operator.revoke(made["id"])
    revoked, after = time.monotonic(), []

    async def refuses(url: str) -> None:
        async def is_refused() -> bool:
            return not await _knows(url, made["key"])

        await until(is_refused, "the key is refused")
        after.append(time.monotonic() - revoked)

    await asyncio.gather(*map(refuses, fleet.gateway_urls))
    print(f"refused after {', '.join(f'{each:.2f}' for each in after)} s; load {os.getloadavg()[0]:.1f}")


async def test_what_a_killed_gateway_held_is_the_others(
    fleet: EmbeddedFleet, operator: Operator, clients: Callable[[str], Awaitable[list[Client]]], database: str
) -> None:
    """The last test: the first gateway is killed."""
    seats = 6
    made = await operator.key("killed", concurrent_answers=seats, tokens_per_month=100_000)
    one, *others = await clients(made["key"])
    flood, each_token = [Seen() for _ in range(seats)], {"include_usage": True, "continuous_usage_stats": True}
    tasks = [
        asyncio.create_task(
            one.ask(fleet.model, f"Story {n}.", seen=seen, max_tokens=LONG + n, stream_options=each_token)
        )
        for n, seen in enumerate(flood)
    ]

    async def flows() -> bool:
        return all(seen.completion_tokens > CHECKPOINT_TOKENS for seen in flood)

    await until(flows, "all answers flow")
    for other in others:
        assert (await other.ask(fleet.model, "More.", max_tokens=1)).status == 429
    os.kill(fleet.gateway_pid, signal.SIGKILL)
    killed = time.monotonic()
    await asyncio.gather(*tasks)
    for other in others:

        async def has_a_seat(other: Client = other) -> bool:
            return (await other.ask(fleet.model, "More.", max_tokens=1)).status == 200

        await until(has_a_seat, "a seat is free")
        print(f"a seat {time.monotonic() - killed:.1f} s after the kill; load {os.getloadavg()[0]:.1f}")

    rows = await _settled(database, "killed")
    lost = {row.reserved - row.prompt - LONG: row for row in rows if row.reserved > LONG}
    drifts = [seen.completion_tokens - lost[n].completion for n, seen in enumerate(flood)]
    print(f"tokens that clients have and the ledger has not: {drifts}")
    assert all(abs(drift) <= CHECKPOINT_TOKENS for drift in drifts)
    await _balanced(database, "killed", "tokens/month")
    print(f"the counters are what the ledger says {time.monotonic() - killed:.1f} s after the kill")


async def _settled(database: str, tenant: str) -> list[Any]:
    """A tenant's rows of the ledger, as soon as none is open."""
    query = "SELECT state, reserved, prompt, completion FROM ledger WHERE tenant = %s"
    found: list[Any] = []

    async def settled() -> bool:
        found[:] = await asyncio.to_thread(_rows, database, query, tenant)
        return bool(found) and all(row.state == "settled" for row in found)

    await until(settled, "every row is settled")
    return found


async def _balanced(database: str, tenant: str, resource: str) -> None:
    """What the counter has granted is, as soon as no gateway has a lease, what the ledger says."""
    spent = "SELECT sum(prompt + completion) AS n FROM ledger WHERE tenant = %s"
    granted = "SELECT used AS n FROM quotas WHERE subject = 'tenant/' || %s AND resource = %s"

    async def equal() -> bool:
        (counter,) = await asyncio.to_thread(_rows, database, granted, tenant, resource)
        (ledger,) = await asyncio.to_thread(_rows, database, spent, tenant)
        return bool(counter.n == ledger.n)

    await until(equal, "the counter is what the ledger says")


def _rows(database: str, query: str, *values: Any) -> list[Any]:
    with psycopg.connect(database, row_factory=namedtuple_row) as connection:
        return connection.execute(query, values).fetchall()
