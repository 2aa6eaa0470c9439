"""`make chaos`: break a real fleet under load and count what the clients noticed.

Real Consul, workers, Tritons and gateway, started by `ragfleet up`; the engine is the simulated one, and once the real LLM.
Of the model repository only what these requests use is served (`llm`, `prompt`): each restart would load the embedding model
again, and the machine would be busy with that. Exit status 1 where an accepted request failed, something was not given back,
or a scenario missed its bar or its deadline.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

import uvloop

from benchmarks.chaos import scenarios
from benchmarks.chaos.client import Client
from benchmarks.chaos.fleet import FEW_DESCRIPTORS, SOME_RSS_MB, Rest, Victim
from benchmarks.chaos.heartbeat import ISOLATED_S, REJOINED_S, heartbeat
from benchmarks.chaos.scenarios import Row
from benchmarks.fleet import Fleet, embedded
from benchmarks.report import print_table, write_json

# A mid-size GPU's shape at a laptop's cost: 40 tokens per second and stream, however many streams.
ENGINE = {
    "decode_step_ms": 25,
    "decode_step_ms_per_sequence": 0,
    "prefill_tokens_per_s": 20000,
    "slots": 48,
    "kv_blocks": 4096,
    "faults_file": "{home}/faults/{instance}.json",
}
SIMULATED = {
    "RAGFLEET_LLM_PARAMS": json.dumps(ENGINE),
    "RAGFLEET_TOKEN_DEADLINE_S": "5",
    "RAGFLEET_ADMISSION_QUEUE": "4096",
}
REAL = {"RAGFLEET_TOKEN_DEADLINE_S": "20"}
MODELS = ("llm", "prompt")
INSTANCES = 3
REAL_LLM = "real-llm"


@dataclass(frozen=True, slots=True)
class Scenario:
    """Something to do to the fleet, and the seconds it may take."""

    run: Callable[[Victim, Client], Awaitable[Row]]
    seconds: float


class Report:
    """The rows so far, and the time that is left for more."""

    def __init__(self, *, limit_s: float) -> None:
        self.rows: dict[str, Row] = {}
        self._end = time.monotonic() + limit_s

    @property
    def left_s(self) -> float:
        """Seconds until the whole run must be over."""
        return self._end - time.monotonic()

    def add(self, name: str, row: Row) -> None:
        """Keep a row, and show it."""
        self.rows[name] = row
        print(json.dumps(row), flush=True)

    def broke(self, name: str, error: str) -> None:
        """A scenario came to no end."""
        self.add(name, {**scenarios.summary([]), "missed": [error[:500]]})


async def run(fleet: Fleet, plan: dict[str, Scenario], report: Report) -> None:
    """Scenarios one after the other, those done are taken out of `plan`; returns early where one left the fleet broken."""
    victim = Victim(fleet)
    async with Client(fleet.port, fleet.key, deadline_s=300.0) as client:
        await scenarios.warm_up(client)
        base = await victim.settled()
        print(f"at rest after the warm-up: {asdict(base)}", flush=True)
        while plan:
            name = next(iter(plan))
            scenario = plan.pop(name)
            seconds = min(scenario.seconds, report.left_s)
            print(f"{name} … (at most {seconds:.0f} s)", flush=True)
            try:
                async with asyncio.timeout(seconds):
                    row = await scenario.run(victim, client)
                row["rest"], row["missed"] = await _rest(victim, base, row["missed"])
            except (TimeoutError, OSError, RuntimeError) as error:
                report.broke(name, f"{type(error).__name__}: {error or f'no end within {seconds:.0f} s'}")
                return
            report.add(name, row)


async def _rest(victim: Victim, base: Rest, missed: list[str]) -> tuple[dict[str, Any], list[str]]:
    rest = await victim.settled()
    return asdict(rest), missed + rest.excess(base)


def main() -> int:
    """Run the scenarios; print tables, write var/bench/chaos.json."""
    args = _arguments()
    simulated: dict[str, Scenario] = {
        "kill-and-stop": Scenario(scenarios.exact_kill_and_stop, 180),
        "rolling-restart": Scenario(scenarios.rolling_restart, 180),
        "consul-killed": Scenario(scenarios.consul_killed, 120),
        "heartbeat": Scenario(heartbeat, 240),
        "scale": Scenario(scenarios.scale, 240),
        "gateway-sigterm": Scenario(scenarios.gateway_sigterm, 120),
        "random-faults": Scenario(
            lambda victim, client: scenarios.random_faults(victim, client, seconds=args.minutes * 60, seed=args.seed),
            args.minutes * 60 + 180,
        ),
    }
    real = {
        REAL_LLM: Scenario(lambda victim, client: scenarios.kill_and_stop(victim, client, streams=8, tokens=96), 300)
    }
    wanted = args.only or [*simulated, *real]
    if unknown := set(wanted) - simulated.keys() - real.keys():
        print(f"no scenario {', '.join(sorted(unknown))}; there are: {', '.join([*simulated, *real])}", file=sys.stderr)
        return 2
    report = Report(limit_s=args.limit_minutes * 60)
    for plan, flavour, env in ((simulated, "simulated", SIMULATED), (real, "", REAL)):
        left = {name: scenario for name, scenario in plan.items() if name in wanted}
        while left:
            try:
                if report.left_s <= 0:
                    raise TimeoutError("no time was left for it")
                with embedded(
                    instances=INSTANCES, flavour=flavour, port_base=args.port_base, env=env, models=MODELS
                ) as fleet:
                    uvloop.run(run(fleet, left, report))
            except (TimeoutError, OSError, RuntimeError, subprocess.SubprocessError) as error:
                for name in [*left]:
                    report.broke(name, f"not run: {error}")
                    del left[name]
    return _tell(report.rows)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", metavar="SCENARIO", help="run this one; may be given several times")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the random faults")
    parser.add_argument(
        "--limit-minutes", type=float, default=25.0, help="after so long what was not run counts as missed"
    )
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--port-base", type=int, default=27000)
    return parser.parse_args()


def _tell(rows: dict[str, Row]) -> int:
    print_table(
        "Chaos: what the clients noticed",
        [
            "scenario",
            "streams",
            "failed",
            "refused",
            "moved",
            "gap p50 s",
            "gap p99 s",
            "TTFT p99 s",
            "identical",
            "ok",
        ],
        [
            [
                name,
                *(
                    row[key]
                    for key in ("streams", "failed", "refused", "moved", "gap_p50_s", "gap_p99_s", "ttft_p99_s")
                ),
                f"{row['identical']}/{row['streams']}" if "identical" in row else "",
                "yes" if _good(row) else "NO",
            ]
            for name, row in rows.items()
        ],
    )
    if figures := rows.get("heartbeat", {}).get("heartbeat"):
        print_table(
            "Heartbeat: seconds until an instance gets no more work, and until it does again",
            ["lost", "isolated", "stated", "rejoined", "stated", "what the gateway said"],
            [
                [what, _cell(f["isolated_s"]), ISOLATED_S.get(what, ""), _cell(f["rejoined_s"]), REJOINED_S.get(what, ""),
                 f"{f['state']}: {f['reason'][:60]}"]
                for what, f in figures.items() if "state" in f
            ],
        )  # fmt: skip
    print_table(
        f"At rest after each (bounds: nothing held, {FEW_DESCRIPTORS} descriptors and {SOME_RSS_MB:g} MB more than before)",
        ["scenario", "permits", "streams", "in flight", "in engines", "descriptors", "RSS MB"],
        [[name, *row["rest"].values()] for name, row in rows.items() if "rest" in row],
    )
    for name, row in rows.items():
        for what in (*row["missed"], *row["errors"]):
            print(f"{name}: {what}")
    total, failed = sum(r["streams"] - r["refused"] for r in rows.values()), sum(r["failed"] for r in rows.values())
    if total:
        print(f"accepted requests that succeeded: {100 * (1 - failed / total):.3f} % of {total}")
    write_json("chaos", {"rows": rows, "accepted": total, "failed": failed, "load_average": os.getloadavg()})
    return 0 if all(_good(row) for row in rows.values()) else 1


def _good(row: Row) -> bool:
    return not row["failed"] and not row["refused"] and not row["missed"]


def _cell(value: float | None) -> object:
    return "not needed" if value is None else value


if __name__ == "__main__":
    sys.exit(main())
