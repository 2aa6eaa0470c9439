"""Consul and the identity provider are away: the table "When something is away" of docs/tenants.md, the lines of these two."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from gateway.api import authentication
from gateway.fleet.discovery import ConsulDiscovery
from gateway.tenants import jwks, quota_client
from gateway.tenants.jwks import KEEP_S
from tests.support.running import Fleet

ADMIN, CONFIGURED = "admins", "secret"
NOON = 1_700_049_600.0
"""No minute begins while a test runs."""
NOBODY = "http://127.0.0.1:9"
"""The port of a service that no machine has any more."""
OLD, NEW = (RSAKey.generate_key(2048, {"kid": name}, auto_kid=False) for name in ("old", "new"))


def _bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong keys are not what is tried; a busy machine may take its time for a lease."""
    monkeypatch.setattr(authentication, "LONGEST_S", 0.0)
    monkeypatch.setattr(quota_client, "STEP_S", 60.0)


async def _until(holds: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, f"not within a minute: {what}"
        await asyncio.sleep(0.01)


# Consul


@asynccontextmanager
async def _without_consul(fleet: Fleet) -> AsyncIterator[None]:
    """The gateway's own reader of Consul, and nobody whom it could read."""
    store = fleet.gateway.store
    store.set_source_alive(True)
    task = asyncio.create_task(ConsulDiscovery(NOBODY, store=store).run())
    try:
        await _until(lambda: not store.view.source_alive, "it is noticed that Consul is away")
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_without_consul_keys_and_limits_are_as_ever(start: Any) -> None:
    fleet: Fleet = await start(api_key=CONFIGURED, admin_key=ADMIN)
    fleet.gateway.quotas._client.now = lambda: NOON
    async with _without_consul(fleet):
        assert (await fleet.chat(headers=_bearer(CONFIGURED))).status == 200
        limits = {"requests_per_minute": 3}
        made = await fleet.post({"name": "acme", "limits": limits}, path="/admin/tenants", headers=_bearer(ADMIN))
        assert made.status == 200, made.raw
        key = (await fleet.post({"tenant": "acme"}, path="/admin/keys", headers=_bearer(ADMIN))).json
        asked = [(await fleet.chat(headers=_bearer(key["key"]))).status for _ in range(4)]
        assert asked == [200, 200, 200, 429]
        gone = await fleet.http.delete(f"/admin/keys/{key['id']}", headers=_bearer(ADMIN))
        assert gone.status == 200, await gone.text()
        assert (await fleet.chat(headers=_bearer(key["key"]))).status == 401
        assert not fleet.gateway.store.view.source_alive


# The identity provider


class Provider:
    """It has a key, and is away where that is said."""

    def __init__(self) -> None:
        self.url = ""
        self.key = OLD
        self.away = False
        self.refused = 0
        """Questions that came while it was away."""

    def token(self, key: RSAKey) -> str:
        """A good one that this key has signed."""
        now = int(time.time())
        claims = {"iss": self.url, "aud": "ragfleet", "sub": "ann", "iat": now, "exp": now + 3600}
        header = {"alg": "RS256", "kid": key.kid}
        return jwt.encode(header, {**claims, "tenant": "acme", "scope": "chat"}, key, algorithms=["RS256"])

    async def keys(self, _: web.Request) -> web.Response:
        """Its JWKS."""
        if self.away:
            self.refused += 1
            raise web.HTTPServiceUnavailable
        return web.json_response(KeySet([self.key]).as_dict(private=False))


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    made = Provider()
    app = web.Application()
    app.router.add_get("/keys", made.keys)
    async with TestServer(app, host="127.0.0.1") as server:
        made.url = str(server.make_url("")).rstrip("/")
        yield made


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider is asked again soon."""
    monkeypatch.setattr(jwks, "LEAST_S", 0.02)
    monkeypatch.setattr(jwks, "WAIT_S", 60.0)


async def test_without_the_identity_provider_its_keys_are_good_for_a_day(
    start: Any, provider: Provider, often: None, tmp_path: Any
) -> None:
    (tmp_path / "tenants.yaml").write_text("tenants: [{name: acme, keys: [acme-key]}]")
    settings = {"tenants_file": tmp_path / "tenants.yaml", "oidc_issuer": provider.url, "oidc_audience": "ragfleet"}
    fleet: Fleet = await start(**settings, oidc_jwks_url=f"{provider.url}/keys")
    late_s = 0.0
    assert fleet.gateway.tokens is not None
    known = fleet.gateway.tokens.jwks
    known._clock = lambda: time.monotonic() + late_s

    async def asked(key: RSAKey) -> int:
        reply = await fleet.chat(headers=_bearer(provider.token(key)))
        assert reply.status != 503 or int(reply.headers["retry-after"]) >= 1
        return reply.status

    assert await asked(OLD) == 200
    provider.away, provider.key = True, NEW
    while not provider.refused:  # it is asked for a key that is not known, but not where it was asked just now
        assert [await asked(OLD), await asked(NEW)] == [200, 401], "a new key is not learned"
    late_s = KEEP_S - 600
    assert await asked(OLD) == 200
    late_s = KEEP_S + 600
    assert await asked(OLD) == 503
    assert (await fleet.chat(headers=_bearer("acme-key"))).status == 200, "keys do not depend on it"
    before, provider.away = known._fetched_at, False
    await _until(lambda: known._fetched_at > before, "its keys are fetched")
    assert [await asked(NEW), await asked(OLD)] == [200, 401]
