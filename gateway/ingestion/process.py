"""The ingestion as a child of the gateway: started with it, started again when it fails, ended with it."""

import asyncio
import contextlib
import logging
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from gateway.ingestion.answer_watch import QUESTION, told
from gateway.routing.types import Answering

log = logging.getLogger("ragfleet.ingestion")


_REPORT_LIMIT = 1 << 20


class IngestionProcess:
    """Keeps one `python -m gateway.ingestion` alive while `run` runs. It reads the same environment; its log is at `log_file`.

    The child ends when its standard input does: also when the gateway is killed. It sends its metrics through a socket.
    A byte on its standard input tells it that there may be work. Through the socket it asks whom we answer (`answering`).
    """

    FRESH_S = 10.0
    """What it said of itself counts for so long."""

    def __init__(
        self,
        log_file: Path,
        *,
        patience_s: float = 5.0,
        pause_s: tuple[float, float] = (0.5, 15.0),
        answering: Callable[[], Mapping[str, Answering]] = dict,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._answering = answering
        self._log_file = log_file
        self._patience_s = patience_s
        self._pause_s = pause_s
        self._clock = clock
        self._process: asyncio.subprocess.Process | None = None
        self._report = b""
        self._reported = -self.FRESH_S

    @property
    def pid(self) -> int | None:
        """The child's, while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def report(self) -> bytes:
        """The child's metrics as exposition text; nothing where it does not run, or has not said anything for FRESH_S."""
        fresh = self.pid is not None and self._clock() - self._reported < self.FRESH_S
        return self._report if fresh else b""

    def tell(self) -> None:
        """There may be work: the child looks at once instead of with its next look."""
        stdin = self._process.stdin if self._process is not None and self._process.returncode is None else None
        if stdin is not None and not stdin.is_closing() and not stdin.transport.get_write_buffer_size():
            stdin.write(b"\n")

    async def run(self) -> None:
        """Until cancelled; the child is then asked to end, and killed past the patience."""
        loop = asyncio.get_running_loop()
        pause = self._pause_s[0]
        try:
            while True:
                started = loop.time()
                status = await self._once()
                pause = self._pause_s[0] if loop.time() - started > 30 else min(2 * pause, self._pause_s[1])
                log.warning("the ingestion ended with status %d (%s); next try in %g s", status, self._log_file, pause)
                await asyncio.sleep(pause)
        finally:
            await self._stop()

    async def _once(self) -> int:
        """One child, to its end; its status."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with ours, theirs:
            self._process = await self._start(theirs.fileno())
            theirs.close()
            self._report = b""
            listener = asyncio.create_task(self._listen(ours), name="ingestion's metrics")
            try:
                return await self._process.wait()
            finally:
                listener.cancel()
                await asyncio.gather(listener, return_exceptions=True)

    async def _listen(self, ours: socket.socket) -> None:
        ours.setblocking(False)
        while True:
            said = await asyncio.get_running_loop().sock_recv(ours, _REPORT_LIMIT)
            if said == QUESTION:
                with contextlib.suppress(OSError):  # it has ended, or asks faster than it reads
                    ours.send(told(self._answering()))
                continue
            self._report, self._reported = said, self._clock()

    async def _start(self, report: int) -> asyncio.subprocess.Process:
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        with self._log_file.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "gateway.ingestion",
                "--child",
                f"--report={report}",
                pass_fds=(report,),
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
            )

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(self._patience_s):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
