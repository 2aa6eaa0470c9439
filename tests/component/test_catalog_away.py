"""The catalog's database is away: the table "When something is away" of docs/tenants.md, line by line."""

import sqlite3
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from gateway.api import authentication
from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.database import Database
from gateway.setting_values import WithoutQuotas
from gateway.tenants import api_key, ledger, quota_client
from gateway.tenants.directory import GRACE_S
from gateway.tenants.quota_client import AWAY_S
from gateway.tenants.quota_store import LEASES_LIVE_S
from tests.support.replies import Reply
from tests.support.running import Fleet

NOON = 1_700_049_600.0
"""No minute begins while a test runs."""
ADMIN, CONFIGURED = "admins", "secret"


class Outage:
    """A fleet with a tenant that has limits, `limited`, and one without, `free`; their keys; and what goes wrong."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.keys: dict[str, str] = {}
        self.away = False
        self.late_s = 0.0
        """For which it has lasted."""
        gateway = fleet.gateway
        gateway.tenants._clock = gateway.tenants_sync._clock = lambda: time.monotonic() + self.late_s
        gateway.quotas._client.now = lambda: NOON + self.late_s

    async def make(self) -> None:
        """Tenants and keys."""
        limits = {"requests_per_minute": 1_000, "tokens_per_month": 1_000_000}
        for name, fields in (("limited", {"limits": limits}), ("free", {})):
            made = await self.fleet.post({"name": name, **fields}, path="/admin/tenants", headers=_bearer(ADMIN))
            assert made.status == 200, made.raw
            key = await self.fleet.post({"tenant": name}, path="/admin/keys", headers=_bearer(ADMIN))
            self.keys[name] = key.json["key"]
        self.keys["nobody"] = api_key.generate().text

    async def chat(self, who: str) -> Reply:
        """With the key of this tenant, or with this key."""
        return await self.fleet.chat(headers=_bearer(self.keys.get(who, who)))


def _bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture
def begin(start: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`outage = await begin(quota_unavailable=WithoutQuotas.ALLOW)`: nothing is away yet."""
    monkeypatch.setattr(authentication, "LONGEST_S", 0.0)  # wrong keys are not what is tried
    monkeypatch.setattr(quota_client, "STEP_S", 60.0)
    monkeypatch.setattr(ledger, "COMMIT_S", 60.0)

    async def run(**wishes: Any) -> Outage:
        outage = Outage(await start(api_key=CONFIGURED, admin_key=ADMIN, **wishes))
        prepare = Database._prepare

        async def prepared(database: Database) -> None:
            if outage.away:
                raise sqlite3.OperationalError("away")
            await prepare(database)

        monkeypatch.setattr(Database, "_prepare", prepared)
        await outage.make()
        return outage

    return run


def _told_to_come_back(reply: Reply) -> bool:
    return reply.status == 503 and int(reply.headers["retry-after"]) >= 1 and bool(reply.error["message"])


async def test_known_keys_live_for_a_minute_and_unknown_ones_are_told_to_come_back(begin: Any) -> None:
    outage: Outage = await begin()
    outage.away = True
    await outage.fleet.gateway.tenants_sync.look()
    assert [(await outage.chat(who)).status for who in (CONFIGURED, "free")] == [200, 200]
    assert _told_to_come_back(await outage.chat("nobody"))
    outage.late_s = GRACE_S / 2
    assert (await outage.chat("free")).status == 200
    outage.late_s = GRACE_S + 1
    assert _told_to_come_back(await outage.chat("free"))
    assert (await outage.chat(CONFIGURED)).status == 200
    outage.away = False
    await outage.fleet.gateway.tenants_sync.look()
    assert [(await outage.chat(who)).status for who in ("free", "nobody")] == [200, 401]


async def test_nothing_can_be_changed_meanwhile(begin: Any) -> None:
    outage: Outage = await begin()
    outage.away = True
    made = await outage.fleet.post({"name": "new"}, path="/admin/tenants", headers=_bearer(ADMIN))
    assert _told_to_come_back(made)
    outage.away = False
    assert (await outage.fleet.get("/admin/tenants/new", headers=_bearer(ADMIN))).status == 404


@pytest.mark.parametrize("setting", WithoutQuotas)
async def test_with_limits_leases_in_hand_are_used_and_then_the_setting_counts(
    begin: Any, setting: WithoutQuotas
) -> None:
    outage: Outage = await begin(quota_unavailable=setting)
    gateway = outage.fleet.gateway
    assert (await outage.chat("limited")).status == 200  # it leases more than it needs
    outage.away = True
    assert (await outage.chat("limited")).status == 200
    outage.late_s = LEASES_LIVE_S + 1
    after = await outage.chat("limited")
    assert after.status == 200 if setting is WithoutQuotas.ALLOW else _told_to_come_back(after)
    assert (await outage.chat("free")).status == 200
    assert gateway.ledger.waiting >= 2  # no answer waited for its row
    outage.away = False
    outage.late_s += AWAY_S + 1
    assert (await outage.chat("limited")).status == 200
    await gateway.ledger.step()
    async with gateway.accounts.read() as connection:
        rows = (await connection.execute(select(schema.ledger))).all()
    assert [row.outcome for row in rows] == ["completed"] * (5 if setting is WithoutQuotas.ALLOW else 4)


async def test_without_the_audit_file_acts_are_refused_and_requests_go_on(begin: Any) -> None:
    outage: Outage = await begin()
    file = outage.fleet.settings.home / "audit.jsonl"
    file.unlink()
    file.mkdir()  # as little as a full disk it can be written to
    made = await outage.fleet.post({"name": "new"}, path="/admin/tenants", headers=_bearer(ADMIN))
    assert made.status == 503
    assert (await outage.fleet.get("/admin/tenants/new", headers=_bearer(ADMIN))).status == 404
    assert [(await outage.chat(who)).status for who in ("limited", "free")] == [200, 200]
