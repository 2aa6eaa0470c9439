"""`make chaos`: break a real fleet under load and count what the clients noticed.

Real Consul, workers, Tritons and gateway, started by `ragfleet up`; the engine is the simulated one, and once the real LLM.
Of the model repository only what these requests use is served (`llm`, `prompt`): each restart would load the embedding model
again, and the machine would be busy with that. Each scenario has a deadline; one that breaks is reported, and the next ones run
on a fresh fleet. The random faults come last, on a fleet with two gateways, and take what is left of the limit: streams of
every kind (guided, calls of functions, several choices), and gateways are killed, too. Exit status 1 where an accepted request
failed, the ledger differs from what clients received, something was not given back, or a scenario missed its bar or its
deadline; 2 for a scenario that does not exist.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.chaos import scenarios
from benchmarks.chaos.heartbeat import heartbeat
from benchmarks.chaos.random_faults import random_faults
from benchmarks.chaos.report import Report
from benchmarks.chaos.scenarios import Row
from tests.support.chat_client import Client
from tests.support.embedded_fleet import EmbeddedFleet, embedded, run_stoppable
from tests.support.observed_fleet import Rest, Victim

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
FAULTS_END_S, FAULTS_LEAST_S = 240.0, 30.0
"""After the random faults the fleet comes to rest and is stopped; they run for so long at least, whatever is left."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Something to do to the fleet, and the seconds it may take."""

    run: Callable[[Victim, Client], Awaitable[Row]]
    seconds: float


async def run(fleet: EmbeddedFleet, plan: dict[str, Scenario], report: Report) -> None:
    """Scenarios one after the other, those done are taken out of `plan`; returns early where one left the fleet broken."""
    victim = Victim(fleet)
    async with Client(fleet.port, fleet.key, deadline_s=300.0) as client:
        await scenarios.warm_up(client)
        base = await victim.settled()
        print(f"at rest after the warm-up: {asdict(base)}", flush=True)
        while plan and report.left_s > 0:
            name = next(iter(plan))
            scenario = plan.pop(name)
            seconds = min(scenario.seconds, report.left_s)
            print(f"{name} … (at most {seconds:.0f} s)", flush=True)
            try:
                async with asyncio.timeout(seconds):
                    row = await scenario.run(victim, client)
                row["rest"], row["missed"] = await _rest(victim, base, row["missed"])
                if "ledger" not in row:
                    row["ledger"] = {"received": client.received, "charged": await client.charged()}
                    if row["ledger"]["charged"] != client.received:
                        row["missed"].append(f"tokens in the ledger and at clients since the start: {row['ledger']}")
            except Exception as error:  # noqa: BLE001 - the boundary of a scenario: whatever broke it, the next one runs
                words = str(error) or f"no end within {seconds:.0f} s"
                report.broke(name, f"{type(error).__name__}: {words}")
                return
            report.add(name, row)


async def _rest(victim: Victim, base: Rest, missed: list[str]) -> tuple[dict[str, Any], list[str]]:
    rest = await victim.settled()
    return asdict(rest), missed + rest.excess(base)


def main() -> int:
    """Run the scenarios; print tables, write var/bench/chaos.json."""
    args = _arguments()
    real: dict[str, Scenario] = {
        "real-llm": Scenario(lambda victim, client: scenarios.kill_and_stop(victim, client, streams=8, tokens=96), 300)
    }
    simulated: dict[str, Scenario] = {
        "kill-and-stop": Scenario(scenarios.exact_kill_and_stop, 180),
        "rolling-restart": Scenario(scenarios.rolling_restart, 240),
        "scale": Scenario(scenarios.scale, 240),
        "consul-killed": Scenario(scenarios.consul_killed, 120),
        "gateway-sigterm": Scenario(scenarios.gateway_sigterm, 120),
        "heartbeat": Scenario(heartbeat, 240),
    }
    with_gateways: dict[str, Scenario] = {
        "random-faults": Scenario(
            lambda victim, _: random_faults(
                victim,
                seconds=max(FAULTS_LEAST_S, min(args.minutes * 60, report.left_s - FAULTS_END_S)),
                seed=args.seed,
            ),
            args.minutes * 60 + FAULTS_END_S,
        ),
    }
    fleets = (("", REAL, 1, real), ("simulated", SIMULATED, 1, simulated), ("simulated", SIMULATED, 2, with_gateways))
    known = [name for *_, plan in fleets for name in plan]
    wanted = args.only or known
    if unknown := set(wanted) - set(known):
        print(f"no scenario {', '.join(sorted(unknown))}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    report = Report(wanted, limit_s=args.limit_minutes * 60)
    try:
        for flavour, env, gateways, plan in fleets:
            left = {name: scenario for name, scenario in plan.items() if name in wanted}
            while left:
                _one_fleet(left, report, flavour=flavour, env=env, gateways=gateways, port_base=args.port_base)
    finally:  # also when told to stop: what was seen is told
        good = report.tell()
    return 0 if good else 1


def _one_fleet(
    plan: dict[str, Scenario], report: Report, *, flavour: str, env: dict[str, str], gateways: int, port_base: int
) -> None:
    """Run as much of `plan` as one fleet bears. At least one scenario is taken out of it, run or not."""
    before = len(plan)
    if report.left_s <= 0:
        report.broke(name := next(iter(plan)), "not run: no time was left for it")
        del plan[name]
        return
    try:
        with embedded(
            instances=INSTANCES, gateways=gateways, flavour=flavour, port_base=port_base, env=env, models=MODELS
        ) as fleet:
            run_stoppable(run(fleet, plan, report))
    except Exception as error:  # noqa: BLE001 - a fleet that does not come up, or not down, costs one scenario and not the run
        if len(plan) == before:
            report.broke(name := next(iter(plan)), f"not run: {type(error).__name__}: {error}")
            del plan[name]
        else:
            print(f"the fleet ended badly: {type(error).__name__}: {error}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", metavar="SCENARIO", help="run this one; may be given several times")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the random faults")
    parser.add_argument("--quick", action="store_true", help="two minutes of random faults and nothing else")
    parser.add_argument("--limit-minutes", type=float, default=25.0, help="what has not begun after so long is missed")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--port-base", type=int, default=27000)
    args = parser.parse_args()
    if args.quick:
        args.only, args.minutes = ["random-faults"], 2.0
    return args


if __name__ == "__main__":
    sys.exit(main())
