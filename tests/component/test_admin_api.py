"""`/admin`: tenants and keys made, changed and revoked over HTTP, in force with the answer."""

import asyncio
import json
import time
from collections import Counter
from typing import Any

import pytest

from gateway.api import authentication
from tests.support.replies import Reply
from tests.support.running import Fleet

TENANTS, KEYS = "/admin/tenants", "/admin/keys"


class Admin:
    """A client with the administrator's key."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet

    async def call(self, method: str, path: str, body: Any = None) -> Reply:
        """Whatever comes back."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": "Bearer admins"}
        async with self.fleet.http.request(method, path, data=data, headers=headers) as response:
            return Reply(response.status, response.headers, await response.read())

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The body of a good answer."""
        reply = await self.call(method, path, body)
        assert reply.status == 200, reply.raw
        return reply.json

    async def key(self, **wishes: Any) -> Any:
        """A new key of acme."""
        return await self.ask("POST", KEYS, {"tenant": "acme", **wishes})


@pytest.fixture
async def admin(start: Any, monkeypatch: pytest.MonkeyPatch) -> Admin:
    monkeypatch.setattr(authentication, "LONGEST_S", 0.0)  # revoked keys are wrong keys
    made = Admin(await start(api_key="secret", admin_key="admins"))
    await made.ask("POST", TENANTS, {"name": "acme", "limits": {"documents": 5}})
    return made


async def _status(fleet: Fleet, key: str, path: str = "/v1/models") -> int:
    return (await fleet.get(path, headers={"authorization": f"Bearer {key}"})).status


async def test_key_lets_its_tenant_in_until_it_is_revoked(admin: Admin) -> None:
    made = await admin.key()
    assert made["key"].startswith(f"sk-rf-{made['id']}-")
    assert (await admin.fleet.chat(headers={"authorization": f"Bearer {made['key']}"})).status == 200
    assert await _status(admin.fleet, made["key"]) == 200
    assert await _status(admin.fleet, made["key"], "/v1/files") == 200
    shown = await admin.ask("GET", f"{KEYS}/{made['id']}")
    assert (shown["status"], shown["tenant"]) == ("active", "acme")
    assert made["key"] not in json.dumps(await admin.ask("GET", KEYS))
    assert (await admin.ask("DELETE", f"{KEYS}/{made['id']}"))["status"] == "revoked"
    reply = await admin.fleet.get("/v1/models", headers={"authorization": f"Bearer {made['key']}"})
    assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")
    assert (await admin.ask("GET", f"{KEYS}?tenant=acme"))["data"][0]["status"] == "revoked"


async def test_rotation_lets_both_secrets_in_for_the_overlap(admin: Admin) -> None:
    made = await admin.key()
    rotated = await admin.ask("POST", f"{KEYS}/{made['id']}/rotate")
    assert rotated["id"] == made["id"]
    assert rotated["previous_secret_until"] > time.time()
    for text in (made["key"], rotated["key"]):
        assert await _status(admin.fleet, text) == 200
    again = await admin.ask("POST", f"{KEYS}/{made['id']}/rotate", {"overlap_s": 0})
    assert [await _status(admin.fleet, each["key"]) for each in (made, rotated, again)] == [401, 401, 200]


async def test_suspended_tenant_is_refused_and_comes_back(admin: Admin) -> None:
    made = await admin.key()
    assert (await admin.ask("POST", f"{TENANTS}/acme/suspend"))["suspended"]
    reply = await admin.fleet.get("/v1/models", headers={"authorization": f"Bearer {made['key']}"})
    assert (reply.status, reply.error["code"]) == (403, "tenant_suspended")
    await admin.ask("POST", f"{TENANTS}/acme/resume")
    assert await _status(admin.fleet, made["key"]) == 200


async def test_tenant_is_changed_where_something_is_said(admin: Admin) -> None:
    changed = await admin.ask("POST", f"{TENANTS}/acme", {"weight": 2, "class": "gold", "limits": {"documents": None}})
    assert (changed["weight"], changed["class"], changed["limits"]) == (2.0, "gold", {})
    assert changed == await admin.ask("GET", f"{TENANTS}/acme")
    assert [each["name"] for each in (await admin.ask("GET", TENANTS))["data"]] == ["acme"]


async def test_key_has_the_scopes_groups_limits_and_the_end_that_were_asked_for(admin: Admin) -> None:
    later = int(time.time()) + 3600
    made = await admin.key(scopes=["chat"], groups=["hr"], limits={"requests_per_minute": 1}, expires_at=later)
    assert (made["scopes"], made["groups"], made["expires_at"]) == (["chat"], ["hr"], later)
    assert made["limits"] == {"requests_per_minute": 1}
    assert await _status(admin.fleet, made["key"], "/v1/files") == 403


REFUSED: tuple[tuple[str, str, Any, int, str], ...] = (
    ("POST", TENANTS, {"name": "acme"}, 409, "name"),
    ("POST", TENANTS, {"name": "a b"}, 400, "name"),
    ("POST", TENANTS, {}, 400, "name"),
    ("POST", TENANTS, {"name": "b", "limits": {"nothing": 1}}, 400, "limits.nothing"),
    ("POST", TENANTS, {"name": "b", "limits": {"documents": -1}}, 400, "limits.documents"),
    ("POST", TENANTS, {"name": "b", "limits": {"documents": "1"}}, 400, "limits.documents"),
    ("POST", TENANTS, {"name": "b", "weight": 0}, 400, "weight"),
    ("GET", f"{TENANTS}/nobody", None, 404, "name"),
    ("GET", f"{TENANTS}/%00", None, 404, "tenant_name"),
    ("POST", f"{TENANTS}/nobody/suspend", None, 404, "name"),
    ("POST", KEYS, {"tenant": "nobody"}, 404, "tenant"),
    ("POST", KEYS, {"tenant": "acme", "scopes": ["all"]}, 400, "scopes.0"),
    ("POST", KEYS, {"tenant": "acme", "scopes": []}, 400, "scopes"),
    ("POST", KEYS, {"tenant": "acme", "groups": ["\0"]}, 400, "groups.0"),
    ("POST", KEYS, {"tenant": "acme", "expires_at": 1}, 400, "expires_at"),
    ("GET", f"{KEYS}/nobodys", None, 404, "key_id"),
    ("DELETE", f"{KEYS}/nobodys", None, 404, "key_id"),
    ("POST", f"{KEYS}/nobodys/rotate", {"overlap_s": -1}, 400, "overlap_s"),
    ("GET", f"{KEYS}?tenant=nobody", None, 404, "tenant"),
    ("GET", "/admin/audit?after=nobodys", None, 404, "after"),
)


async def test_what_cannot_be_done_is_refused_with_the_field_at_fault(admin: Admin) -> None:
    for method, path, body, status, param in REFUSED:
        reply = await admin.call(method, path, body)
        assert (reply.status, reply.error["param"]) == (status, param), (path, body, reply.raw)


async def test_audit_is_listed_page_by_page_and_has_no_secret(admin: Admin) -> None:
    made = await admin.key()
    await admin.ask("DELETE", f"{KEYS}/{made['id']}")
    page = await admin.ask("GET", "/admin/audit?limit=2")
    assert [(each["actor"], each["act"]) for each in page["data"]] == [("admin", "key.revoke"), ("admin", "key.create")]
    assert page["has_more"]
    rest = await admin.ask("GET", f"/admin/audit?after={page['data'][-1]['id']}")
    assert [each["act"] for each in rest["data"]] == ["tenant.create"]
    assert made["key"].rpartition("-")[2] not in json.dumps([page, rest])


async def test_two_gateways_race_for_tenants_and_keys_and_every_act_is_in_the_trail(admin: Admin, start: Any) -> None:
    both = [admin, Admin(await start(api_key="secret", admin_key="admins"))]
    made = await asyncio.gather(*(both[n % 2].call("POST", TENANTS, {"name": "same"}) for n in range(8)))
    assert sorted(each.status for each in made) == [200, *[409] * 7]
    key = await both[0].ask("POST", KEYS, {"tenant": "same"})
    rotations = [both[n % 2].call("POST", f"{KEYS}/{key['id']}/rotate", {"overlap_s": n}) for n in range(6)]
    revocations = [both[n % 2].call("DELETE", f"{KEYS}/{key['id']}") for n in range(2)]
    raced = await asyncio.gather(*rotations, *revocations)
    assert {each.status for each in raced} <= {200, 409}
    secrets = [key["key"], *(each.json["key"] for each in raced[:6] if each.status == 200)]
    async with asyncio.timeout(60):
        for gateway in both:
            for secret in secrets:
                while await _status(gateway.fleet, secret) != 401:
                    await asyncio.sleep(0.05)
    trail = (await both[0].ask("GET", "/admin/audit?limit=1000"))["data"]
    acts = Counter(each["act"] for each in trail if each["subject"] in ("tenant:same", f"key:{key['id']}"))
    assert acts == Counter({"tenant.create": 1, "key.create": 1, "key.rotate": len(secrets) - 1, "key.revoke": 1}), (
        "what changed nothing is no act"
    )


async def test_whoever_is_no_administrator_is_refused(admin: Admin) -> None:
    made = await admin.key()
    for key in ("secret", made["key"]):
        assert await _status(admin.fleet, key, TENANTS) == 403
    other = await admin.key(scopes=["admin"])
    assert await _status(admin.fleet, other["key"], TENANTS) == 200
