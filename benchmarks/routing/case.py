"""One run of one policy on one trace, and the figures of several such runs taken together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.routing import ours, peers
from benchmarks.routing.engine import slowed
from benchmarks.routing.simulation import Simulation
from benchmarks.routing.traces import WORKLOADS, trace
from benchmarks.routing.world import World
from gateway.routing import policies
from llm_engine.scheduler import Spec

OURS = policies.DEFAULT
WARM = 0.15
"""Share of each trace that is run and not counted: caches and measured speeds are empty at its start."""
SLO_TTFT_S = 0.5
SLO_TOKEN_S = 0.03
"""The SLO: a first token within half a second, and from then on at most 30 ms a token on average."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is run. `age`: seconds between two scrapes of an instance by one gateway."""

    workload: str
    policy: str
    seed: int
    instances: int
    seconds: float
    gateways: int = 1
    age: float = 0.25


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of it; only requests after the warm-up. Times in seconds."""

    case: Case
    ttft: list[float]
    total: list[float]
    good: int
    """Requests within the SLO."""
    prompt_tokens: int
    cached_tokens: int
    imbalance: list[float]


def run(case: Case) -> Seen:
    """Run it; the same case gives the same result."""
    workload = WORKLOADS[case.workload]
    requests = trace(workload, instances=case.instances, seconds=case.seconds, seed=case.seed)
    specs = [Spec(max_context=16384)] * case.instances
    specs[0] = slowed(specs[0], workload.slow)
    make = peers.BY_NAME.get(case.policy) or ours.router(case.policy)
    simulation = Simulation(
        World(specs),
        requests,
        make,
        gateways=case.gateways,
        age=case.age,
        seed=case.seed,
        failures=workload.failures,
    )
    done = [d for d in simulation.run() if d.request.at >= WARM * case.seconds]
    return Seen(
        case=case,
        ttft=[d.ttft for d in done],
        total=[d.total for d in done],
        good=sum(d.ttft <= SLO_TTFT_S and d.total - d.ttft <= SLO_TOKEN_S * max(d.request.answer - 1, 1) for d in done),
        prompt_tokens=sum(d.request.prompt.tokens for d in done),
        cached_tokens=sum(d.cached for d in done),
        imbalance=simulation.imbalance,
    )


@dataclass(frozen=True, slots=True)
class Figures:
    """Several runs of one policy on different seeds, pooled."""

    requests: int
    ttft_p50: float
    ttft_p99: float
    total_p99: float
    goodput: float
    """Share of the requests within the SLO."""
    hits: float
    """Share of the prompt tokens that came from a prefix cache."""
    imbalance: float
    """Requests in the fullest instance over the mean of all, averaged over time."""


def figures(runs: Iterable[Seen]) -> Figures:
    """The figures over all requests of all runs."""
    seen = list(runs)
    ttft = sorted(t for s in seen for t in s.ttft)
    total = sorted(t for s in seen for t in s.total)
    looks = [i for s in seen for i in s.imbalance]
    return Figures(
        requests=len(ttft),
        ttft_p50=quantile(ttft, 0.5),
        ttft_p99=quantile(ttft, 0.99),
        total_p99=quantile(total, 0.99),
        goodput=sum(s.good for s in seen) / len(ttft),
        hits=sum(s.cached_tokens for s in seen) / sum(s.prompt_tokens for s in seen),
        imbalance=sum(looks) / len(looks),
    )


def quantile(values: Sequence[float], share: float) -> float:
    """Of sorted values, the smallest that so large a share does not exceed."""
    return values[min(int(share * len(values)), len(values) - 1)]
