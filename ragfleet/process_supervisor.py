"""Keeps one part of the fleet running: starts it, notes when it is ready, restarts it with back-off, stops it."""

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from ragfleet.services import ManagedProcess
from worker.backoff import Backoff
from worker.log import event

POLL = 0.2
LOG_LIMIT = 20 << 20
"""Bytes; a log that is longer when its part starts is put aside as `.1`."""

log = logging.getLogger("supervisor")


@dataclass(slots=True)
class PartState:
    """One part as the supervisor sees it: an entry of parts.json."""

    name: str
    state: str = "waiting"
    """waiting (for another part), starting, ready, restarting, stopping, stopped."""
    pid: int = 0
    restarts: int = 0
    failures: int = 0
    """Ends in a row without having been ready."""
    reason: str = ""
    log: str = ""


class ProcessSupervisor:
    """Keeps one part running."""

    def __init__(
        self, part: ManagedProcess, log: Path, *, first: Callable[[], Awaitable[None]], changed: Callable[[], None]
    ) -> None:
        """`first` completes when the parts are ready that this one needs; `changed` is called with each new state."""
        self.part = part
        self.state = PartState(part.name, log=part.log_name)
        self.was_ready = asyncio.Event()
        self._log = log
        self._first = first
        self._changed = changed
        self._stopping = asyncio.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._task = asyncio.create_task(self._run())

    @property
    def pid(self) -> int:
        """Its process, or 0."""
        return self._process.pid if self._process and self._process.poll() is None else 0

    async def stop(self, patience: float) -> None:
        """SIGTERM; once more after two thirds of `patience` (a worker then stops waiting for requests); SIGKILL."""
        self._stopping.set()
        self._enter("stopping")
        for wait, number in ((patience * 2 / 3, signal.SIGTERM), (patience / 3, signal.SIGTERM), (2.0, signal.SIGKILL)):
            self._signal(number)
            if await self._ended(wait):
                break
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._enter("stopped")

    async def _run(self) -> None:
        await self._first()
        backoff = Backoff(longest=15.0)
        while not self._stopping.is_set():
            backoff.started(time.monotonic())
            if self._start():
                await self._watch()
            if self._stopping.is_set():
                return
            self.state.restarts += 1
            self.state.failures += 1
            delay = backoff.failed(time.monotonic())
            self._enter("restarting", self._verdict())
            log.warning(event("restarting", part=self.part.name, after_seconds=delay, why=self.state.reason))
            await asyncio.sleep(delay)

    def _start(self) -> bool:
        if self._log.exists() and self._log.stat().st_size > LOG_LIMIT:
            self._log.replace(self._log.with_suffix(".log.1"))
        try:
            with self._log.open("ab") as output:
                self._process = subprocess.Popen(
                    self.part.argv,
                    env=dict(self.part.environment),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            self._process = None
            self._enter("restarting", str(error))
            return False
        self._enter("starting")
        log.info(event("started", part=self.part.name, pid=self._process.pid))
        return True

    async def _watch(self) -> None:
        """Until the process ends; notes when it is ready."""
        assert self._process is not None
        async with exit_of(self._process) as exited:
            while self._process.poll() is None:
                if self.state.state == "starting" and await asyncio.to_thread(self.part.ready, self._process.pid):
                    self.state.failures = 0
                    self._enter("ready")
                    self.was_ready.set()
                    log.info(event("ready", part=self.part.name))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL if self.state.state == "starting" else None):
                        await exited.wait()

    def _verdict(self) -> str:
        code = self._process.returncode if self._process else None
        if code is None:
            return self.state.reason
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"

    def _signal(self, number: signal.Signals) -> None:
        if self._process and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    async def _ended(self, seconds: float) -> bool:
        ends = time.monotonic() + seconds
        while self._process and self._process.poll() is None:
            if time.monotonic() > ends:
                return False
            await asyncio.sleep(0.05)
        return True

    def _enter(self, state: str, reason: str = "") -> None:
        self.state.state, self.state.reason, self.state.pid = state, reason, self.pid
        self._changed()


@contextlib.asynccontextmanager
async def exit_of(process: subprocess.Popen[bytes]) -> AsyncIterator[asyncio.Event]:
    """An event that the kernel sets when the process ends: nobody has to ask again and again. Its status is left to `poll`."""
    loop, exited = asyncio.get_running_loop(), asyncio.Event()
    try:
        pidfd = os.pidfd_open(process.pid)
    except ProcessLookupError:  # it ended, and its status was read
        exited.set()
        yield exited
        return
    loop.add_reader(pidfd, exited.set)
    try:
        yield exited
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
