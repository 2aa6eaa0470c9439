"""The fleet under test: what can be done to it, and what must be back to rest afterwards."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.fleet import Fleet


@dataclass(frozen=True, slots=True)
class Rest:
    """What a gateway holds when nothing runs."""

    held: int
    waiting: int
    streams: int
    descriptors: int
    rss_mb: float


class Victim:
    """Acts on the processes of an embedded fleet by their pids, which it reads anew each time."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet

    def status(self) -> dict[str, Any]:
        """`ragfleet status --json`."""
        found: dict[str, Any] = json.loads(self._ragfleet("status", "--json"))
        return found

    def pid(self, name: str) -> int:
        """The tritonserver of an instance, from its worker's state file."""
        return int(json.loads((self.fleet.home / "run" / f"{name}.json").read_text())["pid"])

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to an instance's tritonserver and, for a stop, to its stubs, as a hung machine would have it."""
        parent = psutil.Process(self.pid(name))
        family = [parent] if number == signal.SIGKILL else [parent, *parent.children(recursive=True)]
        for process in family:
            process.send_signal(number)

    def fault(self, name: str, faults: dict[str, Any]) -> None:
        """Set the simulated engine's faults of one instance; {} heals it."""
        path = self.fleet.home / "faults" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(faults))
        fresh.replace(path)

    def consul(self) -> psutil.Process:
        """The Consul agent."""
        for process in psutil.process_iter(["name"]):
            if process.info["name"] == "consul" and process.environ().get("RAGFLEET_HOME") == str(self.fleet.home):
                return process
        raise RuntimeError("Consul does not run")

    def scale(self, count: int) -> None:
        """`ragfleet scale N`."""
        self._ragfleet("scale", str(count))

    def view(self) -> dict[str, Any]:
        """The gateway's /fleet."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.fleet.port}/fleet", timeout=5) as response:
            found: dict[str, Any] = json.load(response)
        return found

    async def ready(self, count: int, *, seconds: float = 90.0) -> float:
        """Wait until so many instances are ready in the gateway's eyes; how long it took."""
        started = time.monotonic()
        while True:
            states = [i["state"] for i in (await asyncio.to_thread(self.view))["instances"]]
            if states.count("ready") >= count and (len(states) == count or states.count("ready") == count):
                return time.monotonic() - started
            if time.monotonic() - started > seconds:
                raise TimeoutError(f"not {count} instances ready after {seconds:g} s: {states}")
            await asyncio.sleep(0.2)

    def rest(self) -> Rest:
        """What the gateway holds now."""
        view = self.view()
        process = psutil.Process(self.fleet.gateway_pid)
        return Rest(
            held=view["admission"]["held"],
            waiting=view["admission"]["waiting"],
            streams=sum(i["streams"] for i in view["instances"]),
            descriptors=process.num_fds(),
            rss_mb=process.memory_info().rss / 2**20,
        )

    def _ragfleet(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "ragfleet", *words],
            env={**os.environ, "RAGFLEET_HOME": str(self.fleet.home)},
            stdout=subprocess.PIPE, text=True, timeout=120, check=True, cwd=Path.cwd(),
        )  # fmt: skip
        return done.stdout
