"""`make test-dashboard`: every query of the Grafana dashboard must give rows.

A real fleet goes through work, refusals, failures, losses and pauses; a real Prometheus scrapes it and is asked. Prints a table;
`--picture FILE` draws the dashboard as SVG. Exit status 1 for a query without rows. What Triton tells of GPUs alone is named, and
not asked for where there is none.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from os import environ
from pathlib import Path

from benchmarks.dashboard.load import QUEUE, Load
from benchmarks.dashboard.panels import Answer, answers
from benchmarks.dashboard.picture import picture
from benchmarks.prometheus import Prometheus, prometheus, targets
from benchmarks.report import Figure, write_json
from tests.support.debian_program import NotToBeHad
from tests.support.embedded_fleet import EmbeddedFleet, embedded

PORT_BASE = int(environ.get("RAGFLEET_PORT_BASE", "27400"))
AFTER_S = 15.0
"""Of steady work at the end."""


async def use(fleet: EmbeddedFleet) -> None:
    """All that the panels tell of."""

    def told(what: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)

    load = Load(fleet)
    told("files go in")
    await load.ingest()
    async with load.steady():
        await load.everything(told)
        await asyncio.sleep(AFTER_S)


def measured(fleet: EmbeddedFleet, database: Prometheus) -> tuple[list[Answer], float, float]:
    """The answers to all queries, and the time that they are of."""
    begin = time.time()
    asyncio.run(use(fleet))
    end = time.time()
    return list(answers(database, begin, end)), begin, end


def table(found: Sequence[Answer]) -> int:
    """Print it; how many queries should have given rows and did not."""
    has_gpu = any(each.series for each in found if each.query.wants_a_gpu)
    missing = 0
    for each in found:
        excused = each.query.wants_a_gpu and not has_gpu and not each.series
        missing += not each.series and not excused
        said = (
            f"{len(each.series):3} lines {each.points:6} points"
            if each.series
            else "no GPU here"
            if excused
            else "NO ROWS"
        )
        print(f"{each.panel.title:52} {each.query.legend:36} {said}")
    print(f"{len(found)} queries in {len({each.panel.title for each in found})} panels, {missing} without rows")
    return missing


def main() -> int:
    """1 where a query gave no rows, 3 where no Prometheus can be had."""
    parser = argparse.ArgumentParser(prog="make test-dashboard", description=__doc__)
    parser.add_argument("--picture", type=Path, help="write the dashboard there, as SVG")
    wanted = parser.parse_args()
    engine = {"decode_step_ms": 10, "faults_file": "{home}/faults/{instance}.json"}
    env = {"RAGFLEET_LLM_PARAMS": json.dumps(engine), "RAGFLEET_ADMISSION_QUEUE": str(QUEUE)}
    try:
        with (
            embedded(instances=2, flavour="simulated", port_base=PORT_BASE, env=env) as fleet,
            prometheus(PORT_BASE + 49, targets(fleet)) as database,
        ):
            found, begin, end = measured(fleet, database)
    except NotToBeHad as why:
        print(why, file=sys.stderr)
        return 3
    if wanted.picture:
        when = time.strftime("%d %B %Y, %H:%M UTC", time.gmtime(end))
        heading = f"The dashboard of a fleet of two simulated engines, {when}"
        wanted.picture.write_text(picture(found, begin, end, heading), "utf-8")
    missing = table(found)
    claim = Figure(f"of {len(found)} queries of the dashboard, those without rows", missing, at_most=0)
    rows = {f"{each.panel.title}: {each.query.legend}": len(each.series) for each in found}
    write_json("dashboard", {"lines": rows}, figures=[claim])
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
