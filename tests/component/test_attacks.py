"""The short form of `make attack`: every body and head, and smaller crowds, against a gateway over instances that are fake."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from yarl import URL

from gateway.api import http_protocol
from tests.support.attacks import BODIES, CROWDS, GENERATION, HEADS, Attack, Target, launch
from tests.support.running import EMBEDDING, MODEL, Fleet

Start = Callable[..., Any]
pytestmark = pytest.mark.timeout(300)


def target(fleet: Fleet) -> Target:
    url = URL(fleet.url)
    assert url.port is not None
    return Target(url.port, "secret", MODEL, EMBEDDING)


@pytest.fixture
async def fleet(start: Start, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    monkeypatch.setattr(http_protocol, "SWEEP_S", 0.02)
    monkeypatch.setattr(http_protocol, "LINGER_S", 0.1)
    running: Fleet = await start(api_key="secret", header_deadline_s=0.5, body_grace_s=0.5, max_context=8192)
    return running


@pytest.mark.parametrize("attack", [*BODIES, *GENERATION, *HEADS], ids=lambda attack: attack.name)
async def test_it_is_refused_and_everybody_else_is_served(fleet: Fleet, attack: Attack) -> None:
    fleet.says("Thirty days.")
    other = asyncio.ensure_future(fleet.chat(headers={"Authorization": "Bearer secret"}))
    (outcome,) = await launch(attack, target(fleet))
    assert outcome.withstood or outcome.status in attack.expected, outcome
    assert (await other).status == 200
    assert (await fleet.get("/health/live")).status == 200
    assert not fleet.gateway.detector.ejected()


@pytest.mark.parametrize("attack", CROWDS, ids=lambda attack: attack.name)
async def test_a_crowd_is_cut_off(fleet: Fleet, attack: Attack) -> None:
    outcomes = await launch(replace(attack, connections=12), target(fleet))
    assert all(outcome.withstood for outcome in outcomes), outcomes
    assert (await fleet.chat(headers={"Authorization": "Bearer secret"})).status == 200
    assert not fleet.gateway.detector.ejected()
