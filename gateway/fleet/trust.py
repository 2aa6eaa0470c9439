"""Passive outlier ejection: who misbehaves gets no new work for a while, and then has to prove itself.

    TRUSTED ──(failures)──▶ EJECTED ──(its time is over)──▶ PROBING ──(every probe succeeded)──▶ TRUSTED
                               ▲                               │
                               └───────(one probe failed)──────┘

A pure state machine: the time and the chance are injected, nothing runs in the background; a state that depends on the time
is worked out when it is asked for. Each dispatch takes a `Pass` and reports on it. A pass from before the latest ejection
says nothing new and is not counted; that is how exactly N probes stay exactly N.
"""

import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.fleet.store import Clock
from gateway.fleet.view import FleetView


class Outcome(StrEnum):
    """How a dispatch ended, as far as the instance is concerned."""

    SUCCESS = "success"
    """It gave what was asked: a first token is enough to say so."""
    FAILURE = "failure"
    """Refused connection, reset, 5xx, an error of the engine."""
    TIMEOUT = "timeout"
    """A deadline was missed: connect, first token or between tokens."""
    IGNORED = "ignored"
    """Nothing is known: the client's own error (4xx), a client that left, a full queue, a drain. Frees the probe."""


class State(StrEnum):
    TRUSTED = "trusted"
    EJECTED = "ejected"
    PROBING = "probing"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustSettings:
    """When an instance is ejected, and how it comes back."""

    consecutive_failures: int = 3
    """FAILUREs and TIMEOUTs in a row, of any request, that eject. Lower: faster isolation, more ejections by bad luck."""
    consecutive_timeouts: int = 2
    """TIMEOUTs in a row that eject; each has cost a client a whole deadline, so fewer are borne."""
    consecutive_silences: int = 3
    """Unanswered metric scrapes in a row that eject (`heard`), which finds a hung idle instance without any request.
    Isolation takes about this × (scrape period + deadline). Lower: faster; a busy machine may then look hung. 0: never."""
    error_rate: float = 0.5
    """Share of failed outcomes within the window that ejects, 0–1. Above 1: never."""
    error_rate_least: int = 10
    """Outcomes that the window must hold before its rate counts. Raising it waits for better evidence."""
    window_s: float = 10.0
    """Seconds of the window of the error rate."""
    base_ejection_s: float = 2.0
    """Seconds of the first ejection; the n-th lasts min(base · 2^(n-1), max), ± jitter."""
    max_ejection_s: float = 60.0
    """Seconds of the longest ejection. Raising it spares clients more probes of a broken instance, and delays its return."""
    jitter: float = 0.1
    """Share by which an ejection is randomly longer or shorter, so that many gateways do not probe together."""
    decay_s: float = 30.0
    """Seconds of trust that forget one earlier ejection. Raising it punishes flapping for longer."""
    probes: int = 3
    """Requests let through after an ejection: exactly so many, all of which must succeed. Raising it asks for better proof
    and risks as many more requests."""
    max_ejected_fraction: float = 0.5
    """Share of the serving members that may be ejected at once: max(1, floor(share · n)) but never all n. When most of a
    fleet fails the cause is elsewhere, and sending everything to the rest would finish it."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of state, for logs and metrics."""

    name: str
    before: State
    after: State
    reason: str
    for_s: float = 0.0
    """How long an ejection lasts."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an instance stands now, for people."""

    state: State
    reason: str
    remaining_s: float
    """Seconds until an ejected one is probed."""
    ejections: int
    """Earlier ejections not yet forgotten: the exponent of the next one's length."""


class Pass:
    """The right to send one request to an instance. Report once or more; the first report concludes a probe."""

    __slots__ = ("_epoch", "_probe", "_trust", "name")

    def __init__(self, trust: "Trust", name: str, epoch: int, *, probe: bool) -> None:
        self._trust = trust
        self.name = name
        self._epoch = epoch
        self._probe = probe

    def record(self, outcome: Outcome) -> None:
        """How it went. A stream reports SUCCESS at its first token and may still report a failure later."""
        probe, self._probe = self._probe, False
        self._trust._reported(self.name, self._epoch, outcome, probe=probe)


