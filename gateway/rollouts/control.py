"""A gateway's own part of a roll-out: which side a request goes to, and what was seen of it since the catalog was last told."""

import time
from collections.abc import Callable
from copy import copy
from enum import StrEnum

from gateway.rollouts.evidence import Evidence, MirroredAnswer
from gateway.rollouts.judge import Judgement, JudgeOptions, Verdict, judge
from gateway.rollouts.rollout import Rollout, RolloutState
from gateway.rollouts.traffic_split import TrafficSplit

ONE_DEATH_S = 1.0
"""What dies with an instance within so many seconds is one error."""


class Side(StrEnum):
    """Where a request belongs while there is a roll-out."""

    CANDIDATE = "candidate"
    BASELINE = "baseline"


class RolloutControl:
    """One for the life of the application; `sync` keeps it as the catalog is."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: monotonic seconds."""
        self._clock = clock
        self._split = TrafficSplit(0)
        self._died_at: dict[str, float] = {}
        self._others = Evidence()
        """What the other gateways had reported when the catalog was last asked."""
        self.rollout: Rollout | None = None
        """The newest; None where there never was one."""
        self.own = Evidence()
        """What this gateway saw of it."""
        self.stopped = False
        """Whether the candidate is kept out here, by what is known here, until the catalog can be told."""

    def follow(self, rollout: Rollout | None, reported: Evidence | None = None) -> None:
        """The catalog has this now. reported: of `own`, what is in its evidence."""
        if rollout is None or self.rollout is None or rollout.id != self.rollout.id:
            self._split = TrafficSplit(0 if rollout is None else rollout.share)
            self._died_at.clear()
            self.own = Evidence()
        self.rollout = rollout
        if rollout is not None:
            self._others = copy(rollout.evidence)
            if reported is not None:
                self._others.subtract(reported)
        self.stopped = False

    def lose(self) -> None:
        """The catalog does not answer. The traffic stays split, but what is clear from here stops the candidate here."""
        if self.running and self.judgement.verdict is Verdict.ROLL_BACK:
            self.stopped = True

    @property
    def idle(self) -> bool:
        """Whether all instances are alike."""
        return self.rollout is None or self.rollout.state is RolloutState.PROMOTED

    @property
    def running(self) -> bool:
        """Whether a candidate is being tried."""
        return self.rollout is not None and self.rollout.running

    @property
    def mirrors(self) -> bool:
        """Whether mirrored requests are of use still."""
        if self.rollout is None or not self.rollout.running or self.stopped:
            return False
        return self._others.mirrored + self.own.mirrored < self.rollout.options.most_mirrored

    @property
    def judgement(self) -> Judgement:
        """What everything that is known here says."""
        options = JudgeOptions() if self.rollout is None else self.rollout.options
        return judge(Evidence.total([self._others, self.own]), options)

    def takes_part(self, tenant: str) -> bool:
        """Whether this tenant's requests may go to the candidate, and are counted."""
        if self.rollout is None or not self.rollout.running:
            return False
        return not self.rollout.tenants or tenant in self.rollout.tenants

    def side(self, tenant: str, conversation: int, *, begins: bool) -> Side | None:
        """Where a request goes; None: anywhere. See TrafficSplit for `conversation` and `begins`."""
        if self.idle:
            return None
        if self.stopped or not self.takes_part(tenant):
            return Side.BASELINE
        return Side.CANDIDATE if self._split.take(conversation, begins=begins) else Side.BASELINE

    def selects(self, version: str, engine: str) -> bool:
        """Whether an instance that registered so is of the candidate."""
        return self.rollout is not None and self.rollout.selects(version, engine)

    def still(self, side: Side | None) -> Side | None:
        """What has become of a side that a request was given before."""
        if side is None or self.idle:
            return None
        return side if self.running and not self.stopped else Side.BASELINE

    def record(self, *, candidate: bool, failed: bool, death_of: str = "") -> None:
        """An attempt at an instance is over. death_of: the instance, where it seems to have died."""
        if not self.running:
            return
        if death_of:
            now = self._clock()
            last = self._died_at.get(death_of)
            if last is not None and now - last < ONE_DEATH_S:
                return
            self._died_at[death_of] = now
        self.own.request(candidate=candidate, failed=failed)

    def mirror(self, candidate: MirroredAnswer, first: MirroredAnswer, second: MirroredAnswer) -> None:
        """A mirrored request was answered by all three."""
        if self.running:
            self.own.mirror(candidate, first, second)
