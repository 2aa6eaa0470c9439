"""Roll-outs in SQL: one runs at a time, gateways add up what they saw, and a verdict ends it once, with an audit record."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import BadRequest, Conflict, NotFound
from gateway.knowledge.catalog.audit import AuditTrail
from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.rollouts import Rollouts
from gateway.rollouts.evidence import Evidence
from gateway.rollouts.judge import JudgeOptions
from gateway.rollouts.rollout import Rollout, RolloutState

GOOD = Evidence(candidate_requests=300, baseline_requests=3000, mirrored=150, timed=150)


@pytest.fixture
def trail(catalog: Catalog, tmp_path: Path) -> AuditTrail:
    return AuditTrail(catalog.database, tmp_path / "audit.jsonl")


@pytest.fixture
def rollouts(catalog: Catalog, trail: AuditTrail) -> Rollouts:
    return Rollouts(catalog.database, trail)


async def begun(rollouts: Rollouts, candidate: str = "2.0") -> Rollout:
    return await rollouts.start(
        candidate, share=0.05, tenants=["b", "a"], options=JudgeOptions(may_differ=0.25), actor="cli:a test"
    )


async def test_what_is_started_is_what_counts(rollouts: Rollouts) -> None:
    assert (await rollouts.newest(), await rollouts.revision()) == (None, 0)
    made = await begun(rollouts)
    assert await rollouts.newest() == made
    assert await rollouts.revision() == 1
    assert (made.tenants, made.options.may_differ) == ({"a", "b"}, 0.25)
    with pytest.raises(Conflict):
        await begun(rollouts, "3.0")
    for share in (0, -0.1, 0.51, 1):
        with pytest.raises(BadRequest):
            await rollouts.start("2.0", share=share, tenants=[], options=JudgeOptions(), actor="x")


async def test_evidence_is_added_up_over_gateways_and_counts_once(rollouts: Rollouts) -> None:
    made = await begun(rollouts)
    for _ in range(3):
        await rollouts.report(made.id, "one", Evidence(candidate_requests=5, first_token_logs=0.5))
    found = await rollouts.report(made.id, "two", Evidence(candidate_requests=2, candidate_errors=1))
    assert found == await rollouts.newest()
    assert found is not None
    assert found.evidence == Evidence(candidate_requests=7, candidate_errors=1, first_token_logs=0.5)
    assert await rollouts.revision() == 1


@pytest.mark.parametrize(
    ("evidence", "state", "act"),
    [
        (GOOD, RolloutState.PROMOTED, "rollout.promote"),
        (
            Evidence(candidate_requests=60, candidate_errors=20, baseline_requests=600),
            RolloutState.ROLLED_BACK,
            "rollout.roll_back",
        ),
    ],
)
async def test_a_verdict_ends_it_once_with_its_evidence(
    rollouts: Rollouts, trail: AuditTrail, clock: Any, tmp_path: Path, evidence: Evidence, state: RolloutState, act: str
) -> None:
    made = await begun(rollouts)
    clock.now += 60
    told = await asyncio.gather(*(rollouts.report(made.id, f"gateway-{each}", evidence) for each in range(4)))
    assert {each.state for each in told if each} == {state}
    ended = await rollouts.newest()
    assert ended is not None
    assert ended.reason
    assert ended.ended_at is not None
    assert await rollouts.revision() == 2
    last, first = await trail.list(limit=10)
    assert (last.act, first.act) == (act, "rollout.start")
    assert last.actor.startswith("gateway:gateway-")
    assert last.after is not None
    assert last.before is not None
    changed = {name for name in last.after if last.after[name] != last.before[name]}
    assert changed - {"reason"} == {"state", "ended_at"}  # what was seen stands beside it and is the same
    assert last.after["measures"][0]["name"] == "errors"
    assert last.after["evidence"]["candidate_requests"] == evidence.candidate_requests
    written = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [each["act"] for each in written] == ["rollout.start", act]


async def test_what_a_person_says(rollouts: Rollouts) -> None:
    with pytest.raises(NotFound):
        await rollouts.end(RolloutState.ABORTED, actor="x")
    made = await begun(rollouts)
    assert (await rollouts.end(RolloutState.ABORTED, actor="cli:me")).reason == "by cli:me"
    late = await rollouts.report(made.id, "one", GOOD)
    assert late is not None
    assert (late.state, late.evidence) == (RolloutState.ABORTED, Evidence())
    assert (await rollouts.end(RolloutState.PROMOTED, actor="cli:me")).state is RolloutState.PROMOTED
    with pytest.raises(Conflict):
        await rollouts.end(RolloutState.ABORTED, actor="cli:me")
    again = await begun(rollouts)
    assert (await rollouts.newest()) == again
    assert (await rollouts.report(made.id, "one", GOOD)) == again
