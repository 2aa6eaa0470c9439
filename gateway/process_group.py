"""Several gateway processes behind one port: started together, each started again when it ends, all ended with this one.

Each is a gateway like any other, with the same settings. The kernel deals new connections out among those that listen
(SO_REUSEPORT), so a process that starts or has ended gets none.
"""

import asyncio
import contextlib
import ctypes
import logging
import os
import secrets
import signal
import socket
import sys
from dataclasses import dataclass
from typing import Self

log = logging.getLogger("ragfleet.gateway")

MOST = 64
"""Processes of one gateway."""
UNUSABLE = 2
"""The status of a process whose settings cannot be used. Starting it again would not help."""
GOOD_RUN_S = 30.0
"""After such a time the next pause is the first one again."""
PAUSE_S = (0.5, 15.0)
"""Before a process is started again: at first, and at the most."""
END_S = 15.0
"""Beyond the deadline of a drain: for closing what is open."""

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Membership:
    """Which of the processes of a group this is."""

    group: str
    """A name that no other group has."""
    index: int
    """From 0. The first one has the ingestion beside it."""
    size: int
    parent: int
    """The process id of who started it."""

    def arguments(self) -> list[str]:
        """For its command line."""
        return [f"--group={self.group}", f"--process={self.index}/{self.size}", f"--parent={self.parent}"]

    @classmethod
    def of(cls, arguments: list[str]) -> Self | None:
        """As `arguments` wrote it; None for a gateway of one process. Raises ValueError."""
        if not arguments:
            return None
        named = dict(argument.removeprefix("--").partition("=")[::2] for argument in arguments)
        if named.keys() != {"group", "process", "parent"}:
            raise ValueError(
                f"python -m gateway takes no arguments, its settings are RAGFLEET_…: {' '.join(arguments)}"
            )
        index, _, size = named["process"].partition("/")
        return cls(named["group"], int(index), int(size), int(named["parent"]))

    def end_with_parent(self) -> None:
        """Whatever ends the process that started this one, also `kill -9`, ends this one."""
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self.parent:  # it had ended before
            raise SystemExit(1)


def listener(host: str, port: int) -> socket.socket:
    """Bound to a port that others of this user may share, not listening yet. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        found.bind((host, port))
    except OSError:
        found.close()
        raise
    return found


def _claimed(host: str, port: int) -> socket.socket:
    """As `listener`, where nobody else has the port: another gateway would share it without a word. Raises OSError."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as alone:
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind((host, port))
    return listener(host, port)


class ProcessGroup:
    """The processes, and what ends them."""

    def __init__(self, size: int, host: str, port: int, *, end_s: float) -> None:
        """end_s: seconds after a SIGTERM past which a process is killed. Raises OSError where the port is taken."""
        self._size, self._host, self._port, self._end_s = size, host, port, end_s
        self._name = secrets.token_hex(16)
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._ending = asyncio.Event()
        self._status = 0
        self._claim = _claimed(host, port)

    async def run(self) -> int:
        """Until SIGTERM or SIGINT, which every process gets as well; the status of the whole."""
        loop = asyncio.get_running_loop()
        with self._claim:
            for sig in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(sig, self._end, sig)
            log.info("%d processes at %s:%d", self._size, self._host, self._port)
            await asyncio.gather(*(self._keep(index) for index in range(self._size)))
        return self._status

    async def _keep(self, index: int) -> None:
        """One of them, again and again."""
        loop, pause = asyncio.get_running_loop(), PAUSE_S[0]
        while not self._ending.is_set():
            started = loop.time()
            status = await self._once(index)
            if self._ending.is_set():
                return
            if status == UNUSABLE:
                self._status = status
                self._end(signal.SIGTERM)
                return
            pause = PAUSE_S[0] if loop.time() - started > GOOD_RUN_S else min(2 * pause, PAUSE_S[1])
            log.warning(
                "process %d of %d ended with status %d; it is started again in %g s", index, self._size, status, pause
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), pause)

    async def _once(self, index: int) -> int:
        """To its end; its status."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway",
            *Membership(self._name, index, self._size, os.getpid()).arguments(),
            stdin=asyncio.subprocess.DEVNULL,
            process_group=0,  # a terminal's Ctrl-C comes by us alone, once
        )
        self._processes[index] = process
        try:
            ended = asyncio.ensure_future(process.wait())
            ending = asyncio.ensure_future(self._ending.wait())
            await asyncio.wait({ended, ending}, return_when=asyncio.FIRST_COMPLETED)
            ending.cancel()
            try:
                return await asyncio.wait_for(asyncio.shield(ended), self._end_s if self._ending.is_set() else None)
            except TimeoutError:
                log.warning("process %d has not ended after %g s: killed", index, self._end_s)
                process.kill()
                return await ended
        finally:
            del self._processes[index]

    def _end(self, sig: signal.Signals) -> None:
        self._ending.set()
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(sig)
