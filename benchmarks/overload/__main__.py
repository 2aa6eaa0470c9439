"""`make bench-overload`: more requests than the fleet can serve, up to five times as many.

Two real Tritons with the simulated engine, whose capacity is known: slots over the seconds of one answer. Requests arrive at
random (Poisson) and nobody waits for anybody, level by level. Bars: goodput at every level above capacity within 10% of the
best one; the time to the first token of what is accepted within admission's deadline and the engine's own queue; every
refusal tells when to come back; the gateway's memory at five times the capacity is what it was at once the capacity.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import time
from typing import Any

import psutil

from benchmarks.chaos.scenarios import MODEL, quantile, warm_up
from benchmarks.processes import cpu_seconds
from benchmarks.report import Figure, print_table, write_json
from tests.support.chat_client import Client, Seen
from tests.support.embedded_fleet import embedded, run_stoppable
from tests.support.observed_fleet import Victim

SLOTS, INSTANCES, STEP_S, TOKENS = 6, 2, 0.025, 64
ANSWER_S = TOKENS * STEP_S
CAPACITY = SLOTS * INSTANCES / ANSWER_S
"""Requests per second that the engines can finish."""
DEADLINE_S = 4.0
"""Of admission: shorter than the default, so that a level is steady after a few seconds."""
TTFT_BOUND_S = DEADLINE_S + ANSWER_S + 1.0
"""Admission lets in twice as many as there are slots, so one answer may be ahead in the engine's own queue; a second for the
rest of the way."""
LEVELS = (0.5, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0)
GOODPUT_SHARE, SOME_RSS_MB = 0.9, 16.0

Row = dict[str, Any]


async def level(client: Client, times: float, *, seconds: float, settle_s: float, pid: int, rng: random.Random) -> Row:
    """Offer `times` the capacity for a while; figures are of the last `seconds`."""
    process = psutil.Process(pid)
    tasks: list[asyncio.Task[Seen]] = []
    peak_mb = 0.0
    started = due = time.monotonic()
    begin, end = started + settle_s, started + settle_s + seconds
    cpu = 0.0
    while due < end:
        due += rng.expovariate(times * CAPACITY)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        if not cpu and due >= begin:
            cpu = cpu_seconds(pid)
        tasks.append(asyncio.create_task(client.ask(MODEL, f"Question {len(tasks)}: how far?", max_tokens=TOKENS)))
        if len(tasks) % 10 == 0:
            peak_mb = max(peak_mb, process.memory_info().rss / 2**20)
    cpu = cpu_seconds(pid) - cpu
    seen = await asyncio.gather(*tasks)
    asked = [s for s in seen if s.started >= begin]
    served = [s for s in asked if s.ok]
    refused = [s for s in asked if s.refused]
    return {
        "times": times,
        "offered_per_s": len(asked) / seconds,
        "goodput_per_s": sum(s.ok and begin <= s.ended < end for s in seen) / seconds,
        "refused": len(refused),
        "refused_share": len(refused) / max(len(asked), 1),
        "without_retry_after": sum(s.retry_after_s is None for s in refused),
        "retry_after_p50_s": quantile([float(s.retry_after_s or 0) for s in refused], 0.5),
        "failed": sum(not s.ok and not s.refused for s in asked),
        "errors": sorted({(s.error or "")[:160] for s in asked if not s.ok and not s.refused})[:3],
        "ttft_p50_s": quantile([s.ttft_s for s in served], 0.5),
        "ttft_p99_s": quantile([s.ttft_s for s in served], 0.99),
        "e2e_p99_s": quantile([s.ended - s.started for s in served], 0.99),
        "refusal_p99_s": quantile([s.ended - s.started for s in refused], 0.99),
        "rss_peak_mb": peak_mb,
        "gateway_cpu": cpu / seconds,
    }


async def measure(victim: Victim, client: Client, *, seconds: float, seed: int) -> list[Row]:
    """All levels, with the fleet at rest between them."""
    await warm_up(client)
    rng = random.Random(seed)
    rows = []
    for times in LEVELS:
        row = await level(client, times, seconds=seconds, settle_s=DEADLINE_S + 2, pid=victim.gateway_pid, rng=rng)
        rest = await victim.settled()
        row["held_after"] = rest.excess()
        print(json.dumps(row), flush=True)
        rows.append(row)
    return rows


def missed(rows: list[Row]) -> list[str]:
    """The bars that were missed, in words."""
    best = max(row["goodput_per_s"] for row in rows)
    usual_mb = next(row["rss_peak_mb"] for row in rows if row["times"] == 1.0)
    found = []
    for row in rows:
        at = f"at {row['times']:g} times the capacity"
        if row["times"] > 1 and row["goodput_per_s"] < GOODPUT_SHARE * best:
            found.append(f"goodput {row['goodput_per_s']:.2f}/s {at}, the best is {best:.2f}/s")
        if row["ttft_p99_s"] > TTFT_BOUND_S:
            found.append(f"TTFT p99 {row['ttft_p99_s']:.1f} s {at}, bound {TTFT_BOUND_S:g} s")
        if row["rss_peak_mb"] > usual_mb + SOME_RSS_MB:
            found.append(f"{row['rss_peak_mb']:.0f} MB {at}, {usual_mb:.0f} MB at the capacity")
        if row["failed"] or row["without_retry_after"] or row["held_after"]:
            found.append(
                f"{row['failed']} failed, {row['without_retry_after']} refused without Retry-After {at}; {row['held_after']}"
            )
    return found


def main() -> int:
    """Run the levels and print the table. 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each level that are counted")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--port-base", type=int, default=26000)
    args = parser.parse_args()
    engine = {"slots": SLOTS, "decode_step_ms": 1000 * STEP_S, "decode_step_ms_per_sequence": 0, "kv_blocks": 4096}
    env = {"RAGFLEET_LLM_PARAMS": json.dumps(engine), "RAGFLEET_ADMISSION_DEADLINE_S": str(DEADLINE_S)}

    async def run() -> list[Row]:
        async with Client(fleet.port, fleet.key) as client:
            return await measure(Victim(fleet), client, seconds=args.seconds, seed=args.seed)

    with embedded(
        instances=INSTANCES, flavour="simulated", port_base=args.port_base, env=env, models=("llm", "prompt")
    ) as fleet:
        rows = run_stoppable(run())
    print_table(
        f"Overload: {INSTANCES} × {SLOTS} slots, answers of {TOKENS} tokens, capacity {CAPACITY:.2f} requests/s",
        ["offered", "requests/s", "goodput/s", "refused", "no Retry-After", "TTFT p50 s", "TTFT p99 s", "end p99 s",
         "refusal p99 s", "RSS peak MB", "gateway CPU"],
        [
            [f"{r['times']:g} ×", r["offered_per_s"], r["goodput_per_s"], f"{r['refused_share']:.0%}", r["without_retry_after"],
             r["ttft_p50_s"], r["ttft_p99_s"], r["e2e_p99_s"], r["refusal_p99_s"], f"{r['rss_peak_mb']:.0f}",
             f"{r['gateway_cpu']:.0%}"]
            for r in rows
        ],
    )  # fmt: skip
    found = missed(rows)
    for words in found:
        print(f"missed: {words}")
    most, best = rows[-1], max(row["goodput_per_s"] for row in rows)
    at = f"at {most['times']:g} × the capacity"
    write_json(
        "overload",
        {"capacity_per_s": CAPACITY, "levels": rows, "missed": found, "load_average": os.getloadavg()},
        figures=[
            Figure(f"goodput {at}", most["goodput_per_s"], "/s", "the best level", best, at_least=GOODPUT_SHARE),
            Figure(f"TTFT p99 of what is accepted {at}", most["ttft_p99_s"], "s", at_most=TTFT_BOUND_S),
            Figure("requests that failed, all levels", sum(row["failed"] for row in rows), at_most=0),
            Figure("bars of this benchmark that were missed", len(found), at_most=0),
        ],
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
