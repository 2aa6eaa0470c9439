"""Each route wants a scope, and a key without it is refused: every route of the gateway with a key of every scope."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

from gateway.api import authentication
from gateway.api.dependencies import RequiredScope
from gateway.app import create_app
from gateway.knowledge.catalog.administration import TenantSettings
from gateway.tenants.key import Scope
from tests.support.running import Fleet

WITHOUT_A_KEY = {"/health", "/health/live", "/health/ready", "/metrics", "/fleet", "/ui", "/ui/{name}"}
"""For load balancers and operators; HAProxy lets only /v1 and /health/live through."""


@pytest.fixture
async def fleet(start: Any, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    monkeypatch.setattr(authentication, "LONGEST_S", 0.0)  # every path is asked without a key
    running: Fleet = await start(api_key="secret", admin_key="admins")
    return running


def _routes(app: FastAPI) -> Iterator[tuple[str, str, frozenset[Scope]]]:
    """Method, path and the scopes of which a key needs one; none for a route that asks for no scope."""
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, APIRoute):
            wanted = [each.call.scopes for each in _all(route.dependant) if isinstance(each.call, RequiredScope)]
            for method in route.methods or ():
                yield method, str(route.path), frozenset(scope for scopes in wanted for scope in scopes)


def _all(dependant: Dependant) -> Iterator[Dependant]:
    for each in dependant.dependencies:
        yield each
        yield from _all(each)


async def test_each_route_lets_in_the_keys_with_its_scope_and_no_others(fleet: Fleet) -> None:
    administrator = fleet.gateway.administration.by("cli:a test")
    await administrator.create_tenant("acme", TenantSettings())
    keys = {scope: (await administrator.create_key("acme", scopes=[scope]))[1].text for scope in Scope}
    routes = list(_routes(create_app(fleet.gateway)))
    assert {path for _, path, scopes in routes if not scopes} == WITHOUT_A_KEY, "each other route declares a scope"
    for method, path, scopes in routes:
        if not scopes:
            continue
        url = re.sub(r"{[^}]*}", "nobodys", path)
        for scope, key in keys.items():
            async with fleet.http.request(method, url, headers={"authorization": f"Bearer {key}"}) as response:
                body = await response.text()
                refused = (response.status, "insufficient_permissions" in body)
            assert (refused == (403, True)) == (scope not in scopes), (method, path, scope, response.status, body)
            assert response.status != 401
            assert response.status < 500 or response.status == 503, (method, path, scope, body)
        async with fleet.http.request(method, url) as response:
            assert response.status == 401, (method, path)


async def test_refusal_has_openais_shape_and_says_what_is_missing(fleet: Fleet) -> None:
    reply = await fleet.chat(headers={"authorization": "Bearer admins"})
    assert reply.status == 403
    assert reply.json == {
        "error": {
            "message": "You have insufficient permissions for this operation. Missing scope: 'chat'.",
            "type": "invalid_request_error",
            "param": None,
            "code": "insufficient_permissions",
        }
    }
