"""Runs a plan: each step with its log, resumable, one build of a spec at a time."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Protocol, TextIO

from pydantic import BaseModel, ValidationError

from build_scripts.plan import BuildPlan, BuildStep

_TAIL_LINES = 15
_GRACE_S = 20.0


class StepFailed(RuntimeError):
    """A step ended with an error, or without the files it must make. The message has the end of its log."""


class AlreadyRunning(RuntimeError):
    """Another process builds this spec in this work folder."""


class Progress(Protocol):
    """Told what happens; called from the thread that runs the plan."""

    def skipped(self, step: BuildStep, number: int, total: int) -> None: ...
    def started(self, step: BuildStep, number: int, total: int, log: Path) -> None: ...
    def line(self, text: str) -> None: ...
    def finished(self, step: BuildStep, seconds: float) -> None: ...


class Marker(BaseModel):
    """Says that a step was done, by which command. Written after its last file."""

    fingerprint: str
    finished_at: datetime
    seconds: float


def is_done(step: BuildStep, state_dir: Path) -> bool:
    """Whether this very step was finished before and its files are still there."""
    try:
        marker = Marker.model_validate_json((state_dir / f"{step.name}.json").read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return False
    files = (Path(step.folder) / name for name in step.makes)
    return marker.fingerprint == step.fingerprint and all(path.is_file() and path.stat().st_size for path in files)


def run(
    plan: BuildPlan, progress: Progress, *, env: Mapping[str, str], limit_s: float, now: Callable[[], datetime]
) -> None:
    """Do what is not done yet, in order. `limit_s` is the deadline of each step, `now` the clock, aware of its zone.

    Raises StepFailed, AlreadyRunning; KeyboardInterrupt ends the running command first.
    """
    state_dir, log_dir = Path(plan.state_dir), Path(plan.log_dir)
    for folder in (state_dir, log_dir, Path(plan.timing_dir)):
        folder.mkdir(parents=True, exist_ok=True)
    with _only_one(state_dir / "lock"):
        for number, step in enumerate(plan.steps, 1):
            if is_done(step, state_dir):
                progress.skipped(step, number, len(plan.steps))
                continue
            log = log_dir / f"{number}-{step.name}.log"
            progress.started(step, number, len(plan.steps), log)
            started = now()
            _run_step(step, log, progress, env=env, limit_s=limit_s, started=started)
            seconds = (now() - started).total_seconds()
            marker = Marker(fingerprint=step.fingerprint, finished_at=now(), seconds=seconds)
            (state_dir / f"{step.name}.json").write_text(marker.model_dump_json(), encoding="utf-8")
            progress.finished(step, seconds)


def _run_step(
    step: BuildStep, log: Path, progress: Progress, *, env: Mapping[str, str], limit_s: float, started: datetime
) -> None:
    folder = Path(step.folder)
    if step.fresh and folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        file.write(f"--- {started.isoformat(timespec='seconds')} {shlex.join(step.argv)}\n")
        file.flush()
        code, tail = _run_command(step, file, progress, env, limit_s)
    if code != 0:
        why = f"ran past its {limit_s / 3600:.1f} h" if code is None else f"ended with exit code {code}"
        raise StepFailed(_failure(step, why, log, tail))
    missing = [name for name in step.makes if not (folder / name).is_file() or not (folder / name).stat().st_size]
    if missing:
        raise StepFailed(_failure(step, f"made no {', '.join(missing)} in {folder}", log, tail))


def _failure(step: BuildStep, why: str, log: Path, tail: str) -> str:
    return f"{step.name} {why}; all of it is in {log}. Start the same build again to go on from here.\n{tail}"


def _run_command(
    step: BuildStep, log: TextIO, progress: Progress, env: Mapping[str, str], limit_s: float
) -> tuple[int | None, str]:
    """Exit code and the end of the output. None: the deadline passed and the command was ended."""
    try:
        process = subprocess.Popen(
            step.argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            env=dict(env),
            start_new_session=True,  # a group of its own, so that quantizing workers end with it
        )
    except OSError as error:
        return 127, f"{step.argv[0]}: {error.strerror}. Run the build inside the container."
    late = threading.Event()

    def end() -> None:
        late.set()
        _end(process)

    timer = threading.Timer(limit_s, end)
    timer.start()
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    try:
        assert process.stdout is not None
        for line in process.stdout:  # a progress bar's carriage returns end lines too
            log.write(line)
            log.flush()
            tail.append(line)
            progress.line(line.rstrip())
        code = process.wait(timeout=_GRACE_S)
    finally:
        timer.cancel()
        if process.poll() is None:
            _end(process)
        if process.stdout is not None:
            process.stdout.close()
    return (None if late.is_set() else code), "".join(tail)


def _end(process: subprocess.Popen[str]) -> None:
    """End the command's whole group, also where only its children are left: ask, wait, then kill."""
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal_number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_GRACE_S)
            return


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise AlreadyRunning(
                f"another process builds this spec ({path} is locked): wait for it or end it"
            ) from None
        yield
