"""`make test-alerts`: a real Prometheus on a real fleet sees each fault begin and end, by the alerts that operators have.

Debian's Prometheus, with the rules of docker/prometheus/alerts.yml, durations in them 60 times shorter. A fault is caused and
undone by signals; its alerts must fire while it lasts and stop after it. Exit status 1 where one does not, with its name.
"""

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import psutil

from benchmarks.prometheus import Prometheus, prometheus, targets
from ragfleet.paths import PROJECT
from tests.support.chat_client import Client
from tests.support.embedded_fleet import EmbeddedFleet, embedded
from tests.support.observed_fleet import Victim

SHORTER = 60
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DEADLINE_S = 90.0
"""For an alert to fire, and to stop; an instance that hung is started anew."""
PORT_BASE = int(os.environ.get("RAGFLEET_PORT_BASE", "27500"))
FAULTS = {
    "the only instance hangs": ("NothingServes", "SloBurnsFast", "SloBurns"),
    "Consul hangs": ("ConsulAway",),
    "the gateway hangs": ("GatewayDown",),
}


def shortened(rules: str) -> str:
    """The rules with windows and waits that are SHORTER times shorter, a second at the least. Names of recorded rules stay."""

    def shorter(found: re.Match[str]) -> str:
        seconds = max(1, int(found[2]) * SECONDS[found[3]] // SHORTER)
        # A rate wants several samples, which come each second.
        return f"{found[1]}{max(seconds, 5) if found[1] == '[' else seconds}s{found[4]}"

    return re.sub(r"(\[|for: )(\d+)([smhd])(\]|$)", shorter, rules, flags=re.MULTILINE)


async def until(holds: Callable[[], bool], what: str) -> float:
    """Seconds until it is so. Raises TimeoutError."""
    started = time.monotonic()
    while not holds():
        if time.monotonic() - started > DEADLINE_S:
            raise TimeoutError(f"not within {DEADLINE_S:g} s: {what}")
        await asyncio.sleep(0.2)
    return time.monotonic() - started


async def asking(fleet: EmbeddedFleet) -> None:
    """A short question after the other, whatever comes of them."""
    async with Client(fleet.port, fleet.key, deadline_s=5.0) as client:
        while True:
            with suppress(Exception):
                await client.ask(fleet.model, "Hello", max_tokens=2)
            await asyncio.sleep(0.1)


def processes(fleet: EmbeddedFleet, fault: str) -> list[psutil.Process]:
    """Those that a fault stops."""
    victim = Victim(fleet)
    if "instance" in fault:
        parent = psutil.Process(victim.pid("triton-0"))
        return [parent, *parent.children(recursive=True)]
    found = victim.consul() if "Consul" in fault else psutil.Process(victim.gateway_pid)
    assert found is not None
    return [found]


async def run(fleet: EmbeddedFleet, database: Prometheus) -> int:
    """Every fault; how many alerts failed."""
    load = asyncio.create_task(asking(fleet))
    failed = 0
    try:
        for fault, alerts in FAULTS.items():
            mine = frozenset(alerts)  # others look back for longer
            await until(lambda mine=mine: not database.firing() & mine, "nothing fires before the fault")  # type: ignore[misc]
            stopped = processes(fleet, fault)
            for process in stopped:
                process.send_signal(signal.SIGSTOP)
            try:
                began = [f"{name} {await until(lambda n=name: n in database.firing(), name):.0f} s" for name in alerts]  # type: ignore[misc]
            except TimeoutError as error:
                failed += 1
                began = [str(error)]
            finally:
                for process in stopped:
                    with suppress(psutil.Error):
                        process.send_signal(signal.SIGCONT)
            try:
                ended = await until(lambda mine=mine: not database.firing() & mine, "it stops")  # type: ignore[misc]
            except TimeoutError as error:
                failed += 1
                print(fault, error, database.firing(), flush=True)
                continue
            print(f"{fault}: fires ({', '.join(began)}), all quiet {ended:.0f} s after its end", flush=True)
    finally:
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)
    return failed


def main() -> int:
    """1 where an alert did not fire or did not stop."""
    rules = shortened((PROJECT / "docker/prometheus/alerts.yml").read_text("utf-8"))
    env = {"RAGFLEET_LLM_PARAMS": json.dumps({"decode_step_ms": 5})}
    with (
        embedded(instances=1, flavour="simulated", port_base=PORT_BASE, env=env, models=("llm", "prompt")) as fleet,
        prometheus(PORT_BASE + 49, targets(fleet), rules=rules) as database,
    ):
        return 1 if asyncio.run(run(fleet, database)) else 0


if __name__ == "__main__":
    sys.exit(main())
