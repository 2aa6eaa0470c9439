"""What a journal costs: CPU of the gateway for a stream with one beside the same without. `python -m benchmarks.journal`

One gateway before one real Triton with the simulated engine, the catalog in SQLite. Rounds with and without a journal take
turns, and each pair gives one ratio, so that what the machine does to one it does to the other. Short streams are the dear
case: a journal has a beginning and an end. The bar: a gateway with a journal for each stream spends at most 5 % more.
"""

import argparse
import os
import statistics
import sys
from dataclasses import dataclass

import uvloop

from benchmarks.gateway import load
from benchmarks.processes import cpu_seconds
from benchmarks.report import Figure, print_table, write_json
from tests.support.embedded_fleet import EmbeddedFleet, embedded

BAR = 1.05
JOURNALED = {"without": "X-Ragfleet-Journal: false\r\n", "with": "X-Ragfleet-Journal: true\r\n"}


@dataclass(frozen=True, slots=True)
class Shape:
    """A load: so many clients at once, each with streams of so many tokens, one token each `step_ms`."""

    streams: int
    tokens: int
    step_ms: int


SHAPES = (Shape(16, 64, 5), Shape(48, 256, 25))


def main() -> int:
    """Measure, print the table. 1 where the bar is missed or a request failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=160, help="of each round, about")
    parser.add_argument("--port-base", type=int, default=28200)
    args = parser.parse_args()
    rows, failed = [], 0
    for shape in SHAPES:
        engine = f'{{"decode_step_ms": {shape.step_ms}, "decode_step_ms_per_sequence": 0, "slots": {shape.streams}}}'
        # Bringing files in is a process of its own, whose start would count as the gateway's child.
        env = {"RAGFLEET_LLM_PARAMS": engine, "RAGFLEET_INGESTION": "0"}
        models = ("prompt", "llm")
        with embedded(instances=1, flavour="simulated", port_base=args.port_base, env=env, models=models) as fleet:
            spent: dict[str, list[float]] = {name: [] for name in JOURNALED}
            for number in range(-1, args.rounds):
                for name, head in JOURNALED.items():
                    outcome, cost = _round(fleet, shape, head, args.requests if number >= 0 else shape.streams)
                    failed += outcome.failed
                    if number >= 0:
                        spent[name].append(cost)
        rows.append((shape, spent))
    ratios = [[on / off for off, on in zip(spent["without"], spent["with"], strict=True)] for _, spent in rows]
    print_table(
        f"CPU of the gateway, ms per streamed request (load {os.getloadavg()[0]:.1f})",
        ["streams at once", "tokens", "a token each ms", "without", "with", "ratio", "by pair"],
        [
            [
                shape.streams, shape.tokens, shape.step_ms,
                *(statistics.median(spent[name]) for name in JOURNALED),
                f"{statistics.median(found):.3f}", f"{min(found):.2f}–{max(found):.2f}",
            ]
            for (shape, spent), found in zip(rows, ratios, strict=True)
        ],
    )  # fmt: skip
    good = not failed and all(statistics.median(found) <= BAR for found in ratios)
    print(f"{failed} failed; the bar is {BAR:.2f}: {'met' if good else 'missed'}")
    figures = [
        {"shape": repr(shape), "cpu_ms": spent, "ratios": found}
        for (shape, spent), found in zip(rows, ratios, strict=True)
    ]
    claims = [
        Figure(
            f"CPU for a stream of {shape.tokens} tokens with a journal, {shape.streams} at once",
            statistics.median(spent["with"]), "ms", "without", statistics.median(spent["without"]), statistics.median(found),
            at_most=BAR,
        )
        for (shape, spent), found in zip(rows, ratios, strict=True)
    ]  # fmt: skip
    result = {"rows": figures, "failed": failed, "load_average": os.getloadavg(), "bar_met": good}
    write_json("journal", result, figures=[*claims, Figure("streams that failed", failed, at_most=0)])
    return 0 if good else 1


def _round(fleet: EmbeddedFleet, shape: Shape, head: str, requests: int) -> tuple[load.Outcome, float]:
    """What the clients saw, and milliseconds of the gateway for each request."""
    each = max(1, requests // shape.streams)
    before = cpu_seconds(fleet.gateway_pid)
    outcome = uvloop.run(
        load.run(
            fleet.port,
            model=fleet.model,
            key=fleet.key,
            concurrency=shape.streams,
            each=each,
            max_tokens=shape.tokens,
            head=head,
        )
    )
    return outcome, (cpu_seconds(fleet.gateway_pid) - before) * 1000 / outcome.requests


if __name__ == "__main__":
    sys.exit(main())
