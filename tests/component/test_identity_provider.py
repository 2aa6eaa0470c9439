"""Tokens of an identity provider: a key pair made here, its public half served here, and what is let in."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey

from gateway.api import authentication
from gateway.config import Settings
from gateway.environment import ConfigError
from gateway.tenants import jwks
from gateway.tenants.oidc import TokenRules
from tests.support.replies import Reply
from tests.support.running import Fleet

KEY = RSAKey.generate_key(2048, {"kid": "one"}, auto_kid=False)
ANOTHER = RSAKey.generate_key(2048, {"kid": "another"}, auto_kid=False)
TENANTS = "tenants: [{name: acme, keys: [acme-key]}]"


@dataclass
class Provider:
    """An identity provider."""

    url: str = ""
    keys: list[Any] = field(default_factory=lambda: [KEY])
    asked: int = 0

    def token(self, key: Any = None, *, algorithm: str = "RS256", kid: str = "", **claims: Any) -> str:
        """A good one, but for what is said."""
        key = self.keys[0] if key is None else key
        now = int(time.time())
        good = {"iss": self.url, "aud": "ragfleet", "sub": "ann", "iat": now, "exp": now + 300, "tenant": "acme"}
        given = {**good, "scope": "openid chat knowledge:read", "groups": ["hr"], **claims}
        header = {"alg": algorithm, "kid": kid or key.kid}
        return jwt.encode(
            header, {name: value for name, value in given.items() if value is not None}, key, algorithms=[algorithm]
        )


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    made = Provider()

    async def discovery(_: web.Request) -> web.Response:
        return web.json_response({"issuer": made.url, "jwks_uri": f"{made.url}/keys"})

    async def keys(_: web.Request) -> web.Response:
        made.asked += 1
        return web.json_response(KeySet(list(made.keys)).as_dict(private=False))

    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", discovery)
    app.router.add_get("/keys", keys)
    async with TestServer(app, host="127.0.0.1") as server:
        made.url = str(server.make_url("")).rstrip("/")
        yield made


@pytest.fixture
async def begin(start: Any, tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(authentication, "LONGEST_S", 0.0)
    (tmp_path / "tenants.yaml").write_text(TENANTS)

    async def run() -> Fleet:
        running: Fleet = await start(
            tenants_file=tmp_path / "tenants.yaml", oidc_issuer=provider.url, oidc_audience="ragfleet"
        )
        return running

    return run


@pytest.fixture
async def fleet(begin: Any) -> Fleet:
    running: Fleet = await begin()
    return running


async def ask(fleet: Fleet, token: str, path: str = "/v1/models") -> Reply:
    return await fleet.get(path, headers={"authorization": f"Bearer {token}"})


async def test_token_brings_tenant_scopes_and_groups(fleet: Fleet, provider: Provider) -> None:
    assert (await ask(fleet, provider.token())).status == 200
    assert (await ask(fleet, provider.token(aud=["other", "ragfleet"], scope=["chat"]))).status == 200
    assert (await ask(fleet, provider.token(scope="chat"), "/v1/files")).status == 403
    assert (await ask(fleet, provider.token(scope=None))).status == 403
    assert (await ask(fleet, provider.token(), "/admin/tenants")).status == 403
    assert fleet.gateway.tokens is not None
    tenant = await fleet.gateway.tokens.tenant_of(provider.token())
    assert (tenant.name, tenant.key.id, tenant.key.groups) == ("acme", "oidc:ann", {"hr"})
    assert {str(each) for each in tenant.key.scopes} == {"chat", "knowledge:read"}
    odd = await fleet.gateway.tokens.tenant_of(provider.token(groups=["hr", "Human Resources", '"] or true']))
    assert odd.key.groups == {"hr"}
    without = await fleet.gateway.tokens.tenant_of(provider.token(groups=None))
    assert without.key.groups == frozenset(), "no group is not every group"
    assert (await fleet.chat(headers={"authorization": f"Bearer {provider.token()}"})).status == 200
    assert (await ask(fleet, "acme-key")).status == 200, "keys are as good as before"


MISFITS: tuple[dict[str, Any], ...] = (
    {"iss": "https://elsewhere.example"},
    {"iss": None},
    {"aud": "other"},
    {"aud": None},
    {"aud": 5},
    {"exp": 1},
    {"exp": None},
    {"exp": "tomorrow"},
    {"nbf": 2**40},
    {"iat": 2**40},
    {"sub": None},
    {"sub": "a\0"},
    {"tenant": "nobody"},
    {"tenant": None},
    {"tenant": ["acme"]},
    {"groups": "x" * 200},
    {"groups": [5]},
    {"groups": {"hr": True}},
    {"scope": [["chat"]]},
)


async def test_token_that_does_not_fit_is_refused(fleet: Fleet, provider: Provider) -> None:
    for claims in MISFITS:
        reply = await ask(fleet, provider.token(**claims))
        assert (reply.status, reply.error["code"]) == (401, "invalid_api_key"), (claims, reply.raw)


async def test_signature_of_anybody_else_is_refused(fleet: Fleet, provider: Provider) -> None:
    good = provider.token()
    forged = provider.token(ANOTHER, kid="one")
    head, body, signature = good.split(".")
    other_body = provider.token(sub="eve").split(".")[1]
    shared = OctKey.import_key({"kty": "oct", "k": KEY.as_dict(private=False)["n"]})
    confused = provider.token(shared, algorithm="HS256", kid="one")
    unsigned = "eyJhbGciOiJub25lIn0." + body + "."
    for token in (
        forged,
        f"{head}.{other_body}.{signature}",
        confused,
        unsigned,
        f"{head}.{body}.",
        "eyJ..",
        good + "x",
    ):
        assert (await ask(fleet, token)).status == 401, token
    strange = provider.token(ECKey.generate_key("P-256"), algorithm="ES256", kid="one")
    assert (await ask(fleet, strange)).status == 401
    assert (await ask(fleet, "eyJ" + "a" * 20_000 + ".b.c")).status == 401


async def test_key_that_nobody_has_does_not_make_us_ask_again_and_again(fleet: Fleet, provider: Provider) -> None:
    assert (await ask(fleet, provider.token())).status == 200
    for _ in range(5):
        assert (await ask(fleet, provider.token(ANOTHER))).status == 401
    assert provider.asked == 1


async def test_new_key_of_the_provider_is_fetched_when_a_token_names_it(
    begin: Any, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "LEAST_S", 0.0)
    fleet = await begin()
    assert (await ask(fleet, provider.token())).status == 200
    provider.keys = [ECKey.generate_key("P-256", {"kid": "two"}, auto_kid=False)]
    assert (await ask(fleet, provider.token(algorithm="ES256"))).status == 200
    assert (await ask(fleet, provider.token(KEY))).status == 401, "the provider does not have it any more"


async def test_without_the_providers_keys_tokens_are_refused_for_now(
    begin: Any, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = provider.token()
    provider.keys = []
    monkeypatch.setattr(jwks, "WAIT_S", 0.05)
    fleet = await begin()
    reply = await ask(fleet, token)
    assert reply.status == 503
    assert "retry-after" in reply.headers
    assert (await ask(fleet, "acme-key")).status == 200


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"oidc_audience": ""}, "OIDC_AUDIENCE"),
        ({"oidc_algorithms": "HS256"}, "OIDC_ALGORITHMS"),
        ({"oidc_algorithms": "none"}, "OIDC_ALGORITHMS"),
        ({"oidc_algorithms": ""}, "OIDC_ALGORITHMS"),
        ({"oidc_issuer": "http://id.example.com"}, "https"),
        ({"oidc_jwks_url": "file:///etc/passwd"}, "https"),
    ],
)
def test_settings_that_would_let_in_anybody_are_refused(changes: dict[str, str], words: str) -> None:
    good = {"oidc_issuer": "https://id.example.com", "oidc_audience": "ragfleet"}
    TokenRules.from_settings(Settings(**good))
    with pytest.raises(ConfigError, match=words):
        TokenRules.from_settings(Settings(**(good | changes)))
