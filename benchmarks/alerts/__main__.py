"""`make test-alerts`: a real Prometheus on a real fleet sees each fault begin and end, by the alerts that operators have.

Debian's Prometheus, with the rules of docker/prometheus/alerts.yml, in shorter time (rules.py). A fault is caused and undone
(faults.py); its alerts must fire while it lasts and stop after it. Exit status 1 where one does not, with its name.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from benchmarks.alerts.faults import FAULTS, KV_BLOCKS, QUEUE, UNPROVED, Fault, Faults
from benchmarks.alerts.rules import shortened
from benchmarks.prometheus import Prometheus, prometheus, targets
from benchmarks.report import Figure, write_json
from ragfleet.paths import PROJECT
from tests.support.chat_client import Client
from tests.support.debian_program import NotToBeHad
from tests.support.embedded_fleet import EmbeddedFleet, embedded

DEADLINE_S = 240.0
"""For an alert to fire, and to stop; an instance that hung is started anew."""
PORT_BASE = int(os.environ.get("RAGFLEET_PORT_BASE", "27500"))
ENGINE = {"decode_step_ms": 10, "kv_blocks": KV_BLOCKS, "faults_file": "{home}/faults/{instance}.json"}


async def until(holds: Callable[[], bool], what: str) -> float:
    """Seconds until it is so. Raises TimeoutError."""
    started = time.monotonic()
    while not await asyncio.to_thread(holds):
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


async def tried(fault: Fault, faults: Faults, database: Prometheus) -> str:
    """How long its alerts took to begin and to end. Raises TimeoutError with the one that did not."""

    def none_fires() -> bool:
        return not database.firing() & set(fault.alerts)

    await until(none_fires, "nothing fires before the fault")
    begun: dict[str, float] = {}
    async with fault.context(faults):
        started = time.monotonic()

        def all_fired() -> bool:  # one that looks back a short time may have stopped when another begins
            for alert in database.firing() & set(fault.alerts) - begun.keys():
                begun[alert] = time.monotonic() - started
            return len(begun) == len(fault.alerts)

        try:
            await until(all_fired, "it fires")
        except TimeoutError as error:
            missing = ", ".join(sorted(set(fault.alerts) - begun.keys()))
            raise TimeoutError(f"{error} ({missing})") from None
    ended = await until(none_fires, "it stops")
    told = ", ".join(f"{alert} {begun[alert]:.0f} s" for alert in fault.alerts)
    return f"fires ({told}), all quiet {ended:.0f} s after its end"


async def run(fleet: EmbeddedFleet, database: Prometheus, wanted: Sequence[Fault]) -> int:
    """Every fault; how many failed."""
    faults = Faults(fleet)
    load = asyncio.create_task(asking(fleet))
    failed = 0
    told: dict[str, str] = {}
    try:
        for fault in wanted:
            try:
                said = await tried(fault, faults, database)
            except TimeoutError as error:
                failed += 1
                said = f"FAILED: {error}; now firing: {', '.join(sorted(database.firing())) or 'none'}"
            told[fault.name] = said
            print(f"{fault.name}: {said}", flush=True)
    finally:
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)
    for alert, why in UNPROVED.items():
        print(f"{alert}: not tried here: {why}")
    write_json(
        "alerts",
        {"faults": told, "unproved": dict(UNPROVED)},
        figures=[
            Figure(f"of {len(wanted)} faults, those whose alerts did not fire or did not stop", failed, at_most=0)
        ],
    )
    return failed


def main() -> int:
    """1 where an alert did not fire or did not stop, 3 where no Prometheus can be had."""
    parser = argparse.ArgumentParser(prog="make test-alerts", description=__doc__)
    parser.add_argument("--only", metavar="WORD", default="", help="faults with this word in their name")
    only = parser.parse_args().only
    wanted = [fault for fault in FAULTS if only in fault.name]
    rules = shortened((PROJECT / "docker/prometheus/alerts.yml").read_text("utf-8"))
    env = {"RAGFLEET_LLM_PARAMS": json.dumps(ENGINE), "RAGFLEET_ADMISSION_QUEUE": str(QUEUE)}
    env |= {"RAGFLEET_TOKEN_DEADLINE_S": "20"}  # an engine that stands has its streams for so long
    # Less than `asking` waits; what a slow machine breaches all the time would never stop.
    env |= {"RAGFLEET_SLO_TTFT_S": "4", "RAGFLEET_SLO_INTER_TOKEN_S": "10", "RAGFLEET_SLO_FRESHNESS_S": "3600"}
    try:
        with (
            embedded(instances=2, flavour="simulated", port_base=PORT_BASE, env=env) as fleet,
            prometheus(PORT_BASE + 49, targets(fleet), rules=rules) as database,
        ):
            return 1 if asyncio.run(run(fleet, database, wanted)) else 0
    except NotToBeHad as why:
        print(why, file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
