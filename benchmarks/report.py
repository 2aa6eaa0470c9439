"""How every benchmark here reports: a table for people, `var/bench/NAME.json` for machines.

Each file begins alike: when, where and of which commit, and the figures that the benchmark claims something with. `make bench`
puts the figures of all benchmarks on one page (page/).
"""

import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One claim, what was measured, and beside it what a rival was measured at in the same run.

    A bound is of the ratio where there is a rival, else of `ours`; without a bound a figure is only told.
    """

    claim: str
    ours: float
    unit: str = ""
    rival: str = ""
    theirs: float | None = None
    of_pairs: float | None = None
    """The ratio ours / theirs where it was taken pair by pair; else it is that of the two figures."""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def ratio(self) -> float | None:
        """Ours / theirs; None without a rival."""
        if self.of_pairs is not None or not self.theirs:
            return self.of_pairs
        return self.ours / self.theirs

    @property
    def held(self) -> bool | None:
        """Whether the bound is kept; None where there is none."""
        if self.at_most is None and self.at_least is None:
            return None
        value = self.ours if self.ratio is None else self.ratio
        return (self.at_most is None or value <= self.at_most) and (self.at_least is None or value >= self.at_least)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on standard output; numbers to the right."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row))
    Console(width=150).print(table)


def bench_folder() -> Path:
    """Where results go: RAGFLEET_BENCH_DIR, else var/bench."""
    return Path(os.environ.get("RAGFLEET_BENCH_DIR", "var/bench"))


def machine() -> dict[str, Any]:
    """What a figure depends on, and how busy it is now."""
    return {
        "cpu_count": os.cpu_count(),
        "cpu": _cpu_model(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "system": platform.platform(),
        "load_average": os.getloadavg(),
    }


def commit() -> str:
    """Of this checkout, `+changes` where files differ from it; RAGFLEET_COMMIT where there is no git. "" where neither is."""
    if told := os.environ.get("RAGFLEET_COMMIT"):
        return told
    return _git("rev-parse", "--short=12", "HEAD") + ("+changes" if _git("status", "--porcelain", "-uno") else "")


def write_json(name: str, result: Mapping[str, Any], *, figures: Sequence[Figure] = (), tell: bool = True) -> Path:
    """Write a result with where and when it was measured, and say so."""
    path = bench_folder() / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    head = {
        "benchmark": name,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit(),
        "machine": machine(),
        "figures": [asdict(each) for each in figures],
    }
    path.write_text(json.dumps({**head, **result}, indent=2))
    if tell:
        print(f"written: {path}")
    return path


def _cpu_model() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _git(*words: str) -> str:
    with suppress(OSError, subprocess.SubprocessError):
        argv = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    return ""
