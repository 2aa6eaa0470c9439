"""One tritonserver process in a process group of its own: started here, or adopted from a worker that died.

Its exit is watched through a pidfd, which works for both; only a child's exit status can be read.
"""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

NORMAL_WITHOUT_GPU = re.compile("CudaDriverHelper|CUDA driver version is insufficient")
STUB = "triton_python_b"
HURRIED = 1.5
GRACE = 5.0
"""Seconds that the kernel gets to end a killed process group."""


class TritonProcess:
    """A live tritonserver. `exited` completes when it is gone."""

    def __init__(self, process: psutil.Process, child: subprocess.Popen[bytes] | None) -> None:
        self.pid = process.pid
        self.started: float = process.create_time()
        self._child = child
        self._models: dict[int, str] = {}
        """pidfd → model."""
        self.dead_model = ""
        """The first Python model whose process has died.

        Triton 2.51 goes on saying that it is ready then, and fails every request for that model.
        """
        self.model_died: asyncio.Event = asyncio.Event()
        self.exited: asyncio.Event = asyncio.Event()
        self._pidfd = os.pidfd_open(self.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._on_exit)

    @classmethod
    def start(cls, argv: Sequence[str], environment: Mapping[str, str], log: Path) -> "TritonProcess":
        """Starts it; raises OSError where it cannot be executed. The log outlives both processes."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            child = subprocess.Popen(
                argv,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # its Python stubs are in its group, and can be killed with it
            )
        return cls(psutil.Process(child.pid), child)

    @classmethod
    def adopt(cls, pid: int, started: float) -> "TritonProcess | None":
        """The process `pid` if it is still the one that started at `started` (epoch seconds)."""
        try:
            process = psutil.Process(pid)
            same = abs(process.create_time() - started) < 0.05 and process.status() != psutil.STATUS_ZOMBIE
            return cls(process, None) if same else None
        except (psutil.Error, OSError):
            return None

    @property
    def killed(self) -> bool:
        """Whether a signal ended it, so that its log knows nothing of its end."""
        code = self._child.poll() if self._child else None
        return code is not None and code < 0

    def verdict(self) -> str:
        """How it ended, in words; call it after `exited`."""
        code = self._child.poll() if self._child else None
        if code is None:
            return "exited"
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"exited with status {code}"

    def note_models(self) -> None:
        """Watches the processes of the Python models from now on; call it when every model is loaded."""
        self._forget_models()
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            for child in psutil.Process(self.pid).children():
                if child.name().startswith(STUB):  # the kernel cuts names at 15 characters; a zombie has no arguments
                    script = next((argument for argument in child.cmdline() if argument.endswith(".py")), "")
                    pidfd = os.pidfd_open(child.pid)
                    self._models[pidfd] = Path(script).parent.parent.name or "a model"
                    asyncio.get_running_loop().add_reader(pidfd, self._on_model_exit, pidfd)

    async def stop(self, patience: float, hurry: asyncio.Event) -> None:
        """SIGTERM, at most `patience` seconds (HURRIED once `hurry` is set), then SIGKILL for what is left of the group."""
        if not self.exited.is_set():
            # To the server alone: it ends its stubs in order, after what they are computing.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            await first_of(self.exited, hurry, seconds=patience)
            await first_of(self.exited, seconds=HURRIED if hurry.is_set() else 0.0)
        await self.kill()

    async def kill(self) -> None:
        """Kills the whole group, also stubs that outlived their server, and waits until the server is gone."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await self.exited.wait()

    def close(self) -> None:
        """Stops watching; the process is left as it is."""
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        self._forget_models()

    def _forget_models(self) -> None:
        for pidfd in self._models:
            asyncio.get_running_loop().remove_reader(pidfd)
            os.close(pidfd)
        self._models = {}

    def _on_model_exit(self, pidfd: int) -> None:
        asyncio.get_running_loop().remove_reader(pidfd)
        self.dead_model = self.dead_model or self._models[pidfd]
        self.model_died.set()

    def _on_exit(self) -> None:
        if self._child:
            self._child.poll()  # reaps it
        self.close()
        self.exited.set()


async def first_of(*events: asyncio.Event, seconds: float) -> None:
    """Returns when one of the events is set, or after `seconds`."""
    waits = [asyncio.create_task(happened.wait()) for happened in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def remove_shared_memory(prefix: str, folder: Path = Path("/dev/shm")) -> int:  # noqa: S108 - where Triton puts it
    """Removes the regions that a killed Triton left behind; returns how many. Call it while no such Triton runs."""
    removed = 0
    for region in folder.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            region.unlink()
            removed += 1
    return removed


def first_error(log: Path, pid: int, tail_bytes: int = 65_536) -> str:
    """What went wrong first in the life of tritonserver `pid`, as one line; empty where its log complains of nothing.

    The first complaint names the cause; the last ones only say that the server gave up.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - tail_bytes))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        # 2026-01-31T12:00:00Z E 42 model_lifecycle.cc:654] "failed to load …"; without a GPU some are normal
        if re.match(rf"\S+ E {pid} ", line) and not NORMAL_WITHOUT_GPU.search(line):
            return line.partition("] ")[2].strip('"')[:300]
    last = next((line for line in reversed(lines) if line.startswith("error:")), "")
    return last.removeprefix("error:").strip()[:300]
