"""The words of outlier detection: how a dispatch ended, where an instance stands, and the settings that connect the two."""

from dataclasses import dataclass
from enum import StrEnum


class DispatchOutcome(StrEnum):
    """How a dispatch ended, as far as the instance is concerned."""

    SUCCESS = "success"
    """It gave what was asked: a first token is enough to say so."""
    FAILURE = "failure"
    """Refused connection, reset, 5xx, an error of the engine."""
    TIMEOUT = "timeout"
    """A deadline was missed: connect, first token or between tokens."""
    IGNORED = "ignored"
    """Nothing is known: the client's own error (4xx), a client that left, a full queue, a drain. Frees a probe."""


class OutlierState(StrEnum):
    """What may be sent to an instance."""

    TRUSTED = "trusted"
    """Everything."""
    EJECTED = "ejected"
    """Nothing, for a time."""
    PROBING = "probing"
    """So many probes and no more, until all have succeeded or one has failed."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of state, for logs and metrics."""

    name: str
    before: OutlierState
    after: OutlierState
    reason: str
    for_s: float = 0.0
    """How long an ejection lasts."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an instance stands now, for people."""

    state: OutlierState
    reason: str
    """Why it came to this state; "" for one that never left TRUSTED."""
    remaining_s: float
    """Seconds until an ejected one is probed."""
    ejections: int
    """Ejections not yet forgotten: the next one lasts base · 2^ejections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierSettings:
    """When an instance is ejected, and how it comes back."""

    consecutive_failures: int = 3
    """FAILUREs and TIMEOUTs in a row that eject. Lower: faster isolation, more ejections by bad luck."""
    consecutive_timeouts: int = 2
    """TIMEOUTs in a row that eject; each has cost a client a whole deadline, so fewer are borne."""
    consecutive_silences: int = 3
    """Unanswered metric scrapes in a row that eject, which finds a hung instance without any request on it. It takes about
    this × max(scrape period, scrape deadline) seconds. Lower: faster, but a busy machine may look hung. 0: never."""
    error_rate: float = 0.5
    """Share of failed outcomes within the window that ejects, 0–1. Above 1: never."""
    error_rate_least: int = 10
    """Outcomes that the window must hold before its rate counts. Raising it waits for better evidence."""
    window_s: float = 10.0
    """Seconds of the window of the error rate, kept in tenths."""
    base_ejection_s: float = 2.0
    """Seconds of the first ejection; with n ejections not yet forgotten the next lasts min(base · 2^n, max), ± jitter."""
    max_ejection_s: float = 60.0
    """Seconds of the longest ejection. Raising it spares clients probes of a broken instance and delays its return."""
    jitter: float = 0.1
    """Share by which an ejection is randomly longer or shorter, so that many gateways do not probe together."""
    decay_s: float = 30.0
    """Seconds of trust that forget one ejection. Raising it punishes flapping for longer."""
    probes: int = 3
    """Requests let through after an ejection: exactly so many, all of which must succeed. Raising it asks for better proof
    and risks as many more requests."""
    probe_patience_s: float = 120.0
    """Seconds after which probes that nobody reported on are given up and as many new ones allowed. It must be longer than a
    first token may take; it matters only where a report was lost."""
    max_ejected_fraction: float = 0.5
    """Share of the serving members that may be kept from work at once: max(1, floor(share · n)), but never all n. When most of
    a fleet fails the cause is elsewhere, and sending everything to the rest would finish it. Those whose metrics are silent while
    others' are read do not count: this gateway's network is cut in two, and only one side can be reached."""
