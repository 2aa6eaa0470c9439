"""A thousand requests whose clients leave or whose time is up: nothing is left of them, and the ledger is right."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from gateway.knowledge.catalog import schema
from gateway.tenants import account, quota_client
from gateway.triton.fake_answers import Script
from tests.support.postgres import postgres_server
from tests.support.running import Fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

REQUESTS, AT_ONCE = 1_000, 50
LIMITS = "{requests_per_minute: 100000, tokens_per_month: 10000000, concurrent_answers: 1000}"
NOON = 1_700_049_600.0
KEY = {"authorization": "Bearer acme"}


async def leave(fleet: Fleet, rng: random.Random) -> None:
    """One request whose client leaves after so many turns of the loop, or with the first token, or stays."""
    fields = {"n": rng.choice((1, 1, 2)), "max_tokens": rng.randint(1, 40)}
    asked = asyncio.ensure_future(
        fleet.chat(headers=KEY, **fields) if rng.random() < 0.5 else fleet.stream(headers=KEY, **fields)
    )
    match rng.choice(("soon", "with tokens", "late")):
        case "soon":
            for _ in range(rng.randint(0, 200)):
                await asyncio.sleep(0)
            asked.cancel()
        case "with tokens":
            begun = len(fleet.calls())
            ahead = asyncio.ensure_future(
                fleet.until(lambda: any(call.sent for call in fleet.calls()[begun:]) or asked.done())
            )
            await asyncio.wait((ahead, asked), return_when=asyncio.FIRST_COMPLETED)
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)
            asked.cancel()
        case "late":
            pass
    await asyncio.gather(asked, return_exceptions=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def catalog_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Empty for SQLite's file."""
    if request.param == "sqlite":
        yield ""
    else:
        with postgres_server() as url:
            yield url


async def test_nothing_is_left_of_a_thousand_requests_that_were_given_up(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, catalog_url: str
) -> None:
    for module in (account, quota_client):  # however busy the machine is, no step of the store is given up
        monkeypatch.setattr(module, "STEP_S", 60.0)
    file = tmp_path / "tenants.yaml"
    file.write_text(f"tenants: [{{name: acme, keys: [acme], limits: {LIMITS}}}]")
    fleet: Fleet = await start(
        tenants_file=file,
        catalog_url=catalog_url,
        slots=20,
        request_deadline_s=1.0,
        admission_deadline_s=0.5,
        attempts=2,
    )
    gateway = fleet.gateway
    gateway.quotas._client.now = lambda: NOON
    rng = random.Random(13)
    faults = (Script(), Script(stall_after=0), Script(stall_after=3), Script(reset_after=2), Script(status=500))
    for _ in range(REQUESTS // AT_ONCE):
        fleet.answers.scripts.clear()
        fleet.answers.script("llm", *rng.choices(faults, (2, 2, 3, 1, 1), k=AT_ONCE))
        await asyncio.gather(*(leave(fleet, rng) for _ in range(AT_ONCE)))
    await fleet.settled()
    assert not gateway.generator.prefills.held
    await gateway.quotas.close()
    async with asyncio.timeout(60):
        while gateway.ledger.waiting:
            await gateway.ledger.step()
    assert {each.seats for each in gateway.quotas._accounts.values()} == {0}
    rows, quotas = schema.ledger, schema.quotas
    async with gateway.accounts.read() as connection:
        states = dict((await connection.execute(select(rows.c.state, func.count()).group_by(rows.c.state))).all())
        outcomes = dict((await connection.execute(select(rows.c.outcome, func.count()).group_by(rows.c.outcome))).all())
        charged = await connection.scalar(select(func.sum(rows.c.prompt + rows.c.completion)))
        used = dict((await connection.execute(select(quotas.c.resource, quotas.c.used))).all())
        held = await connection.scalar(select(func.sum(schema.seats.c.held)))
    assert states.keys() == {"settled"}
    assert "client_left" in outcomes
    print(outcomes)
    assert used["tokens/month"] == charged
    assert not held
