"""The benchmarks that the page has: how each is run, for how long at most, and which file it writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One of them. A benchmark ends with 0, or with 1 where it misses a bar of its own; both write figures."""

    name: str
    """Of its file, too: NAME.json."""
    about: str
    minutes: float
    """That it takes on two quiet cores, about. Four times as much is its deadline: machines are busy."""
    module: str = ""
    """`python -m MODULE`; without: benchmarks.NAME."""
    arguments: Sequence[str] = ()
    quick: Sequence[str] = ()
    """Instead, to see that it works: its figures mean little."""
    environment: Mapping[str, str] = field(default_factory=dict)
    takes_ports: bool = True
    """Whether it has `--port-base`."""
    asked_for: str = ""
    """Why it runs only where it is named."""

    @property
    def deadline_s(self) -> float:
        """After so long it is ended."""
        return max(600.0, 240 * self.minutes)

    def command(self, *, quick: bool, port_base: int | None) -> list[str]:
        """What goes behind the interpreter."""
        ports = [f"--port-base={port_base}"] if port_base and self.takes_ports else []
        module = self.module or f"benchmarks.{self.name}"
        return ["-m", module, *(self.quick if quick and self.quick else self.arguments), *ports]


_LLM = MappingProxyType({"PYTHONPATH": "model_repository/llm"})
_RETRIEVAL = MappingProxyType({"PYTHONPATH": "model_repository/retrieval", "GRPC_VERBOSITY": "NONE"})
_HOSTS = ("-m", "hosts and not brief", "-rs", "tests/hosts")

ALL = (
    Benchmark("gateway", "CPU of the gateway per streamed request, beside vllm-router and LiteLLM", 4,
              arguments=("--rounds=5",), quick=("--rounds=1", "--each=4")),
    Benchmark("engine", "tokens per second through the gateway, beside llama.cpp called directly", 4,
              quick=("--rounds=1", "--tokens=16")),
    Benchmark("transport", "CPU of reading a token from Triton, HTTP beside gRPC", 1, quick=("--rounds=1",)),
    Benchmark("tracing", "CPU of the gateway, traces off and on", 4, quick=("--rounds=2", "--each=2")),
    Benchmark("journal", "CPU of the gateway for a stream with a journal, beside one without", 5,
              quick=("--rounds=1", "--requests=32")),
    Benchmark("ledger", "a reservation and a row of the ledger", 1, takes_ports=False),
    Benchmark("sqlite_writers", "how long a row waits in SQLite beside a process that writes all the time", 2, takes_ports=False),
    Benchmark("affinity", "time to first token of conversations, beside round robin", 3),
    Benchmark("routing", "placement in a simulated fleet, beside the policies of other gateways and an oracle", 8,
              quick=("--quick", "--instances=8"), environment=_LLM, takes_ports=False),
    Benchmark("rollout", "how soon a bad candidate is rolled back (simulated)", 1,  takes_ports=False),
    Benchmark("autoscaling", "requests within the SLO for each instance-hour, beside published policies (simulated)", 3,
              arguments=("--seeds=2", "--seconds=2700"), quick=("--seeds=1", "--seconds=600"), environment=_LLM,
              takes_ports=False),
    Benchmark("overload", "goodput, latency and memory at up to five times the capacity", 4, quick=("--seconds=4",)),
    Benchmark("long_document", "a summary of 200 pages over 1, 2 and 4 instances", 3,
              arguments=("--step-ms=40",), quick=("--pages=20", "--step-ms=40", "--instances", "1", "2")),
    Benchmark("knowledge", "chunks ingested per second beside sentence-transformers, chats meanwhile, search", 12,
              quick=("--only=ingest", "--documents=6", "--rounds=1"), environment=_RETRIEVAL),
    Benchmark("timing_oracle", "what a tenant can tell by the time of an answer of what another has asked", 4,
              quick=("--trials=8",)),
    Benchmark("attack", "what a hostile client sends, while a second tenant is served", 9, quick=("--only=sockets",)),
    Benchmark("chaos", "kills, stops and restarts of real parts under load", 20, quick=("--quick",)),
    Benchmark("hosts", "three hosts, each lost in each way that networks have (root)", 5, module="pytest",
              arguments=_HOSTS, quick=("-m", "brief", "-rs", "tests/hosts"), takes_ports=False),
    Benchmark("alerts", "alerts fire and stop, in a real Prometheus", 10, quick=("--only=too many",), takes_ports=False),
    Benchmark("dashboard", "queries of the dashboard that give rows, in a real Prometheus", 5, takes_ports=False),
    Benchmark("compose", "docker/compose.yaml in real containers", 40, takes_ports=False,
              asked_for="takes 40 minutes, root and Debian"),
    Benchmark("clients", "other people's frameworks, unmodified", 15, takes_ports=True,
              asked_for="installs eight environments"),
    Benchmark("gpu", "this project on one NVIDIA GPU", 12, environment=MappingProxyType({"PYTHONPATH": ":".join(
        f"model_repository/{each}" for each in ("embedding", "llm", "prompt", "rerank", "retrieval"))}),
              asked_for="means nothing without a GPU"),
)  # fmt: skip

BY_NAME: Mapping[str, Benchmark] = MappingProxyType({each.name: each for each in ALL})


def wanted(only: Sequence[str]) -> list[Benchmark]:
    """Those of these names, in the page's order; without names all but those that have to be asked for. Raises ValueError."""
    if unknown := sorted(set(only) - BY_NAME.keys()):
        raise ValueError(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(BY_NAME)}")
    return [each for each in ALL if (each.name in only if only else not each.asked_for)]
