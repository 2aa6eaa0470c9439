"""The fleet under test: what can be done to it, and what must be back to rest afterwards."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.support.embedded_fleet import EmbeddedFleet

FEW_DESCRIPTORS = 12
"""Descriptors that may be open at rest beyond those after the warm-up: kept connections to instances, a reader or two."""
KEPT_S = 6.0
"""Connections that are kept between two requests, on either side of the gateway, are closed after 5 s at the latest."""
SOME_RSS_MB = 48.0
"""Resident memory that may be held at rest beyond that after the warm-up: allocators do not give back all they had."""


@dataclass(frozen=True, slots=True)
class Rest:
    """What a gateway, and the engines behind it, hold when nothing runs."""

    permits: int
    """Held or waited for."""
    streams: int
    in_flight: int
    """What placement holds against the instances."""
    engines: int
    """Requests in the engines, by their own metrics."""
    descriptors: int
    rss_mb: float

    def excess(self, base: "Rest | None" = None) -> list[str]:
        """What is not as it should be; with `base` also the descriptors and the memory."""
        counts = {
            "permits": self.permits,
            "streams": self.streams,
            "in flight": self.in_flight,
            "engines": self.engines,
        }
        found = [f"{count} {what} still held" for what, count in counts.items() if count]
        if base is not None and self.descriptors > base.descriptors + FEW_DESCRIPTORS:
            found.append(f"{self.descriptors} descriptors, {base.descriptors} before")
        if base is not None and self.rss_mb > base.rss_mb + SOME_RSS_MB:
            found.append(f"{self.rss_mb:.0f} MB resident, {base.rss_mb:.0f} before")
        return found


class Victim:
    """Acts on the processes of an embedded fleet by their pids, which it reads anew each time."""

    def __init__(self, fleet: EmbeddedFleet) -> None:
        self.fleet = fleet

    # Its processes

    @property
    def gateway_pid(self) -> int:
        """The first gateway's; its supervisor starts another one where it ended."""
        return self.part_pid("gateway")

    def part_pid(self, name: str) -> int:
        """A part's process, by its name in `ragfleet status`; 0 while there is none."""
        parts = json.loads((self.fleet.home / "run" / "parts.json").read_text())
        return next((int(part["pid"]) for part in parts if part["name"] == name), 0)

    def state(self, name: str) -> dict[str, Any]:
        """What an instance's worker says of it; empty while there is none."""
        with suppress(OSError, ValueError):
            found: dict[str, Any] = json.loads((self.fleet.home / "run" / f"{name}.json").read_text())
            return found
        return {}

    def pid(self, name: str) -> int:
        """The tritonserver of an instance; 0 while there is none."""
        return int(self.state(name).get("pid", 0))

    def worker_pid(self, name: str) -> int:
        """The worker of an instance; 0 while there is none."""
        return int(self.state(name).get("worker_pid", 0))

    def signal(self, name: str, number: signal.Signals) -> int:
        """Send a signal to an instance's tritonserver and, for a stop, to its stubs, as a hung machine would have it."""
        parent = psutil.Process(self.pid(name))
        family = [parent] if number == signal.SIGKILL else [parent, *parent.children(recursive=True)]
        for process in family:
            process.send_signal(number)
        return parent.pid

    def revive(self, name: str, pid: int) -> None:
        """Let a stopped tritonserver go on, if it is still the same."""
        if pid == self.pid(name):
            with suppress(psutil.Error):
                self.signal(name, signal.SIGCONT)

    def fault(self, name: str, faults: dict[str, Any]) -> None:
        """Set the simulated engine's faults of one instance; {} heals it."""
        path = self.fleet.home / "faults" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(faults))
        fresh.replace(path)

    def consul(self) -> psutil.Process | None:
        """The Consul agent; None while there is none."""
        for process in psutil.process_iter(["name"]):
            with suppress(psutil.Error):
                if process.info["name"] == "consul" and process.environ().get("RAGFLEET_HOME") == str(self.fleet.home):
                    return process
        return None

    def scale(self, count: int) -> None:
        """`ragfleet scale N`."""
        subprocess.run(
            [sys.executable, "-m", "ragfleet", "scale", str(count)],
            env={**os.environ, "RAGFLEET_HOME": str(self.fleet.home)},
            stdout=subprocess.DEVNULL, timeout=180, check=True, cwd=Path.cwd(),
        )  # fmt: skip

    # The gateway's eyes

    async def view(self) -> dict[str, Any]:
        """The gateway's /fleet. Raises OSError where it does not answer."""
        found: dict[str, Any] = json.loads(await asyncio.to_thread(self._get, "/fleet"))
        return found

    async def instances(self) -> dict[str, dict[str, Any]]:
        """Every instance by name."""
        return {entry["name"]: entry for entry in (await self.view())["instances"]}

    async def until(self, holds: Callable[[dict[str, dict[str, Any]]], bool], *, seconds: float, what: str) -> float:
        """Look at the instances 20 times a second until something is so; how long it took. Raises TimeoutError."""
        started = time.monotonic()
        seen: dict[str, dict[str, Any]] = {}
        while True:
            with suppress(OSError):
                seen = await self.instances()
                if holds(seen):
                    return time.monotonic() - started
            if time.monotonic() - started > seconds:
                states = {name: f"{entry['state']} {entry['reason']}".strip() for name, entry in seen.items()}
                raise TimeoutError(f"not within {seconds:g} s: {what}; seen: {states}")
            await asyncio.sleep(0.05)

    async def ready(self, count: int, *, seconds: float = 120.0) -> float:
        """Wait until there are so many instances and all of them are ready; how long it took."""
        return await self.until(
            lambda seen: len(seen) == count and all(entry["state"] == "ready" for entry in seen.values()),
            seconds=seconds,
            what=f"{count} instances ready",
        )

    async def settled(self, *, seconds: float = 20.0) -> Rest:
        """What is held once nothing more is given back, or after `seconds`, and kept connections have been closed."""
        end = time.monotonic() + seconds
        while (await self._rest()).excess() and time.monotonic() < end:
            await asyncio.sleep(0.2)
        await asyncio.sleep(KEPT_S)
        return await self._rest()

    async def _rest(self) -> Rest:
        view = await self.view()
        loads = [entry["load"] or {} for entry in view["instances"]]
        process = psutil.Process(self.gateway_pid)
        return Rest(
            permits=view["admission"]["held"] + view["admission"]["waiting"],
            streams=sum(entry["streams"] for entry in view["instances"]),
            in_flight=sum(entry["in_flight"] for entry in view["instances"]),
            engines=sum((load.get("active") or 0) + (load.get("waiting") or 0) for load in loads),
            descriptors=process.num_fds(),
            rss_mb=round(process.memory_info().rss / 2**20, 1),
        )

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.fleet.port}{path}", timeout=5) as response:
            found: bytes = response.read()
            return found
