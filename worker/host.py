"""`python -m worker --all-gpus`: one worker process for each GPU of this host, kept alive and stopped together.

A worker per GPU, each with its own Triton, name, ports and shared memory, so that what breaks one of them breaks one only.
This parent holds no state: it starts, starts again, and passes the signals on.
"""

import asyncio
import contextlib
import ctypes
import logging
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from worker import gpu
from worker.backoff import Backoff
from worker.gpu import Device, Nvml, NvmlAbsent, UnknownGpu
from worker.launch import NotRunnableError
from worker.log import event
from worker.settings import WorkerSettings

PORTS_APART = 10
"""As in an embedded fleet: the instance i listens at the first port + 10·i (docs/contracts.md)."""
NOT_RUNNABLE = frozenset({2, 3})
"""Exit statuses of a worker that would end the same way again."""
PATIENCE = 20.0
"""Seconds beyond its own time-outs that a worker gets to stop."""
PR_SET_PDEATHSIG = 1

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Child:
    """One worker: its name and its command line."""

    name: str
    argv: tuple[str, ...]


def children(
    settings: WorkerSettings, argv: Sequence[str], nvml: Nvml, program: Sequence[str] = (sys.executable, "-m", "worker")
) -> list[Child]:
    """One worker for each group of GPUs. `argv` is our own command line; what differs is said again behind it.

    Raises NotRunnableError where NVML is absent, shows no GPU, or the GPUs cannot be divided so.
    """
    try:
        shown = gpu.visible(nvml.devices(), settings.visible_gpus)
        groups = gpu.groups(shown, settings.all_gpus)
    except (NvmlAbsent, UnknownGpu) as error:
        raise NotRunnableError(f"--all-gpus: {error}") from error
    return [
        Child(f"{settings.name}-{number}", (*program, *argv, *_own(settings, number, devices)))
        for number, devices in enumerate(groups)
    ]


def _own(settings: WorkerSettings, number: int, devices: Sequence[Device]) -> list[str]:
    return [
        "--all-gpus=0",
        f"--name={settings.name}-{number}",
        f"--gpu={','.join(device.uuid for device in devices)}",
        f"--http-port={settings.http_port + PORTS_APART * number}",
    ]


class Host:
    """Runs the children until it is told to stop."""

    def __init__(
        self, workers: Sequence[Child], *, patience: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._workers = workers
        self._patience = patience
        self._clock = clock
        self._stopping = asyncio.Event()
        self._running: dict[str, asyncio.subprocess.Process] = {}

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Passes the signal on: SIGTERM drains, a second one or SIGINT stops at once."""
        self._stopping.set()
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    async def run(self) -> int:
        """Returns when every worker has ended: 0, or 3 where none of them could run."""
        codes = await asyncio.gather(*(self._keep(child) for child in self._workers))
        return 3 if codes and all(code in NOT_RUNNABLE for code in codes) else 0

    async def _keep(self, child: Child) -> int:
        backoff = Backoff()
        while True:
            backoff.started(self._clock())
            process = await asyncio.create_subprocess_exec(*child.argv, preexec_fn=_end_with_parent)
            self._running[child.name] = process
            if self._stopping.is_set():
                process.terminate()
            code = await self._ended(process)
            if self._stopping.is_set() or code in NOT_RUNNABLE:
                log.info(event("worker ended", worker=child.name, status=code))
                return code
            delay = backoff.failed(self._clock())
            log.warning(event("worker ended, it is started again", worker=child.name, status=code, after_seconds=delay))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stopping.wait()
                return code

    async def _ended(self, process: asyncio.subprocess.Process) -> int:
        """The exit status; a worker that outlives its own time-outs after `stop` is killed."""
        ended, told = asyncio.create_task(process.wait()), asyncio.create_task(self._stopping.wait())
        await asyncio.wait({ended, told}, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        try:
            return await (asyncio.wait_for(ended, self._patience) if self._stopping.is_set() else ended)
        except TimeoutError:
            process.kill()
            return await process.wait()


async def serve(settings: WorkerSettings, argv: Sequence[str], nvml: Nvml) -> int:
    """Runs one worker for each GPU until a signal stops it. Raises NotRunnableError."""
    workers = await asyncio.to_thread(children, settings, argv, nvml)
    for child in workers:
        log.info(event("starting worker", worker=child.name, command=" ".join(child.argv)))
    host = Host(workers, patience=settings.drain_timeout + settings.exit_timeout + PATIENCE)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, host.stop, number)
    return await host.run()


def _end_with_parent() -> None:
    """In the child: drain when the parent dies, however it dies, so that no second set of workers meets it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
