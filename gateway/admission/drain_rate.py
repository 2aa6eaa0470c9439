"""How fast places become free, measured; refusals and Retry-After are derived from it."""

from collections import deque
from dataclasses import dataclass


@dataclass(slots=True)
class _Slice:
    index: int
    released: int = 0
    place_seconds: float = 0.0


class DrainRate:
    """Releases per place and second, over a sliding window.

    By Little's law the releases divided by the integral of places in use over time is the inverse of the mean stay, also
    while stays are unfinished and whether or not all places were in use. Times the capacity it is the rate at which a full
    fleet drains. A plain count of releases per second would take a quiet fleet for a slow one.

    window_s: seconds. Longer is calmer; shorter follows a change of speed sooner.
    """

    SLICES = 20

    def __init__(self, window_s: float = 10.0) -> None:
        self._slice_s = window_s / self.SLICES
        self._slices: deque[_Slice] = deque(maxlen=self.SLICES)
        self._held = 0
        self._at = 0.0

    def update(self, held: int, now: float, *, released: int = 0) -> None:
        """`held` places are in use from `now` on; `released` of those before became free just now."""
        index = int(now / self._slice_s)
        if not self._slices or self._slices[-1].index != index:
            self._slices.append(_Slice(index))
        current = self._slices[-1]
        current.released += released
        current.place_seconds += self._held * min(now - self._at, self._slice_s * self.SLICES)
        self._held, self._at = held, now

    def per_place(self, now: float) -> float | None:
        """Releases per second and place in use; None while nothing is known."""
        self.update(self._held, now)
        oldest = int(now / self._slice_s) - self.SLICES
        recent = [s for s in self._slices if s.index > oldest]
        released = sum(s.released for s in recent)
        seconds = sum(s.place_seconds for s in recent)
        return released / seconds if released and seconds > 0 else None
