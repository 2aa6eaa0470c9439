"""Passive outlier ejection: who misbehaves gets no new work for a while, and then has to prove itself.

    TRUSTED ──(failures)──▶ EJECTED ──(its time is over)──▶ PROBING ──(every probe succeeded)──▶ TRUSTED
                               ▲                               │
                               └───────(one probe failed)──────┘

A pure state machine in the manner of Envoy's outlier detection: time and chance are injected, nothing runs in the background,
and what depends on the time is worked out when it is asked for. Each dispatch takes a `DispatchPass` and reports on it. What
began before the latest ejection says nothing new and is not counted; that is how exactly N probes stay exactly N.
"""

import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateway.fleet.fleet_state import Clock
from gateway.fleet.outlier_states import DispatchOutcome, OutlierSettings, OutlierState, Standing, Transition
from gateway.fleet.view import FleetView

__all__ = [
    "DispatchOutcome",
    "DispatchPass",
    "OutlierDetector",
    "OutlierSettings",
    "OutlierState",
    "Standing",
    "Transition",
]

_TENTHS = 10


@dataclass(slots=True)
class _Record:
    """What is held of one instance."""

    epoch: int
    """Of its latest ejection; passes of an earlier one are not counted."""
    trusted_at: float
    state: OutlierState = OutlierState.TRUSTED
    reason: str = ""
    ejections: int = 0
    until: float = 0.0
    for_silence: bool = False
    silences: int = 0
    is_heard: bool = False
    """Its latest scrape was answered, or a request since."""
    failures: int = 0
    timeouts: int = 0
    probes_issued: int = 0
    probes_passed: int = 0
    probed_at: float = 0.0
    outcomes: deque[list[int]] = field(default_factory=lambda: deque(maxlen=_TENTHS))
    """[tenth of the window, outcomes, failed ones]"""

    def count(self, tenth: int, failed: bool) -> None:
        if not self.outcomes or self.outcomes[-1][0] != tenth:
            self.outcomes.append([tenth, 0, 0])
        self.outcomes[-1][1] += 1
        self.outcomes[-1][2] += failed

    def rate(self, tenth: int) -> tuple[int, int]:
        """(outcomes, failed ones) of the window that ends with `tenth`."""
        recent = [o for o in self.outcomes if o[0] > tenth - _TENTHS]
        return sum(o[1] for o in recent), sum(o[2] for o in recent)

    def enter(self, state: OutlierState, reason: str) -> None:
        """A new state begins with clean counters; silence goes on being silence."""
        self.state, self.reason = state, reason
        self.failures = self.timeouts = self.probes_issued = self.probes_passed = 0
        self.outcomes.clear()


class DispatchPass:
    """The right to send one request to an instance. Report at least once; the first report concludes a probe."""

    __slots__ = ("_detector", "_epoch", "_probe", "name")

    def __init__(self, detector: "OutlierDetector", name: str, epoch: int, *, probe: bool) -> None:
        self._detector = detector
        self._epoch = epoch
        self._probe = probe
        self.name = name

    def record(self, outcome: DispatchOutcome) -> None:
        """How it went. A stream reports SUCCESS at its first token and may report a failure later."""
        probe, self._probe = self._probe, False
        self._detector._reported(self.name, self._epoch, outcome, probe=probe)


