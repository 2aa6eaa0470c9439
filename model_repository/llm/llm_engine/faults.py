"""Faults that the simulated engine can be told to have, also while it runs."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What is wrong with the engine; the defaults are a healthy one."""

    stall: bool = False
    """No iteration ends: the streams stay open and silent."""
    slow: float = 1.0
    """Every iteration takes so many times as long."""
    reject: bool = False
    """New requests are refused as if the queue were full."""
    error_at_token: int = 0
    """A request fails after so many tokens; 0: none does."""
    die_at_token: int = 0
    """The process is gone, without a word, after some request got so many tokens (and its Triton with it: `guard`)."""

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "Faults":
        """From JSON. Raises ValueError for an unknown name or a value of the wrong type."""
        known = {entry.name: entry.type for entry in fields(cls)}
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"unknown fault {name!r}; there are: {', '.join(known)}")
            if isinstance(value, bool) != (known[name] is bool) or not isinstance(value, bool | int | float):
                raise ValueError(f"fault {name}: {value!r} is of the wrong type")
        return cls(**values)


@dataclass(slots=True)
class FaultFile:
    """Faults from a JSON file that may come, change and go while the engine runs. No file: the faults given at the start."""

    path: Path | None
    base: Faults = field(default_factory=Faults)
    complain: Callable[[str], None] = print
    period_s: float = 0.05
    _faults: Faults = field(default_factory=Faults)
    _version: tuple[int, int] | None = None
    _next_look: float = float("-inf")

    def __post_init__(self) -> None:
        self._faults = self.base

    def current(self, now: float) -> Faults:
        """The faults at `now` (monotonic seconds); the file is looked at once in `period_s` at most."""
        if self.path is None or now < self._next_look:
            return self._faults
        self._next_look = now + self.period_s
        try:
            found = self.path.stat()
            version = (found.st_mtime_ns, found.st_ino)
            if version != self._version:
                self._version = version
                self._faults = Faults.parse(json.loads(self.path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            self._version, self._faults = None, self.base
        except (OSError, ValueError, TypeError, AttributeError) as error:
            self.complain(f"llm: the faults in {self.path} stay as they were: {error}")
        return self._faults
