"""Three gateways on one PostgreSQL: a key that is made, changed or revoked anywhere is so everywhere."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.api import authentication
from gateway.knowledge.catalog.administration import Administration, Administrator, TenantSettings
from gateway.knowledge.catalog.catalog import Catalog
from tests.support.postgres import emptied
from tests.support.running import Fleet, settings_for

DEADLINE_S = 60.0
"""For what takes half a second and a look on an idle machine."""


@dataclass
class Three:
    """Three gateways, and an administrator beside them all, as at the command line."""

    fleets: list[Fleet]
    administrator: Administrator

    async def until(self, key: str, status: int) -> float:
        """Seconds until every gateway answers so."""
        begun = time.monotonic()
        async with asyncio.timeout(DEADLINE_S):
            for fleet in self.fleets:
                while (await fleet.get("/v1/models", headers={"authorization": f"Bearer {key}"})).status != status:
                    await asyncio.sleep(0.02)
        return time.monotonic() - begun


@pytest.fixture
async def three(
    postgres: str, tokenizer_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Three]:
    monkeypatch.setattr(authentication, "LONGEST_S", 0.0)  # a revoked key is tried again and again
    url = emptied(postgres)
    async with AsyncExitStack() as stack:
        fleets = [
            await stack.enter_async_context(
                Fleet(settings_for(tmp_path / name, tokenizer_dir, catalog_url=url, admin_key="admins"), instances=1)
            )
            for name in ("one", "two", "three")
        ]
        catalog = Catalog(url)
        stack.push_async_callback(catalog.close)
        yield Three(fleets, Administration(catalog.database, tmp_path / "audit.jsonl").by("cli:a test"))


async def test_key_is_let_in_and_refused_by_every_gateway(three: Three) -> None:
    administrator = three.administrator
    await administrator.create_tenant("acme", TenantSettings())
    made, new = await administrator.create_key("acme")
    took = {"made": await three.until(new.text, 200)}
    _, newer = await administrator.rotate_key(made.id, overlap_s=0)
    took["rotated"] = max(await asyncio.gather(three.until(new.text, 401), three.until(newer.text, 200)))
    await administrator.suspend("acme")
    took["suspended"] = await three.until(newer.text, 403)
    await administrator.resume("acme")
    took["resumed"] = await three.until(newer.text, 200)
    await administrator.revoke_key(made.id)
    took["revoked"] = await three.until(newer.text, 401)
    print("\nSeconds until all three gateways knew:", {name: round(s, 2) for name, s in took.items()})


async def test_what_one_gateway_was_told_the_others_learn(three: Three) -> None:
    one, _, _ = three.fleets
    admin = {"authorization": "Bearer admins"}
    assert (await one.post({"name": "acme"}, path="/admin/tenants", headers=admin)).status == 200
    made = (await one.post({"tenant": "acme"}, path="/admin/keys", headers=admin)).json
    await three.until(made["key"], 200)
    changed = {"weight": 4, "limits": {"tokens_per_minute": 7}}
    assert (await one.post(changed, path="/admin/tenants/acme", headers=admin)).status == 200
    async with asyncio.timeout(DEADLINE_S):
        for fleet in three.fleets:
            while not (known := fleet.gateway.tenants.tenants()) or known[0].weight != 4.0:
                await asyncio.sleep(0.02)
            tenant = fleet.gateway.tenants.authenticate(f"Bearer {made['key']}")
            assert tenant.limits.tokens_per_minute == 7
