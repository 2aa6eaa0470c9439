"""One benchmark run as a process of its own, within its deadline; how it ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from benchmarks.page.catalog import Benchmark

GRACE_S = 60.0
"""A benchmark that is told to end stops its fleet; after so long it is killed."""


class Outcome(StrEnum):
    """How a run ended."""

    RAN = "ran"
    FAILED = "failed"
    """It did not end well, or wrote nothing."""
    SKIPPED = "skipped"
    """It ended well and wrote nothing: what it needs is not here."""
    LATE = "too late"
    """It was ended at its deadline."""
    NOT_RUN = "not run"
    """The page was made from files."""


@dataclass(frozen=True, slots=True)
class Run:
    """How one benchmark went."""

    benchmark: Benchmark
    outcome: Outcome
    seconds: float = 0.0
    exit_status: int | None = None
    log: str = ""
    """File that has what it printed."""


def run(
    benchmark: Benchmark, folder: Path, *, quick: bool, port_base: int | None, deadline_s: float | None = None
) -> Run:
    """Run it; its figures go to `folder`, what it prints into `folder`/logs. Never raises for what the benchmark does."""
    log = folder / "logs" / f"page-{benchmark.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, *benchmark.command(quick=quick, port_base=port_base)]
    written, began = folder / f"{benchmark.name}.json", time.monotonic()
    before = _changed(written)
    with log.open("wb") as output:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            env=_environment(benchmark, folder, port_base),
        )  # fmt: skip
        try:
            status = child.wait(deadline_s or benchmark.deadline_s)
        except subprocess.TimeoutExpired:
            status = None
        finally:  # also where this program is told to end
            _end(child)
    seconds = round(time.monotonic() - began, 1)
    if status is None:
        outcome = Outcome.LATE
    elif _changed(written) != before:  # 1: it missed a bar of its own, which its figures say
        outcome = Outcome.RAN if status in (0, 1) else Outcome.FAILED
    else:
        outcome = (
            Outcome.SKIPPED if status in (0, 3, 5) else Outcome.FAILED
        )  # 3: not to be had; 5: pytest found no test
    return Run(benchmark, outcome, seconds, status, str(log))


def _environment(benchmark: Benchmark, folder: Path, port_base: int | None) -> Mapping[str, str]:
    more = dict(benchmark.environment)
    if "PYTHONPATH" in more:
        more["PYTHONPATH"] = f".:{more['PYTHONPATH']}"
    if port_base:
        more["RAGFLEET_PORT_BASE"] = str(port_base)
    return {**os.environ, **more, "RAGFLEET_BENCH_DIR": str(folder.resolve())}


def _changed(path: Path) -> int:
    """When, in nanoseconds; 0 where there is no such file."""
    return path.stat().st_mtime_ns if path.exists() else 0


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Tell it to end; whoever of its group is left after its grace is killed."""
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            child.wait(GRACE_S)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
