"""Shows a build's progress: a live line on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from build_scripts.plan import BuildStep

_QUIET_S = 30.0  # where there is no terminal, a sign of life this often
_LIVE_S = 0.2


class Console:
    """Progress on `out`. The clock is in seconds and only goes forward."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic, width: int = 120) -> None:
        self._out = out
        self._clock = clock
        self._width = width
        self._live = out.isatty()
        self._head = ""
        self._started = 0.0
        self._shown = 0.0

    def skipped(self, step: BuildStep, number: int, total: int) -> None:
        self._say(f"[{number}/{total}] {step.name}: done before")

    def started(self, step: BuildStep, number: int, total: int, log: Path) -> None:
        self._head = f"[{number}/{total}] {step.name}"
        self._started = self._shown = self._clock()
        self._say(f"{self._head}: log in {log}")

    def line(self, text: str) -> None:
        now = self._clock()
        if now - self._shown < (_LIVE_S if self._live else _QUIET_S):
            return
        self._shown = now
        shown = f"{self._head} {_clock_text(now - self._started)} {text.strip()}"[: self._width]
        if self._live:
            self._out.write(f"\r\x1b[K{shown}")
            self._out.flush()
        else:
            self._say(shown)

    def finished(self, step: BuildStep, seconds: float) -> None:
        del step
        self._say(f"{self._head}: {_clock_text(seconds)}")

    def _say(self, text: str) -> None:
        self._out.write(f"\r\x1b[K{text}\n" if self._live else f"{text}\n")
        self._out.flush()


def _clock_text(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
