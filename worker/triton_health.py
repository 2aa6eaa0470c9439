"""Whether a Triton is well, as its worker judges it each second and tells Consul: pure, over what was last seen of it."""

from dataclasses import dataclass, field
from typing import Literal

from worker.gpu import Health
from worker.load import LoadReport, SteadyWords
from worker.state import WorkerPhase

Status = Literal["passing", "warning", "critical"]

SILENCE = 3.0
"""Seconds without an answer from which on a Triton counts as hung."""
SPANS = (3, 10, 30, 60, 120, 300, 600, 1800, 3600)


@dataclass(frozen=True, slots=True)
class Beat:
    """One report: Consul's status of the TTL check, and its output."""

    status: Status
    words: str


@dataclass(slots=True)
class Pulse:
    """What is known of Triton now. The prober and the lifecycle write it, the heartbeat reads it. Monotonic seconds."""

    phase: WorkerPhase = WorkerPhase.STARTING
    reason: str = ""
    phase_since: float = 0.0
    answered: float = 0.0
    """When Triton answered last."""
    ready: bool = False
    """What it answered."""
    load: LoadReport | None = None
    gpu: Health = field(default_factory=Health)
    """How the pinned GPUs are; sound and without words where there are none."""

    def silence(self, now: float) -> float:
        """Seconds since the last answer."""
        return now - self.answered


def judge(pulse: Pulse, steady: SteadyWords, now: float) -> Beat:
    """The beat for this moment.

    Loading models is a warning, a Triton that died, hangs or says that it is not ready is critical; neither is given
    work. A GPU that is not sound is a warning: its Triton may still answer, and should not be trusted with more. Missing
    metrics are no reason to take an instance out, so they only show in the words.
    """
    if pulse.phase is WorkerPhase.STARTING:
        since = f"starting since {span(now - pulse.phase_since)}"
        return Beat("warning", f"{since}; before: {pulse.reason}" if pulse.reason else since)
    if pulse.phase in {WorkerPhase.RESTARTING, WorkerPhase.STOPPED}:
        return Beat("critical", pulse.reason or pulse.phase.value)
    if pulse.silence(now) >= SILENCE:
        return Beat("critical", f"Triton does not answer since {span(pulse.silence(now))}")
    if not pulse.ready:
        return Beat("critical", "Triton answers, but its models are not ready")
    told = steady.update(pulse.load, now) if pulse.load else "ready, no metrics"
    if pulse.gpu.words:
        told = f"{told}; gpu: {pulse.gpu.words}" if pulse.gpu.sound else f"gpu: {pulse.gpu.words}; {told}"
    if pulse.phase is WorkerPhase.DRAINING:
        return Beat("passing", f"draining: {told}")
    return Beat("passing" if pulse.gpu.sound else "warning", told)


def span(seconds: float) -> str:
    """A duration in steps (3 s, 10 s, 30 s, 1 min, …), so that words about a lasting state do not change each second."""
    step = max((limit for limit in SPANS if limit <= seconds), default=0)
    if step < 60:
        return f"{step} s"
    return f"{step // 60} min" if step < 3600 else "over 1 h"
