"""A roll-out, as the catalog has it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from gateway.rollouts.evidence import Evidence
from gateway.rollouts.judge import JudgeOptions, Verdict, judge


class RolloutState(StrEnum):
    """Where a roll-out stands."""

    RUNNING = "running"
    PROMOTED = "promoted"
    """The candidate is placed like every other version."""
    ROLLED_BACK = "rolled_back"
    """The candidate gets nothing as long as anybody else serves."""
    ABORTED = "aborted"
    """As ROLLED_BACK, by a person's word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One candidate against all other instances of the fleet."""

    id: str
    candidate: str
    """A version or an engine, as instances register it."""
    share: float
    """Of the requests, 0–0.5."""
    tenants: frozenset[str] = frozenset()
    """Whose requests may go to the candidate; empty: everybody's."""
    options: JudgeOptions = field(default_factory=JudgeOptions)
    state: RolloutState = RolloutState.RUNNING
    reason: str = ""
    """Why it ended, in words."""
    started_at: float
    ended_at: float | None = None
    """Unix seconds, both."""
    evidence: Evidence = field(default_factory=Evidence)
    """What all gateways have reported."""

    def selects(self, version: str, engine: str) -> bool:
        """Whether an instance that registered so is of the candidate."""
        return self.candidate in (version, engine)

    @property
    def running(self) -> bool:
        """Whether it is still to be decided."""
        return self.state is RolloutState.RUNNING


END_OF_VERDICT: Mapping[Verdict, RolloutState] = {
    Verdict.PROMOTE: RolloutState.PROMOTED,
    Verdict.ROLL_BACK: RolloutState.ROLLED_BACK,
}


def read_options(stored: Mapping[str, Any]) -> JudgeOptions:
    """Out of the catalog; what a later version may have added is left out."""
    return JudgeOptions(**{each.name: stored[each.name] for each in fields(JudgeOptions) if each.name in stored})


def describe(rollout: Rollout) -> dict[str, Any]:
    """For operators and the audit trail."""
    judgement = judge(rollout.evidence, rollout.options)
    return {
        "id": rollout.id,
        "candidate": rollout.candidate,
        "share": rollout.share,
        "tenants": sorted(rollout.tenants),
        "state": rollout.state.value,
        "reason": rollout.reason or judgement.reason,
        "started_at": rollout.started_at,
        "ended_at": rollout.ended_at,
        "measures": [asdict(each) for each in judgement.measures],
        "evidence": asdict(rollout.evidence),
        "options": asdict(rollout.options),
    }
