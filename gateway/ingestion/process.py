"""The ingestion as a child of the gateway: started with it, started again when it fails, ended with it."""

import asyncio
import contextlib
import logging
import sys
from pathlib import Path

log = logging.getLogger("ragfleet.ingestion")


class IngestionProcess:
    """Keeps one `python -m gateway.ingestion` alive while `run` runs. It reads the same environment; its log is at `log_file`.

    The child ends when its standard input does: also when the gateway is killed.
    """

    def __init__(self, log_file: Path, *, patience_s: float = 5.0, pause_s: tuple[float, float] = (0.5, 15.0)) -> None:
        self._log_file = log_file
        self._patience_s = patience_s
        self._pause_s = pause_s
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The child's, while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def run(self) -> None:
        """Until cancelled; the child is then asked to end, and killed past the patience."""
        loop = asyncio.get_running_loop()
        pause = self._pause_s[0]
        try:
            while True:
                started = loop.time()
                self._process = await self._start()
                status = await self._process.wait()
                pause = self._pause_s[0] if loop.time() - started > 30 else min(2 * pause, self._pause_s[1])
                log.warning("the ingestion ended with status %d (%s); next try in %g s", status, self._log_file, pause)
                await asyncio.sleep(pause)
        finally:
            await self._stop()

    async def _start(self) -> asyncio.subprocess.Process:
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        with self._log_file.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "gateway.ingestion",
                "--child",
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
            await asyncio.wait_for(process.wait(), self._patience_s)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
