"""What was done, how long it took, and how it ended: told while it runs, and kept for the table."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


class StepError(Exception):
    """A step cannot be done; the text says what was seen."""


@dataclass(slots=True)
class Step:
    """One thing that was done."""

    name: str
    seconds: float = 0.0
    ok: bool = False
    note: str = ""


@dataclass(slots=True)
class Steps:
    """In their order."""

    quiet: bool = False
    """Nothing is told while they run."""
    rows: list[Step] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @contextmanager
    def step(self, name: str, limit_s: float) -> Iterator[Step]:
        """Something that takes `limit_s` at the most, by its own doing; what it raises goes on to the caller."""
        row = Step(name)
        self.rows.append(row)
        self.say(f"{name} … (at most {limit_s:.0f} s)")
        began = time.monotonic()
        try:
            yield row
            row.ok = True
        except BaseException as error:
            row.note = row.note or f"{type(error).__name__}: {str(error)[:2000]}"
            raise
        finally:
            row.seconds = round(time.monotonic() - began, 1)
            self.say(f"{name}: {'done' if row.ok else 'FAILED'} after {row.seconds:.1f} s {row.note}".rstrip())

    def say(self, text: str) -> None:
        """One line with the seconds since the beginning."""
        if not self.quiet:
            print(f"[{time.monotonic() - self.began:6.0f} s] {text}", flush=True)
