"""The daemon behind `ragfleet up`: keeps every part of the fleet alive until it is told to stop.

SIGTERM stops the fleet, SIGHUP re-reads fleet.json (the number of instances may change). It holds a lock on
supervisor.pid as long as it lives, which is how others know that it does.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO

from ragfleet import consul_binary, fleet_spec, processes, services
from ragfleet.fleet_spec import FleetSpec
from ragfleet.paths import Home, cache_folder, home_from_environment
from ragfleet.process_supervisor import ProcessSupervisor
from ragfleet.services import ManagedProcess
from worker.log import configure, event

DRAIN_SECONDS = 60.0
"""What an instance gets that is scaled away while others serve; the worker's own drain time-out is shorter."""
PR_SET_CHILD_SUBREAPER = 36

log = logging.getLogger("supervisor")


class Supervisor:
    """The whole fleet of one state folder."""

    def __init__(self, home: Home, wanted: FleetSpec, consul: Path) -> None:
        self.home = home
        self._plan = wanted
        self._consul = consul
        self._supervised: dict[str, ProcessSupervisor] = {}
        self._stop = asyncio.Event()
        self._changed = asyncio.Event()
        self._draining: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Begins the orderly stop."""
        self._stop.set()

    def reload(self) -> None:
        """fleet.json has changed."""
        self._changed.set()

    async def run(self) -> None:
        """Returns when everything is stopped."""
        for part in services.infrastructure(self._plan, self.home, self._consul):
            self._supervised[part.name] = self._supervise(part)
        self._scale()
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await self._stop.wait()
            self._reap_orphans()
            if self._changed.is_set():
                self._changed.clear()
                self._plan = fleet_spec.read(self.home.plan_file) or self._plan
                self._scale()
        await self._stop_all()

    def _supervise(self, part: ManagedProcess) -> ProcessSupervisor:
        async def first() -> None:
            for name in part.after:
                await self._supervised[name].was_ready.wait()

        return ProcessSupervisor(part, self.home.log_of(part.log_name), first=first, changed=self.publish)

    def publish(self) -> None:
        """Writes parts.json whole."""
        states = [asdict(each.state) for each in self._supervised.values()]
        fresh = self.home.parts_file.with_suffix(".fresh")
        fresh.write_text(json.dumps(states, indent=1) + "\n", encoding="utf-8")
        fresh.replace(self.home.parts_file)

    def _scale(self) -> None:
        """Starts the instances that are missing, and drains those that are too many."""
        for index, name in enumerate(self._plan.names):
            if name not in self._supervised:
                self._supervised[name] = self._supervise(services.worker(self._plan, self.home, index))
        for name in [name for name in self._supervised if name.startswith("triton-") and name not in self._plan.names]:
            draining = asyncio.create_task(self._dismiss(name))
            self._draining.add(draining)
            draining.add_done_callback(self._draining.discard)
        self.publish()

    async def _dismiss(self, name: str) -> None:
        supervisor = self._supervised[name]
        if supervisor.state.state == "stopping":
            return
        log.info(event("draining", part=name))
        await supervisor.stop(DRAIN_SECONDS)
        await asyncio.to_thread(processes.sweep, self.home.root, part=name)  # a Triton whose worker had to be killed
        del self._supervised[name]
        self.home.instance_file(name).unlink(missing_ok=True)
        self.publish()
        self.reload()  # it may have been wanted again meanwhile

    async def _stop_all(self) -> None:
        """The gateways first, so that they can end their streams; then the instances together; Milvus and Consul last."""
        log.info(event("stopping the fleet"))
        for task in self._draining:
            task.cancel()
        instances = [name for name in self._supervised if name.startswith("triton-")]
        for group in (list(self._plan.gateway_urls), instances, ["milvus", "consul"]):
            members = [self._supervised[name] for name in group if name in self._supervised]
            await asyncio.gather(*(each.stop(each.part.patience) for each in members))
        log.info(event("stopped the fleet"))

    def _reap_orphans(self) -> None:
        """Collects the ended processes that a killed worker left to us (see `become_subreaper`)."""
        ours = {each.state.pid for each in self._supervised.values()}
        with contextlib.suppress(ChildProcessError):
            # One of ours is left to its own ProcessSupervisor, which wants its status: the others come after that.
            while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and ended.si_pid not in ours:
                os.waitpid(ended.si_pid, os.WNOHANG)


def become_subreaper() -> None:
    """Makes orphaned descendants our children, so that none stays a zombie where process 1 collects none (containers)."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@contextlib.contextmanager
def lock(home: Home) -> Iterator[None]:
    """Holds supervisor.pid. Raises BlockingIOError where another supervisor does."""
    with home.supervisor_pid.open("a+", encoding="utf-8") as file:
        for attempt in range(20):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:  # perhaps only somebody who looks whether we run, see `running`
                if attempt == 19:
                    raise
                time.sleep(0.05)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def running(home: Home) -> int:
    """The pid of the supervisor that holds the lock; 0 where none does, -1 where it has not written its pid yet.

    Raises OSError where the state folder is none, or another user's.
    """
    try:
        with home.supervisor_pid.open("r", encoding="utf-8", errors="replace") as file:
            return _holder(file, home)
    except FileNotFoundError:
        return 0


def _holder(file: IO[str], home: Home) -> int:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        said = file.read().strip()
        # Until it is written the file names an earlier supervisor, whose pid may be anybody's by now.
        return int(said) if said.isdecimal() and processes.is_member(int(said), home.root) else -1
    fcntl.flock(file, fcntl.LOCK_UN)
    return 0


async def serve(home: Home, wanted: FleetSpec, consul: Path) -> None:
    """Runs the fleet until SIGTERM or SIGINT."""
    supervisor = Supervisor(home, wanted, consul)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, supervisor.stop)
    loop.add_signal_handler(signal.SIGINT, supervisor.stop)
    loop.add_signal_handler(signal.SIGHUP, supervisor.reload)
    await supervisor.run()


def main() -> int:
    """`python -m ragfleet.supervisor`, started by `ragfleet up`; fleet.json says what to run."""
    configure("supervisor")
    home = home_from_environment()
    wanted = fleet_spec.read(home.plan_file)
    found = consul_binary.find(cache_folder())
    if wanted is None or found is None:
        log.error(event("nothing to run; use 'ragfleet up'", plan=home.plan_file, consul=found))
        return 1
    try:
        with lock(home):
            become_subreaper()
            asyncio.run(serve(home, wanted, found.path))
    except BlockingIOError:
        log.error(event("another supervisor runs this fleet", home=home.root))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