class _Record:
    """What is held of one instance."""

    __slots__ = (
        "epoch",
        "failures",
        "level",
        "outcomes",
        "probes_issued",
        "probes_passed",
        "reason",
        "silences",
        "state",
        "timeouts",
        "trusted_at",
        "until",
    )

    def __init__(self, now: float) -> None:
        self.state = State.TRUSTED
        self.reason = ""
        self.epoch = 0  # grows with each ejection
        self.level = 0  # ejections not yet forgotten
        self.trusted_at = now
        self.until = 0.0
        self.probes_issued = self.probes_passed = 0
        self.outcomes: deque[tuple[float, bool]] = deque(maxlen=1000)
        self.failures = self.timeouts = self.silences = 0

    def clear(self) -> None:
        self.outcomes.clear()
        self.failures = self.timeouts = self.silences = 0
        self.probes_issued = self.probes_passed = 0


class Trust:
    """Who may be given work, judged by what became of the work given before."""

    def __init__(
        self,
        settings: TrustSettings | None = None,
        clock: Clock = time.monotonic,
        *,
        on_transition: Callable[[Transition], None] = lambda _: None,
        rng: random.Random | None = None,
    ) -> None:
        self._settings = settings or TrustSettings()
        self._clock = clock
        self._on_transition = on_transition
        self._rng = rng or random.Random()  # noqa: S311 - jitter, guards nothing
        self._records: dict[str, _Record] = {}
        self._serving: frozenset[str] = frozenset()

    # Asking

    def admits(self, name: str) -> bool:
        """Whether `try_acquire` would give a pass now. Changes nothing."""
        record = self._records.get(name)
        if record is None or record.state is State.TRUSTED:
            return True
        if record.state is State.EJECTED:
            return self._clock() >= record.until
        return record.probes_issued < self._settings.probes

    def try_acquire(self, name: str) -> Pass | None:
        """A pass for one request, or None. Every pass must be reported on, or its probe is lost."""
        record = self._record(name)
        if record.state is State.EJECTED and self._clock() >= record.until:
            self._probe(name, record, "its time is over")
        if record.state is State.TRUSTED:
            return Pass(self, name, record.epoch, probe=False)
        if record.state is State.PROBING and record.probes_issued < self._settings.probes:
            record.probes_issued += 1
            return Pass(self, name, record.epoch, probe=True)
        return None

    def ejected(self) -> Mapping[str, str]:
        """Who gets no work now, and why."""
        return {n: r.reason for n, r in self._records.items() if r.state is State.EJECTED and self._clock() < r.until}

    def standing(self, name: str) -> Standing:
        """Where one instance stands."""
        record = self._records.get(name)
        if record is None:
            return Standing(State.TRUSTED, "", 0.0, 0)
        now = self._clock()
        state, level = record.state, record.level
        if state is State.EJECTED and now >= record.until:
            state = State.PROBING
        if state is State.TRUSTED:
            level = self._level(record, now)
        return Standing(state, record.reason, max(0.0, record.until - now) if state is State.EJECTED else 0.0, level)

    # Telling

    def record(self, name: str, outcome: Outcome) -> None:
        """An outcome without a pass; it counts while the instance is trusted."""
        self._reported(name, self._record(name).epoch, outcome, probe=False)

    def heard(self, name: str, answered: bool) -> None:
        """Whether the instance answered a metric scrape. Enough silence ejects; the first answer after it begins the probing."""
        record = self._record(name)
        limit = self._settings.consecutive_silences
        if answered:
            silent, record.silences = 0 < limit <= record.silences, 0
            if silent and record.state is State.EJECTED:
                self._probe(name, record, "it answers again")
            return
        record.silences += 1
        if record.silences == limit and record.state is not State.EJECTED:
            self._eject(name, record, f"{limit} metric scrapes in a row unanswered")

    def follow(self, view: FleetView) -> None:
        """Take over the fleet's members (`store.subscribe(trust.follow)`): who left is forgotten; the serving ones bound
        how many may be ejected."""
        for name in self._records.keys() - view.members.keys():
            self.forget(name)
        self._serving = frozenset(m.instance.name for m in view.serving)
        now = self._clock()
        held = sorted((r.until, n) for n in self._serving if (r := self._records.get(n)) and self._holds(r, now))
        for _, name in held[: max(0, len(held) - self._allowed())]:
            self._trust(name, self._records[name], "too few others are left")

    def forget(self, name: str) -> None:
        """It left the fleet; one of that name that comes later starts anew."""
        self._records.pop(name, None)

    # The machine

    def _reported(self, name: str, epoch: int, outcome: Outcome, *, probe: bool) -> None:
        record = self._records.get(name)
        if record is None or epoch != record.epoch:
            return
        if record.state is State.PROBING:
            if probe:
                self._probed(name, record, outcome)
        elif record.state is State.TRUSTED and outcome is not Outcome.IGNORED:
            self._count(name, record, outcome)

    def _probed(self, name: str, record: _Record, outcome: Outcome) -> None:
        if outcome is Outcome.IGNORED:
            record.probes_issued -= 1
        elif outcome is Outcome.SUCCESS:
            record.probes_passed += 1
            if record.probes_passed >= self._settings.probes:
                self._trust(name, record, f"{record.probes_passed} probes succeeded")
        else:
            self._eject(name, record, f"a probe failed ({outcome})")

    def _count(self, name: str, record: _Record, outcome: Outcome) -> None:
        now = self._clock()
        failed = outcome is not Outcome.SUCCESS
        record.outcomes.append((now, failed))
        if not failed:
            record.failures = record.timeouts = record.silences = 0
            return
        record.failures += 1
        record.timeouts = record.timeouts + 1 if outcome is Outcome.TIMEOUT else 0
        if (reason := self._verdict(record, now)) is not None:
            self._eject(name, record, reason)

    def _verdict(self, record: _Record, now: float) -> str | None:
        s = self._settings
        if record.timeouts >= s.consecutive_timeouts:
            return f"{record.timeouts} deadlines in a row missed"
        if record.failures >= s.consecutive_failures:
            return f"{record.failures} failures in a row"
        while record.outcomes and record.outcomes[0][0] <= now - s.window_s:
            record.outcomes.popleft()
        failed = sum(bad for _, bad in record.outcomes)
        total = len(record.outcomes)
        if total >= s.error_rate_least and failed >= s.error_rate * total:
            return f"{failed} of {total} requests failed within {s.window_s:g} s"
        return None

    def _eject(self, name: str, record: _Record, reason: str) -> None:
        now = self._clock()
        held = sum(self._holds(r, now) for n, r in self._records.items() if n in self._serving and n != name)
        if held >= self._allowed():
            if record.state is not State.TRUSTED:
                self._trust(name, record, "too few others are left")
            return
        record.level = self._level(record, now) + 1 if record.state is State.TRUSTED else record.level + 1
        length = min(self._settings.base_ejection_s * 2.0 ** (record.level - 1), self._settings.max_ejection_s)
        length *= 1 + self._settings.jitter * self._rng.uniform(-1, 1)
        silences = record.silences
        record.clear()
        record.silences = silences
        record.epoch += 1
        record.until = now + length
        self._move(name, record, State.EJECTED, reason, length)

    def _probe(self, name: str, record: _Record, reason: str) -> None:
        record.clear()
        self._move(name, record, State.PROBING, reason)

    def _trust(self, name: str, record: _Record, reason: str) -> None:
        record.clear()
        record.trusted_at = self._clock()
        self._move(name, record, State.TRUSTED, reason)

    def _move(self, name: str, record: _Record, after: State, reason: str, for_s: float = 0.0) -> None:
        before, record.state, record.reason = record.state, after, reason
        self._on_transition(Transition(name, before, after, reason, for_s))

    def _record(self, name: str) -> _Record:
        return self._records.setdefault(name, _Record(self._clock()))

    def _level(self, record: _Record, now: float) -> int:
        """Earlier ejections after the decay of the trusted time since."""
        return max(0, record.level - int((now - record.trusted_at) / self._settings.decay_s))

    def _allowed(self) -> int:
        n = len(self._serving)
        return min(n - 1, max(1, int(self._settings.max_ejected_fraction * n)))

    @staticmethod
    def _holds(record: _Record, now: float) -> bool:
        """Whether it takes a place among the ejected: also one on probation, which takes hardly any work."""
        return record.state is State.PROBING or (record.state is State.EJECTED)
