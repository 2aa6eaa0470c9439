"""`make bench-tracing`: CPU of a gateway per streamed request of 64 tokens, with traces off, sampled, and of every request.

Gateways of this version in front of one real Triton with the simulated engine, in one run and in turn, in another order each
time; the ratio is taken pair by pair. Two are off: what tells these apart is the machine's noise. Bar: at most 3 % more with the
default sample. What "off" costs is too little for that: it is timed by itself, the spans of a request in a loop. Beside that
calls of functions for a request (calls.py), which are the same however busy the machine is.
"""

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import uvloop

from benchmarks.gateway import load
from benchmarks.processes import cpu_seconds, free_port, process, wait_http
from benchmarks.report import Figure, print_table, write_json
from benchmarks.tracing import calls
from gateway.telemetry import OFF
from tests.support.embedded_fleet import EmbeddedFleet, embedded

ENGINE = '{"decode_step_ms": 5, "decode_step_ms_per_sequence": 0, "slots": 16}'
BAR = 1.03
SPANS = 4
"""Of one chat: the request's, the answer's, those of the calls of `prompt` and of `llm`."""
LOGS = Path("var/bench/logs")


def main() -> int:
    """Run the rounds, print the table. 1 where the bar is missed."""
    parser = argparse.ArgumentParser(prog="make bench-tracing", description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--each", type=int, default=8, help="requests per client and round (16 clients)")
    parser.add_argument("--port-base", type=int, default=28200)
    args = parser.parse_args()
    with ExitStack() as stack:
        sink = free_port()
        stack.enter_context(
            process([sys.executable, "-m", "benchmarks.tracing.sink", str(sink)], log=LOGS / "sink.log")
        )
        env = {"RAGFLEET_LLM_PARAMS": ENGINE, "RAGFLEET_INGESTION": "0"}
        fleet = stack.enter_context(
            embedded(instances=1, flavour="simulated", port_base=args.port_base, env=env, models=("prompt", "llm"))
        )
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{sink}"}
        kinds: dict[str, Mapping[str, str]] = {
            "off": {},
            "off again": {},
            "a tenth": {**endpoint, "RAGFLEET_TRACE_SAMPLE": "0.1"},
            "every request": {**endpoint, "RAGFLEET_TRACE_SAMPLE": "1"},
        }
        gateways = {name: stack.enter_context(_gateway(fleet, name, more)) for name, more in kinds.items()}
        figures = _rounds(fleet, gateways, args.rounds, args.each)
        with urllib.request.urlopen(f"http://127.0.0.1:{sink}", timeout=10) as reply:
            received = int(reply.read())
    return _report(figures, received)


def _rounds(
    fleet: EmbeddedFleet, gateways: Mapping[str, tuple[int, int]], rounds: int, each: int
) -> dict[str, list[float]]:
    """Milliseconds of CPU per request, of each round. The first one warms up."""
    figures: dict[str, list[float]] = {name: [] for name in gateways}
    chance = random.Random(4)
    for number in range(-1, rounds):
        for name in chance.sample(list(gateways), len(gateways)):
            port, pid = gateways[name]
            before = cpu_seconds(pid)
            outcome = uvloop.run(load.run(port, model=fleet.model, key=fleet.key, concurrency=16, each=each))
            if outcome.failed:
                print(f"{name}: {outcome.failed} failed", file=sys.stderr)
            if number >= 0:
                figures[name].append((cpu_seconds(pid) - before) * 1000 / outcome.requests)
    return figures


def _report(figures: Mapping[str, Sequence[float]], received: int) -> int:
    ratios = {
        name: [ours / off for ours, off in zip(values, figures["off"], strict=True)] for name, values in figures.items()
    }
    medians = {name: statistics.median(values) for name, values in ratios.items()}
    lines = []
    for name, values in figures.items():
        low, _, high = statistics.quantiles(ratios[name], n=4)
        lines.append([name, statistics.median(values), medians[name], low, high])
    head = ["traces", "ms a request", "ratio to off", "lower quartile", "upper quartile"]
    print_table("CPU of a gateway per streamed request of 64 tokens, 16 at once", head, lines)
    counted = calls.count()
    told = ", ".join(f"{name} {number} ({number / counted['off']:.3f})" for name, number in counted.items())
    print(f"calls of functions for a chat of 16 tokens, its client and engine included: {told}")
    off_us, ms = _off_us(), statistics.median(figures["off"])
    print(f"off: {SPANS} spans that are none take {off_us:.2f} µs, {off_us / ms / 10:.4f} % of a request's CPU")
    print(
        f"a tenth: {100 * (medians['a tenth'] - 1):+.1f} % (bar: at most 3 %); {received} bytes of spans were received"
    )
    ok = medians["a tenth"] <= BAR and received > 0
    write_json(
        "tracing",
        {
            "cpu_ms_per_request": figures,
            "ratios": medians,
            "off_us": off_us,
            "calls": counted,
            "load_average": os.getloadavg(),
            "bar_met": ok,
        },
        figures=[
            Figure("CPU of the gateway per request, a tenth traced", statistics.median(figures["a tenth"]), "ms", "traces off",
                   ms, medians["a tenth"], at_most=BAR),
            Figure("the same, traces off, beside itself (the machine's noise)", statistics.median(figures["off again"]), "ms",
                   "traces off", ms, medians["off again"]),
            Figure("spans of a request where traces are off", off_us, "µs"),
        ],
    )  # fmt: skip
    return 0 if ok else 1


def _off_us() -> float:
    """Microseconds of a request's spans where there is no tracer; the best of several loops."""
    best = float("inf")
    for _ in range(20):
        started = time.perf_counter()
        for _ in range(1000 * SPANS):
            with OFF.span("none"):
                pass
        best = min(best, time.perf_counter() - started)
    return best * 1000


@contextmanager
def _gateway(fleet: EmbeddedFleet, name: str, more: Mapping[str, str]) -> Iterator[tuple[int, int]]:
    """The port and the process of one more gateway in front of the same Triton, with a state folder of its own."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="ragfleet-tracing-") as home:
        own = {
            "RAGFLEET_HOME": home,
            "RAGFLEET_GATEWAY_PORT": str(port),
            "RAGFLEET_CATALOG_URL": f"sqlite:///{home}/catalog.db",
        }
        environment = {**psutil.Process(fleet.gateway_pid).environ(), **own, **more}
        argv = [sys.executable, "-P", "-m", "gateway"]
        with process(argv, log=LOGS / f"tracing-{name.replace(' ', '-')}.log", env=environment) as pid:
            wait_http(f"http://127.0.0.1:{port}/health/ready", seconds=120, what=f"the gateway with traces {name}")
            yield port, pid


if __name__ == "__main__":
    sys.exit(main())
