"""`make chaos`: break a real fleet under load and count what the clients noticed.

Real Consul, workers, Tritons and gateway with the simulated engine, started by `ragfleet up`; then once with the real LLM.
Exit status 1 where an accepted request failed, a text differed, or something was not given back.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from benchmarks.chaos import scenarios
from benchmarks.chaos.client import Client
from benchmarks.chaos.fleet import Victim
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
ENV = {"RAGFLEET_LLM_PARAMS": json.dumps(ENGINE), "RAGFLEET_TOKEN_DEADLINE_S": "5", "RAGFLEET_ADMISSION_QUEUE": "4096"}


async def _settled(victim: Victim) -> dict[str, Any]:
    """What the gateway still holds a moment after the last client has gone."""
    for _ in range(50):
        rest = await asyncio.to_thread(victim.rest)
        if rest.held == rest.waiting == rest.streams == 0:
            break
        await asyncio.sleep(0.1)
    return {
        "held": rest.held,
        "streams": rest.streams,
        "descriptors": rest.descriptors,
        "rss_mb": round(rest.rss_mb, 1),
    }


async def _simulated(fleet: Fleet, minutes: float, seed: int) -> dict[str, dict[str, Any]]:
    victim = Victim(fleet)
    rows: dict[str, dict[str, Any]] = {}
    async with Client(fleet.port, fleet.key) as client:
        plan: dict[str, Callable[[], Awaitable[dict[str, Any]]]] = {
            "kill and stop": lambda: scenarios.kill_and_stop(victim, client),
            "rolling restart": lambda: scenarios.rolling_restart(victim, client),
            "Consul killed": lambda: scenarios.consul_gone(victim, client),
            "random faults": lambda: scenarios.random_faults(victim, client, seconds=minutes * 60, seed=seed),
            "scale 2-4-2": lambda: scenarios.scale(victim, client),
        }
        for name, run in plan.items():
            if name == "scale 2-4-2":
                await asyncio.to_thread(victim.scale, 2)
                await victim.ready(2)
            print(f"{name} …", flush=True)
            rows[name] = {**await run(), "after": await _settled(victim)}
            print(json.dumps(rows[name]), flush=True)
        print("gateway SIGTERM …", flush=True)
        rows["gateway SIGTERM"] = await scenarios.gateway_drains(victim, client)
        print(json.dumps(rows["gateway SIGTERM"]), flush=True)
    return rows


async def _real(fleet: Fleet) -> dict[str, Any]:
    victim = Victim(fleet)
    async with Client(fleet.port, fleet.key) as client:
        return {**await scenarios.kill_and_stop(victim, client, streams=8, tokens=96), "after": await _settled(victim)}


def main() -> int:
    """Run everything; print a table, write var/bench/chaos.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the random faults")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--port-base", type=int, default=27000)
    parser.add_argument("--no-real", action="store_true", help="leave out the real LLM")
    args = parser.parse_args()
    with embedded(instances=3, flavour="simulated", port_base=args.port_base, env=ENV) as fleet:
        rows = uvloop.run(_simulated(fleet, args.minutes, args.seed))
    if not args.no_real:
        print("kill and stop, real LLM …", flush=True)
        with embedded(instances=3, port_base=args.port_base, env={"RAGFLEET_TOKEN_DEADLINE_S": "20"}) as fleet:
            rows["kill and stop, real LLM"] = uvloop.run(_real(fleet))
        print(json.dumps(rows["kill and stop, real LLM"]), flush=True)
    print_table(
        "Chaos: what the clients noticed",
        ["scenario", "streams", "failed", "moved", "gap p50 s", "gap p99 s", "TTFT p99 s", "identical"],
        [
            [
                n,
                r["streams"],
                r["failed"],
                r["moved"],
                r["gap_p50_s"],
                r["gap_p99_s"],
                r["ttft_p99_s"],
                r.get("identical", ""),
            ]
            for n, r in rows.items()
        ],
    )
    total, failed = sum(r["streams"] for r in rows.values()), sum(r["failed"] for r in rows.values())
    held = sum(r["after"]["held"] + r["after"]["streams"] for r in rows.values() if "after" in r)
    exact = rows["kill and stop"]["identical"] == rows["kill and stop"]["streams"]
    print(f"accepted requests that succeeded: {100 * (1 - failed / total):.3f} % of {total}")
    write_json("chaos", {"rows": rows, "total": total, "failed": failed})
    return 0 if not failed and not held and exact else 1


if __name__ == "__main__":
    sys.exit(main())
