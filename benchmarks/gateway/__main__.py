"""`make bench-gateway`: CPU of a gateway per streamed request of 64 tokens, one each 5 ms, 16 at once.

Ragfleet's gateway in front of one real Triton with the simulated engine; vllm-router (Rust) and LiteLLM (Python) in
front of an OpenAI-shaped mock of the same pace. All are up for the whole run and measured in turn, round by round, so that
what the machine does to one it does to all. Ragfleet's figure includes all that its gateway does meanwhile: Consul queries,
metric scrapes, and the call that has the prompt built. `--beside CHECKOUT`: the gateway of another version, in the same run;
`--processes N`: this one with so many processes (RAGFLEET_GATEWAY_PROCESSES).
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import uvloop

from benchmarks.gateway import load
from benchmarks.processes import cpu_seconds, free_port, peers_python, process, wait_http
from benchmarks.report import Figure, print_table, write_json
from ragfleet.paths import PROJECT
from tests.support.embedded_fleet import EmbeddedFleet, embedded

PEERS = ("vllm-router==0.1.17", "litellm[proxy]==1.106.2")
ENGINE = '{"decode_step_ms": 5, "decode_step_ms_per_sequence": 0, "slots": 16}'


def main() -> int:
    """Run the rounds, print the table. 1 where a bar of the project is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--each", type=int, default=20, help="requests per client and round (16 clients)")
    parser.add_argument("--port-base", type=int, default=28000)
    parser.add_argument("--beside", type=Path, help="a checkout of another version, whose gateway is measured, too")
    parser.add_argument("--processes", type=int, help="of a gateway that is measured, too")
    args = parser.parse_args()
    bin_dir = peers_python(PEERS)
    logs = Path("var/bench/logs")
    figures: dict[str, list[float]] = {}
    seen: dict[str, list[load.Outcome]] = {}
    with ExitStack() as stack:
        mock, router, litellm = free_port(), free_port(), free_port()
        stack.enter_context(
            process([sys.executable, "-m", "benchmarks.gateway.mock", str(mock)], log=logs / "mock.log")
        )
        router_pid = stack.enter_context(
            process(
                [str(bin_dir / "vllm-router"), "--worker-urls", f"http://127.0.0.1:{mock}", "--host", "127.0.0.1",
                 "--port", str(router), "--policy", "round_robin", "--prometheus-port", str(free_port()), "--log-level", "error"],
                log=logs / "vllm-router.log",
            )
        )  # fmt: skip
        config = logs / "litellm.yaml"
        config.write_text(
            "model_list:\n  - model_name: mock\n    litellm_params:\n      model: openai/mock\n"
            f"      api_base: http://127.0.0.1:{mock}/v1\n      api_key: none\n"
        )
        litellm_pid = stack.enter_context(
            process(
                [str(bin_dir / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(litellm)],
                log=logs / "litellm.log",
                env={
                    "LITELLM_LOG": "ERROR",
                    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                    "LITELLM_TELEMETRY": "False",
                    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
                },
            )
        )
        fleet = stack.enter_context(
            embedded(
                instances=1,
                flavour="simulated",
                port_base=args.port_base,
                # Bringing files in is a process of its own, whose start would count as the gateway's child.
                env={"RAGFLEET_LLM_PARAMS": ENGINE, "RAGFLEET_INGESTION": "0"},
                models=("prompt", "llm"),  # all that the bare model's requests reach
            )
        )
        wait_http(f"http://127.0.0.1:{router}/health", seconds=30, what="vllm-router")
        wait_http(f"http://127.0.0.1:{litellm}/health/liveliness", seconds=120, what="LiteLLM")
        targets = {
            "ragfleet": (fleet.port, fleet.model, fleet.key, fleet.gateway_pid),
            "vllm-router": (router, "mock", "none", router_pid),
            "litellm": (litellm, "mock", "none", litellm_pid),
        }
        if args.beside:
            targets["beside"] = stack.enter_context(_another(args.beside, fleet, logs))
        if args.processes:
            targets["processes"] = stack.enter_context(_another(PROJECT, fleet, logs, processes=args.processes))
        for number in range(-1, args.rounds):
            for name, (port, model, key, pid) in targets.items():
                each = max(2, args.each // 10) if number < 0 or name == "litellm" else args.each
                before = cpu_seconds(pid)
                outcome = uvloop.run(load.run(port, model=model, key=key, concurrency=16, each=each))
                spent = cpu_seconds(pid) - before
                if outcome.failed or abs(outcome.chunks - 64) > 1:
                    print(f"{name}: {outcome.failed} failed, {outcome.chunks:.1f} chunks a request", file=sys.stderr)
                if number >= 0:
                    figures.setdefault(name, []).append(spent * 1000 / outcome.requests)
                    seen.setdefault(name, []).append(outcome)
    medians = {name: statistics.median(values) for name, values in figures.items()}
    router_ms = medians["vllm-router"]
    print_table(
        "CPU of the gateway, ms per streamed request of 64 tokens (16 at once, one token each 5 ms)",
        ["gateway", "median", "min", "max", "× vllm-router", "requests/s", "TTFT p50 ms", "failed"],
        [
            [
                name, medians[name], min(values), max(values), medians[name] / router_ms,
                statistics.median(o.requests / o.seconds for o in seen[name]),
                statistics.median(o.ttft_p50_ms for o in seen[name]), sum(o.failed for o in seen[name]),
            ]
            for name, values in figures.items()
        ],
    )  # fmt: skip
    ratios = {"vllm-router": medians["ragfleet"] / router_ms, "litellm": medians["ragfleet"] / medians["litellm"]}
    by_round = [ours / theirs for ours, theirs in zip(figures["ragfleet"], figures["vllm-router"], strict=True)]
    ok = ratios["vllm-router"] <= 2 and ratios["litellm"] <= 1 / 8
    print(
        f"ragfleet / vllm-router = {ratios['vllm-router']:.2f} (bar: at most 2;"
        f" by round {min(by_round):.2f}–{max(by_round):.2f})"
    )
    print(f"litellm / ragfleet = {1 / ratios['litellm']:.1f} (bar: at least 8)")
    if args.beside:
        by_pair = [ours / theirs for ours, theirs in zip(figures["ragfleet"], figures["beside"], strict=True)]
        ratios["beside"] = statistics.median(by_pair)
        print(f"ragfleet / beside = {ratios['beside']:.2f} (by round {min(by_pair):.2f}–{max(by_pair):.2f})")
    if args.processes:
        by_pair = [theirs / ours for ours, theirs in zip(figures["ragfleet"], figures["processes"], strict=True)]
        ratios["processes"] = statistics.median(by_pair)
        print(f"{args.processes} processes / one = {ratios['processes']:.2f} ({min(by_pair):.2f}–{max(by_pair):.2f})")
    claim, ours = "CPU of the gateway per streamed request of 64 tokens", medians["ragfleet"]
    write_json(
        "gateway",
        {
            "cpu_ms_per_request": figures,
            "median": medians,
            "ratios": ratios,
            "ratio_by_round": by_round,
            "load_average": os.getloadavg(),
            "bars_met": ok,
        },
        figures=[
            Figure(claim, ours, "ms", "vllm-router", router_ms, at_most=2),
            Figure(claim, ours, "ms", "LiteLLM", medians["litellm"], at_most=1 / 8),
            *(
                [Figure(claim, ours, "ms", "the other version", medians["beside"], ratios["beside"], at_most=1.05)]
                if args.beside
                else []
            ),
        ],
    )
    return 0 if ok else 1


@contextmanager
def _another(
    checkout: Path, fleet: EmbeddedFleet, logs: Path, processes: int = 1
) -> Iterator[tuple[int, str, str, int]]:
    """The gateway of a checkout in front of the same Triton, with a state folder of its own."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="ragfleet-beside-") as home:
        own = {
            "RAGFLEET_HOME": home,
            "RAGFLEET_GATEWAY_PORT": str(port),
            "RAGFLEET_GATEWAY_PROCESSES": str(processes),
            "RAGFLEET_CATALOG_URL": f"sqlite:///{home}/catalog.db",
            "PYTHONPATH": str(checkout.resolve()),
        }
        environment = {**psutil.Process(fleet.gateway_pid).environ(), **own}
        argv = [sys.executable, "-P", "-m", "gateway"]
        with process(argv, log=logs / f"beside-{port}.log", env=environment) as pid:
            wait_http(f"http://127.0.0.1:{port}/health/ready", seconds=60, what=f"the gateway of {checkout}")
            yield port, fleet.model, fleet.key, pid


if __name__ == "__main__":
    sys.exit(main())
