"""One worker at work: three loops around one Triton.

`_keep_running` starts, adopts, restarts and finally stops it; `_watch` asks it how it is; `_beat` tells Consul.
They share a `Pulse`; only `_keep_running` decides what happens to the process.
"""

import asyncio
import contextlib
import logging
import os
import time
from datetime import UTC, datetime

from worker import meta, state, triton
from worker.backoff import Backoff
from worker.gpu_watch import GpuWatch
from worker.launch import Launch
from worker.load import LoadReport, SteadyWords
from worker.log import event
from worker.probe import Probe, Unreachable
from worker.process import TritonProcess, first_error, first_of, remove_shared_memory
from worker.registration import Registration
from worker.settings import WorkerSettings
from worker.state import InstanceState, WorkerPhase
from worker.triton_health import SILENCE, Pulse, judge

BEAT = 1.0
LOAD_PERIOD = 3.0
"""Seconds between two readings of the metrics of a Triton that serves: Consul is told of its load every 5 s at the most."""
SETTLE = 1.0
"""Seconds after the start of maintenance until no gateway can still be sending new work."""

log = logging.getLogger(__name__)


class Agent:
    """Runs one instance until it is told to stop."""

    def __init__(self, settings: WorkerSettings, launch: Launch) -> None:
        self._settings = settings
        self._launch = launch
        self._pulse = Pulse(phase_since=time.monotonic(), answered=time.monotonic())
        self._backoff = Backoff()
        self._triton: TritonProcess | None = None
        self._restarts = 0
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._looked = asyncio.Event()
        self._registration = Registration(
            settings.consul_url,
            settings.name,
            address=settings.advertise,
            port=settings.http_port,
            ca_file=settings.ca_file,
            triton_tls=settings.triton_tls,
        )
        self._probe = Probe(settings.bind, settings.http_port, settings.metrics_port)
        self._gpus = GpuWatch(launch.nvml, launch.gpus)

    def stop(self, *, at_once: bool = False) -> None:
        """Begins the drain; a second call, or `at_once`, no longer waits for running requests."""
        if self._stop.is_set() or at_once:
            self._hurry.set()
        self._stop.set()

    async def run(self) -> None:
        """Returns when Triton is stopped and the instance has left Consul."""
        self._gpus.start()
        async with self._probe:
            background = [asyncio.create_task(self._watch()), asyncio.create_task(self._beat())]
            running = asyncio.create_task(self._keep_running())
            try:
                # A loop that ends by itself has failed; then the worker fails whole, and its supervisor restarts it.
                await asyncio.wait([*background, running], return_when=asyncio.FIRST_COMPLETED)
                if not running.done():
                    running.cancel()
                for task in (*background, running):
                    if task.done() and not task.cancelled():
                        task.result()
            finally:
                self._gpus.stop()
                for task in (*background, running):
                    task.cancel()
                await asyncio.gather(*background, running, return_exceptions=True)
                await self._registration.close()
                if self._triton:
                    self._triton.close()

    # --- the life of the process -------------------------------------------------------------------------------

    async def _keep_running(self) -> None:
        self._triton = await self._adopt()
        self._looked.set()
        while not self._stop.is_set():
            if self._triton is None:
                self._triton = self._start()
            if self._triton and await self._until_ready(self._triton) and await self._until_lost(self._triton):
                continue
            if not self._stop.is_set():
                await self._pause_before_restart()
        await self._drain()

    async def _adopt(self) -> TritonProcess | None:
        """The Triton of an earlier worker, if it is alive, ready, and was started as this one would start it."""
        old = state.read(self._settings.state_file)
        if old is None or not old.pid:
            return None
        found = TritonProcess.adopt(old.pid, old.pid_started)
        if found is None:
            return None
        self._restarts = old.restarts
        try:
            if old.launch == self._launch.digest and await self._probe.ready():
                log.info(event("adopted the running triton", pid=found.pid))
                self._pulse.ready, self._pulse.answered, self._pulse.load = True, time.monotonic(), await self._load()
                self._pulse.phase = WorkerPhase.READY
                return found
        except Unreachable:
            pass
        log.info(event("stopping a triton that cannot be adopted", pid=found.pid))
        await found.kill()
        return None

    def _start(self) -> TritonProcess | None:
        self._enter(WorkerPhase.STARTING, self._pulse.reason)  # why it is started again
        removed = remove_shared_memory(triton.shared_memory_prefix(self._settings.home, self._settings.name))
        self._backoff.started(time.monotonic())
        try:
            process = TritonProcess.start(self._launch.argv, self._launch.environment, self._settings.triton_log)
        except OSError as error:
            self._enter(WorkerPhase.RESTARTING, f"tritonserver cannot be started: {error}")
            return None
        log.info(event("started triton", pid=process.pid, removed_shared_memory=removed))
        return process

    async def _until_ready(self, process: TritonProcess) -> bool:
        """Waits while the models load. False: it died, took too long, or the worker is to stop."""
        begun = time.monotonic()
        self._save()
        while not process.exited.is_set() and not self._stop.is_set():
            if self._pulse.ready and self._pulse.answered >= begun:
                await self._learn()
                process.note_models()
                self._enter(WorkerPhase.READY)
                log.info(event("triton is ready", pid=process.pid, seconds=time.monotonic() - begun))
                return True
            if time.monotonic() - begun > self._settings.start_timeout:
                self._lost(f"Triton was not ready within {self._settings.start_timeout:.0f} s")
                return False
            await first_of(process.exited, self._stop, seconds=0.1)
        if process.exited.is_set():
            self._lost(self._obituary(process))
        return False

    async def _until_lost(self, process: TritonProcess) -> bool:
        """Watches a Triton that was ready. False: it must be started again, or the worker is to stop."""
        while not process.exited.is_set() and not self._stop.is_set():
            silence = self._pulse.silence(time.monotonic())
            if silence >= self._settings.hang_timeout:
                self._lost(f"Triton did not answer for {silence:.0f} s and was killed")
                return False
            if process.dead_model:
                await first_of(process.exited, seconds=SETTLE)  # a Triton that ends has ended its models before
                if process.exited.is_set():
                    break
                self._lost(f"the process of the model '{process.dead_model}' died")
                return False
            if silence >= SILENCE and self._pulse.phase is WorkerPhase.READY:
                self._enter(WorkerPhase.HUNG, f"Triton does not answer since {silence:.0f} s")
            elif silence < SILENCE and self._pulse.phase is WorkerPhase.HUNG:
                self._enter(WorkerPhase.READY)
            await first_of(process.exited, process.model_died, self._stop, seconds=0.25)
        if process.exited.is_set():
            self._lost(self._obituary(process))
        return False

    def _obituary(self, process: TritonProcess) -> str:
        complaint = "" if process.killed else first_error(self._settings.triton_log, process.pid)
        return f"Triton {process.verdict()}" + (f": {complaint}" if complaint else "")

    def _lost(self, reason: str) -> None:
        self._pulse.ready = False
        self._pulse.load = None
        self._enter(WorkerPhase.RESTARTING, reason)

    async def _pause_before_restart(self) -> None:
        if self._triton:
            await self._triton.kill()
            self._triton.close()
            self._triton = None
        delay = self._backoff.failed(time.monotonic())
        self._restarts += 1
        self._save()
        log.warning(event("restarting triton", after_seconds=delay, restarts=self._restarts, why=self._pulse.reason))
        await first_of(self._stop, seconds=delay)

    async def _drain(self) -> None:
        """Maintenance, then wait for the running requests, then stop Triton, then leave Consul."""
        begun = time.monotonic()
        hung = self._pulse.silence(begun) >= SILENCE
        self._enter(WorkerPhase.DRAINING)
        running = self._triton
        if running and not running.exited.is_set():
            known = await self._registration.drain()
            settled = begun + (SETTLE if known else 0.0)
            while not self._hurry.is_set() and not hung and not running.exited.is_set():
                now = time.monotonic()
                if now - begun > self._settings.drain_timeout:
                    log.warning(event("requests still run at the end of the drain time-out", load=self._pulse.load))
                    break
                fresh = self._pulse.answered > settled
                if now >= settled and fresh and (self._pulse.load is None or self._pulse.load.idle):
                    break
                await first_of(self._hurry, running.exited, seconds=0.1)
            await (running.kill() if hung else running.stop(self._settings.exit_timeout, self._hurry))
        left = await self._registration.deregister()
        remove_shared_memory(triton.shared_memory_prefix(self._settings.home, self._settings.name))
        self._triton = None
        self._enter(WorkerPhase.STOPPED)
        log.info(event("stopped", seconds=time.monotonic() - begun, left_consul=left))

    # --- what it looks like, and who is told ----------------------------------------------------------------------

    async def _watch(self) -> None:
        """Asks Triton each second, faster while it starts or drains."""
        read = -LOAD_PERIOD
        while True:
            asked = time.monotonic()
            serves = self._pulse.phase in {WorkerPhase.READY, WorkerPhase.HUNG}
            with contextlib.suppress(Unreachable):
                self._pulse.ready = await self._probe.ready()
                self._pulse.answered = time.monotonic()
                if not serves or self._pulse.load is None or asked - read >= LOAD_PERIOD:
                    self._pulse.load, read = await self._load(), asked
            await asyncio.sleep(max(0.05, (BEAT if serves else 0.2) - (time.monotonic() - asked)))

    async def _load(self) -> LoadReport | None:
        """The metrics, if they can be had: a Triton without them still serves."""
        try:
            return await self._probe.load()
        except Unreachable:
            return None

    async def _beat(self) -> None:
        steady = SteadyWords()
        # A worker that restarts beside a healthy Triton must not report it as starting.
        await self._looked.wait()
        due = time.monotonic()
        while True:
            self._pulse.gpu = self._gpus.health()
            await self._registration.beat(judge(self._pulse, steady, time.monotonic()))
            due = max(due + BEAT, time.monotonic())
            await asyncio.sleep(due - time.monotonic())

    async def _learn(self) -> None:
        """Reads what the gateways must know of this engine, and writes the entry in Consul anew."""
        try:
            llm, embedding = await self._probe.config("llm"), await self._probe.config("embedding")
        except Unreachable:
            return  # the next beat reports the silence
        try:
            engine = await asyncio.to_thread(meta.engine_limits, llm)
            overrides = meta.overrides(self._settings.llm_params)
        except ValueError as error:
            log.warning(event("the limits of the engine are told from its configuration only", why=error))
            engine, overrides = {}, {}
        told = meta.describe(
            self._settings,
            meta.with_parameters(llm, {**engine, **overrides}),
            embedding,
            self._pulse.load,
            gpus=self._launch.gpus,
        )
        self._registration.describe(told)

    def _enter(self, phase: WorkerPhase, reason: str = "") -> None:
        if phase is not self._pulse.phase:
            log.info(event("entered", state=phase.value, reason=reason))
        self._pulse.phase, self._pulse.reason, self._pulse.phase_since = phase, reason, time.monotonic()
        self._save()

    def _save(self) -> None:
        settings, process = self._settings, self._triton
        state.write(
            settings.state_file,
            InstanceState(
                name=settings.name,
                state=self._pulse.phase,
                worker_pid=os.getpid(),
                pid=process.pid if process else 0,
                http_port=settings.http_port,
                grpc_port=settings.grpc_port,
                metrics_port=settings.metrics_port,
                restarts=self._restarts,
                since=datetime.now(UTC).isoformat(timespec="milliseconds"),
                reason=self._pulse.reason,
                pid_started=process.started if process else 0.0,
                launch=self._launch.digest,
            ),
        )