class OutlierDetector:
    """Who may be given work, judged by what became of the work given before.

    `store.subscribe(detector.follow)` tells it the fleet; without, everyone it ever knew counts as the fleet.
    """

    def __init__(
        self,
        settings: OutlierSettings | None = None,
        clock: Clock = time.monotonic,
        *,
        on_transition: Callable[[Transition], None] = lambda _: None,
        rng: random.Random | None = None,
    ) -> None:
        self._settings = settings or OutlierSettings()
        self._clock = clock
        self._on_transition = on_transition
        self._rng = rng or random.Random()  # noqa: S311 - jitter, guards nothing
        self._epochs = itertools.count()
        self._records: dict[str, _Record] = {}
        self._doubted: dict[str, _Record] = {}  # those not in TRUSTED, so that the usual question costs nothing
        self._serving: frozenset[str] | None = None

    # Asking

    def try_acquire(self, name: str) -> DispatchPass | None:
        """A pass for one request, or None. Every pass must be reported on, or its probe is lost for `probe_patience_s`."""
        record, now = self._record(name), self._clock()
        if record.state is OutlierState.EJECTED and now >= record.until:
            self._move(name, OutlierState.PROBING, "its time is over")
        if record.state is OutlierState.TRUSTED:
            return DispatchPass(self, name, record.epoch, probe=False)
        if record.state is OutlierState.EJECTED or not self._has_probe(record, now):
            return None
        if record.probes_issued >= self._settings.probes:  # their reports were lost: begin again
            record.epoch = next(self._epochs)
            record.enter(OutlierState.PROBING, record.reason)
        record.probes_issued += 1
        record.probed_at = now
        return DispatchPass(self, name, record.epoch, probe=True)

    def ejected(self) -> Mapping[str, str]:
        """Who gets no work now, and why."""
        now = self._clock()
        return {n: r.reason for n, r in self._doubted.items() if r.state is OutlierState.EJECTED and now < r.until}

    def standing(self, name: str) -> Standing:
        """Where one instance stands."""
        record, now = self._records.get(name), self._clock()
        if record is None:
            return Standing(OutlierState.TRUSTED, "", 0.0, 0)
        if record.state is OutlierState.EJECTED and now < record.until:
            return Standing(OutlierState.EJECTED, record.reason, record.until - now, record.ejections)
        state = OutlierState.TRUSTED if record.state is OutlierState.TRUSTED else OutlierState.PROBING
        return Standing(state, record.reason, 0.0, self._ejections(record, now))

    # Telling

    def scraped(self, name: str, answered: bool) -> None:
        """Whether the instance answered a metric scrape.

        Enough silence ejects, and goes on doing so while it lasts; the first answer after it begins the probing at once.
        Of one that does not serve anyway (it restarts, it drains) silence is expected and says nothing.
        """
        record, limit = self._record(name), self._settings.consecutive_silences
        if not answered and not self._serves(name):
            record.silences, record.is_heard = 0, False
            return
        record.is_heard = answered
        if answered:
            record.silences = 0
            if record.state is OutlierState.EJECTED and record.for_silence:
                self._move(name, OutlierState.PROBING, "it answers again")
            return
        record.silences += 1
        if not 0 < limit <= record.silences:
            return
        if record.state is OutlierState.EJECTED:
            record.until = max(record.until, self._clock() + self._settings.base_ejection_s)
        else:
            self._eject(name, record, f"{record.silences} metric scrapes in a row unanswered", for_silence=True)
            self._let_work_who_is_needed()

    def follow(self, view: FleetView) -> None:
        """The fleet changed: who left is forgotten, and who serves bounds how many may be kept from work."""
        for name in self._records.keys() - view.members.keys():
            self.forget(name)
        self._serving = frozenset(m.instance.name for m in view.serving)
        self._let_work_who_is_needed()

    def forget(self, name: str) -> None:
        """It left the fleet; one of that name that comes later starts anew."""
        self._records.pop(name, None)
        self._doubted.pop(name, None)

    # The machine

    def _reported(self, name: str, epoch: int, outcome: DispatchOutcome, *, probe: bool) -> None:
        record = self._records.get(name)
        if record is None or epoch != record.epoch:
            return
        if record.state is OutlierState.TRUSTED and outcome is not DispatchOutcome.IGNORED:
            self._count(name, record, outcome)
        elif record.state is OutlierState.PROBING and (
            probe or outcome in (DispatchOutcome.FAILURE, DispatchOutcome.TIMEOUT)
        ):
            self._probed(name, record, outcome)

    def _probed(self, name: str, record: _Record, outcome: DispatchOutcome) -> None:
        if outcome is DispatchOutcome.IGNORED:
            record.probes_issued -= 1
        elif outcome is not DispatchOutcome.SUCCESS:
            self._eject(name, record, f"a probe failed ({outcome})")
        else:
            record.probes_passed += 1
            if record.probes_passed >= self._settings.probes:
                self._move(name, OutlierState.TRUSTED, f"{record.probes_passed} probes succeeded")

    def _count(self, name: str, record: _Record, outcome: DispatchOutcome) -> None:
        tenth = int(self._clock() / self._settings.window_s * _TENTHS)
        record.count(tenth, outcome is not DispatchOutcome.SUCCESS)
        if outcome is DispatchOutcome.SUCCESS:
            record.failures = record.timeouts = record.silences = 0
            record.is_heard = True
            return
        record.failures += 1
        record.timeouts = record.timeouts + 1 if outcome is DispatchOutcome.TIMEOUT else 0
        if reason := self._verdict(record, tenth):
            self._eject(name, record, reason)

    def _verdict(self, record: _Record, tenth: int) -> str:
        """Why to eject, or ""."""
        s = self._settings
        if record.timeouts >= s.consecutive_timeouts:
            return f"{record.timeouts} deadlines in a row missed"
        if record.failures >= s.consecutive_failures:
            return f"{record.failures} failures in a row"
        total, failed = record.rate(tenth)
        if total >= s.error_rate_least and failed >= s.error_rate * total:
            return f"{failed} of {total} requests failed within {s.window_s:g} s"
        return ""

    def _eject(self, name: str, record: _Record, reason: str, *, for_silence: bool = False) -> None:
        """Eject, unless too few others would be left to work."""
        now, s = self._clock(), self._settings
        if self._serves(name) and not self._can_be_spared(name, for_silence=for_silence):
            if record.state is OutlierState.PROBING:
                self._move(name, OutlierState.TRUSTED, f"{reason}, but too few others are left")
            return
        record.ejections = self._ejections(record, now)
        length = min(s.base_ejection_s * 2.0 ** min(record.ejections, 60), s.max_ejection_s)
        length *= 1 + s.jitter * self._rng.uniform(-1, 1)
        record.ejections += 1
        record.epoch = next(self._epochs)
        record.until = now + length
        record.for_silence = for_silence
        self._move(name, OutlierState.EJECTED, reason, length)

    def _move(self, name: str, after: OutlierState, reason: str, for_s: float = 0.0) -> None:
        record = self._records[name]
        before = record.state
        record.enter(after, reason)
        if after is OutlierState.TRUSTED:
            record.trusted_at = self._clock()
            del self._doubted[name]
        else:
            self._doubted[name] = record
        self._on_transition(Transition(name, before, after, reason, for_s))

    def _record(self, name: str) -> _Record:
        if name not in self._records:
            self._records[name] = _Record(next(self._epochs), self._clock())
        return self._records[name]

    def _has_probe(self, record: _Record, now: float) -> bool:
        lost = now - record.probed_at > self._settings.probe_patience_s
        return record.probes_issued < self._settings.probes or lost

    def _ejections(self, record: _Record, now: float) -> int:
        """Ejections not yet forgotten: one less for each `decay_s` of trust."""
        if record.state is not OutlierState.TRUSTED:
            return record.ejections
        return max(0, record.ejections - int((now - record.trusted_at) / self._settings.decay_s))

    def _serves(self, name: str) -> bool:
        return self._serving is None or name in self._serving

    def _kept_from_work(self) -> set[str]:
        """The serving ones that are ejected, or on probation, which takes hardly any work either."""
        return {name for name in self._doubted if self._serves(name)}

    def _can_be_spared(self, name: str, *, for_silence: bool) -> bool:
        """Whether enough others are left. Who is silent while others are heard is away, and nothing is won by asking it."""
        others = self._kept_from_work() - {name}
        if self._somebody_is_heard(besides=name):
            return for_silence or self._over_share(others) < 0
        return len(others) < self._allowed(self._serving_count())

    def _let_work_who_is_needed(self) -> None:
        """Those whose time is over first."""
        kept = self._kept_from_work()
        if self._somebody_is_heard():
            over = self._over_share(kept)
            kept = {name for name in kept if not self._records[name].for_silence}
        else:
            over = len(kept) - self._allowed(self._serving_count())
        for name in sorted(kept, key=lambda name: self._records[name].until)[: max(0, over)]:
            self._move(name, OutlierState.TRUSTED, "too few others are left")

    def _over_share(self, kept: set[str]) -> int:
        """How many more of these are kept from work than may be, the silent ones apart; less than 0: there is room."""
        silent = sum(self._records[name].for_silence for name in kept)
        return len(kept) - silent - self._allowed(self._serving_count() - silent)

    def _somebody_is_heard(self, besides: str = "") -> bool:
        """Of those that have work."""
        trusted = (name for name in self._records.keys() - self._doubted.keys() if self._serves(name))
        return any(self._records[name].is_heard for name in trusted if name != besides)

    def _serving_count(self) -> int:
        return len(self._records) if self._serving is None else len(self._serving)

    def _allowed(self, count: int) -> int:
        """How many of so many may be kept from work at once."""
        return max(0, min(count - 1, max(1, int(self._settings.max_ejected_fraction * count))))
