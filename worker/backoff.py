"""How long to wait before the next attempt at something that keeps failing. Pure: the caller brings the time."""

from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Doubles from `first` to `longest` seconds, and starts over once a run lasted `settled` seconds."""

    first: float = 0.5
    longest: float = 30.0
    settled: float = 60.0
    failures: int = 0
    _started: float | None = None

    def started(self, now: float) -> None:
        """Something began to run at `now` (monotonic seconds)."""
        self._started = now

    def failed(self, now: float) -> float:
        """It ended at `now`; returns the seconds to wait before starting it again."""
        if self._started is not None and now - self._started >= self.settled:
            self.failures = 0
        self._started = None
        delay = min(self.first * 2.0 ** min(self.failures, 32), self.longest)
        self.failures += 1
        return delay
