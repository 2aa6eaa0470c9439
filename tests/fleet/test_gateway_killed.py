"""A gateway is killed in the middle of a flood: seats and leases are the others' again, its ledger says what clients got."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from gateway.tenants.ledger import CHECKPOINT_TOKENS
from ragfleet.paths import PROJECT
from tests.support.chat_client import Client, Seen
from tests.support.embedded_fleet import EmbeddedFleet, embedded

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # the first test waits for a whole fleet

SEATS, BUDGET = 6, 12_000
LONG = 1_500
"""Tokens that each answer of the flood may have: together with their leases more than half of the budget."""
LARGE = 5_000
"""More than is left beside that."""


@pytest.fixture(scope="module")
def fleet(consul_program: object, ports: int) -> Iterator[EmbeddedFleet]:
    """Two gateways on one catalog, and an engine whose answers go on for a minute."""
    params = {"decode_step_ms": 50, "decode_step_ms_per_sequence": 0, "slots": 16}
    env = {"RAGFLEET_LLM_PARAMS": json.dumps(params)}
    models = ("llm", "prompt")
    with embedded(instances=1, gateways=2, flavour="simulated", port_base=ports, env=env, models=models) as found:
        words = ["tenant", "create", "default", "--concurrent-answers", str(SEATS), "--tokens-per-month", str(BUDGET)]
        subprocess.run(
            [sys.executable, "-m", "ragfleet", *words],
            env={**os.environ, "RAGFLEET_HOME": str(found.home)},
            stdout=subprocess.DEVNULL, timeout=60, check=True, cwd=PROJECT,
        )  # fmt: skip
        yield found


@pytest.fixture
async def clients(fleet: EmbeddedFleet) -> AsyncIterator[list[Client]]:
    """One of each gateway."""
    first, second = (urlsplit(url).port or 0 for url in fleet.gateway_urls)
    async with Client(first, fleet.key) as one, Client(second, fleet.key) as two:
        yield [one, two]


async def until(holds: Callable[[], Awaitable[Any]], what: str) -> float:
    """Ask until it is so; the seconds that it took."""
    started = time.monotonic()
    while not await holds():
        if time.monotonic() - started > 120:
            pytest.fail(f"not within two minutes: {what}")
        await asyncio.sleep(0.1)
    return time.monotonic() - started


def rows(fleet: EmbeddedFleet) -> list[sqlite3.Row]:
    """The ledger, as it is in the database now."""
    with closing(sqlite3.connect(fleet.home / "catalog.db", timeout=30)) as database:
        database.row_factory = sqlite3.Row
        return database.execute("select * from ledger").fetchall()


async def left(fleet: EmbeddedFleet, gateway: int) -> int | None:
    """Tokens of the budget, as one gateway knows; None before it knows of any limit."""
    url, body = f"{fleet.gateway_urls[gateway]}/v1/chat/completions", {"model": fleet.model, "messages": [], "n": 0}
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {fleet.key}"}) as session,
        session.post(url, json=body) as reply,
    ):
        found = reply.headers.get("x-ratelimit-remaining-tokens")
        return None if found is None else int(found)


async def begins(client: Client, model: str, tokens: int) -> Seen:
    """An answer of so many tokens at the most; its client leaves with the first one."""
    seen = Seen()
    asked = asyncio.create_task(client.ask(model, "A short story.", seen=seen, max_tokens=tokens))
    while not asked.done() and not seen.at:
        await asyncio.sleep(0.02)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    return seen


async def test_what_a_killed_gateway_held_comes_back_and_its_ledger_says_what_clients_got(
    fleet: EmbeddedFleet, clients: list[Client]
) -> None:
    one, two = clients
    for gateway in range(2):
        await until(lambda gateway=gateway: _known(fleet, gateway), "both gateways know the limits")
    flood = [Seen() for _ in range(SEATS)]
    each_token = {"include_usage": True, "continuous_usage_stats": True}
    tasks = [
        asyncio.create_task(
            one.ask(fleet.model, f"Story {n}.", seen=seen, max_tokens=LONG + n, stream_options=each_token)
        )
        for n, seen in enumerate(flood)
    ]

    async def flows() -> bool:
        return all(seen.completion_tokens > 60 for seen in flood)

    await until(flows, "all answers flow")
    refused = await begins(two, fleet.model, 1)
    assert refused.status == 429
    assert f"{SEATS} answers at a time" in (refused.error or "")

    os.kill(fleet.gateway_pid, signal.SIGKILL)
    killed = time.monotonic()
    await asyncio.gather(*tasks)
    assert all(seen.error and seen.finish is None for seen in flood)

    async def has_a_seat() -> bool:
        return (await begins(two, fleet.model, 1)).status == 200

    await until(has_a_seat, "a seat is free")
    print(f"a seat {time.monotonic() - killed:.1f} s after the kill; load {os.getloadavg()[0]:.1f}")

    async def settled() -> bool:
        return all(row["state"] == "settled" for row in rows(fleet))

    await until(settled, "every row is settled")
    lost = {row["reserved"] - row["prompt"] - LONG: row for row in rows(fleet) if row["outcome"] == "lost"}
    assert sorted(lost) == list(range(SEATS))
    drifts = [seen.completion_tokens - lost[n]["completion"] for n, seen in enumerate(flood)]
    print(f"tokens that clients have and the ledger has not: {drifts}")
    assert all(abs(drift) <= CHECKPOINT_TOKENS for drift in drifts)

    async def fits() -> bool:
        return (await begins(two, fleet.model, LARGE)).status == 200

    await until(fits, "the leases are given back")
    print(f"leases back {time.monotonic() - killed:.1f} s after the kill")

    async def balanced() -> bool:
        found = rows(fleet)
        used = sum(row["prompt"] + row["completion"] for row in found)
        return await settled() and await left(fleet, 1) == BUDGET - used

    await until(balanced, "what is used is what the ledger says")


async def _known(fleet: EmbeddedFleet, gateway: int) -> bool:
    return await left(fleet, gateway) == BUDGET
