"""What one worker is told: arguments first, then the environment, which is read here alone."""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

VARIABLES = MappingProxyType(
    {
        "home": "RAGFLEET_HOME",
        "consul_url": "RAGFLEET_CONSUL_URL",
        "ca_file": "RAGFLEET_CA_FILE",
        "triton_tls": "RAGFLEET_TRITON_TLS",
        "model": "RAGFLEET_MODEL_NAME",
        "version": "RAGFLEET_VERSION",
        "llm_params": "RAGFLEET_LLM_PARAMS",
        "embedding_dir": "RAGFLEET_EMBEDDING_DIR",
        "visible_gpus": "CUDA_VISIBLE_DEVICES",
        "trace_endpoint": "OTEL_EXPORTER_OTLP_ENDPOINT",
    }
)
"""Settings that the environment gives, and by which variable."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """One worker and its one Triton. Times are seconds."""

    name: str
    """The instance's name, which is also its id in Consul."""
    home: Path
    """The state folder."""
    model_repository: Path
    http_port: int
    grpc_port: int
    metrics_port: int
    flavour: str = ""
    """Name of the `configs/<flavour>.pbtxt` that models are loaded with; empty: their own config.pbtxt."""
    consul_url: str = "http://127.0.0.1:8500"
    """The Consul agent of this host, which the instance is registered with."""
    ca_file: str = ""
    """PEM of a private authority, trusted beside the public ones where the agent speaks HTTPS."""
    triton_tls: bool = False
    """Something before Triton speaks TLS at the advertised address: Consul has to ask there by it, too."""
    bind: str = "127.0.0.1"
    advertise: str = "127.0.0.1"
    """The address under which gateways reach this Triton."""
    model: str = "smollm2-135m-instruct"
    """The public id of the model that `llm` serves."""
    loras: str = ""
    """Names of the LoRA adapters that this engine has, with commas; told to the gateways as they are."""
    tenant_classes: str = ""
    """The tenant classes that this instance is kept for, with commas; empty: for everybody."""
    gpu: str = ""
    """UUIDs or indices of the GPUs for this Triton, with commas; `none`; empty: the one GPU of this host, if there is one."""
    tenants: str = ""
    """Tenants, with commas, whose requests alone this instance takes (a canary); empty: everybody's."""
    all_gpus: int = 0
    """GPUs for each of as many workers as that makes; 0: this process is the one worker (worker/host.py)."""
    drain_timeout: float = 30.0
    hang_timeout: float = 20.0
    start_timeout: float = 300.0
    exit_timeout: float = 10.0
    version: str = ""
    """What runs here, for Consul: the image's tag, else the version of the package."""
    llm_params: str = ""
    """A JSON object: parameters of `llm` in place of those in its config.pbtxt."""
    embedding_dir: str = ""
    """The sentence-transformers folder of the embedding model; empty: the one of the wheel."""
    trace_endpoint: str = ""
    """The base URL of an OTLP/HTTP receiver that Triton's traces go to, of requests that a gateway traces. Empty: none."""
    visible_gpus: str | None = None
    """The GPUs that CUDA shows, by index or UUID, with commas; None: all."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Everything that this process was started with: Triton inherits it."""

    @property
    def state_file(self) -> Path:
        """What `ragfleet status` and the next worker of this name read."""
        return self.home / "run" / f"{self.name}.json"

    @property
    def triton_log(self) -> Path:
        """Triton's own output."""
        return self.home / "log" / f"{self.name}.log"


def parse(argv: Sequence[str], environment: Mapping[str, str]) -> WorkerSettings:
    """Reads the command line of `python -m worker`; exits with status 2 and a usage text where it is wrong."""
    parser = _parser(environment)
    args = parser.parse_args(argv)
    if args.all_gpus < 0 or (args.all_gpus and (args.gpu or args.grpc_port or args.metrics_port)):
        parser.error("--all-gpus takes 1 or more, and not --gpu, --grpc-port or --metrics-port: it sets these itself")
    return WorkerSettings(
        name=args.name,
        home=args.home.resolve(),
        model_repository=args.model_repository.resolve(),
        http_port=args.http_port,
        grpc_port=args.grpc_port or args.http_port + 1,
        metrics_port=args.metrics_port or args.http_port + 2,
        flavour=args.flavour,
        consul_url=args.consul_url.rstrip("/"),
        ca_file=environment.get(VARIABLES["ca_file"], ""),
        triton_tls=environment.get(VARIABLES["triton_tls"], "").lower() in ("1", "true", "yes", "on"),
        bind=args.bind,
        advertise=args.advertise or args.bind,
        model=args.model,
        loras=args.loras,
        tenant_classes=args.tenant_classes,
        gpu=args.gpu,
        tenants=args.tenants,
        all_gpus=args.all_gpus,
        drain_timeout=args.drain_timeout,
        hang_timeout=args.hang_timeout,
        start_timeout=args.start_timeout,
        exit_timeout=args.exit_timeout,
        version=environment.get(VARIABLES["version"]) or metadata.version("ragfleet"),
        llm_params=environment.get(VARIABLES["llm_params"], ""),
        embedding_dir=environment.get(VARIABLES["embedding_dir"], ""),
        trace_endpoint=environment.get(VARIABLES["trace_endpoint"], "").rstrip("/"),
        visible_gpus=environment.get(VARIABLES["visible_gpus"]),
        environment=environment,
    )


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m worker",
        description="Runs one Triton: starts it, registers it in Consul, reports its load, restarts it, drains it on SIGTERM.",
        epilog="SIGTERM drains; a second SIGTERM, or SIGINT, stops at once. Exit status: 0 drained, 2 usage, 3 not ready to run.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--name", required=True, help="the instance's name, also its id in Consul, e.g. triton-0")
    add("--http-port", type=int, required=True)
    add("--grpc-port", type=int, default=0, help="0: the HTTP port + 1")
    add("--metrics-port", type=int, default=0, help="0: the HTTP port + 2")
    add("--model-repository", type=Path, default=Path("model_repository"))
    add("--flavour", default="", help="load models with configs/<flavour>.pbtxt where they have one")
    add("--home", type=Path, default=Path(environment.get(VARIABLES["home"]) or "var"), help="the state folder")
    add("--consul-url", default=environment.get(VARIABLES["consul_url"]) or "http://127.0.0.1:8500")
    add("--bind", default="127.0.0.1", help="the address that Triton listens at")
    add("--advertise", default="", help="the address that Consul tells the gateways; empty: the one of --bind")
    add(
        "--model",
        default=environment.get(VARIABLES["model"]) or "smollm2-135m-instruct",
        help="public id of the model",
    )
    add("--loras", default="", help="LoRA adapters that the engine has, with commas")
    add("--tenant-classes", default="", help="serve these tenant classes only, with commas; empty: everybody")
    add(
        "--gpu",
        default="",
        help="the GPUs of this Triton: UUIDs or indices with commas, or none; empty: the only one here",
    )
    add("--tenants", default="", help="take the requests of these tenants only, with commas; empty: of all")
    add(
        "--all-gpus",
        type=int,
        nargs="?",
        const=1,
        default=0,
        metavar="N",
        help="one worker for each GPU here (for each N of them), named NAME-0, NAME-1, …, with ports 10 apart",
    )
    add("--drain-timeout", type=float, default=30.0, help="seconds that running requests get on SIGTERM")
    add("--hang-timeout", type=float, default=20.0, help="seconds without an answer after which Triton is restarted")
    add("--start-timeout", type=float, default=300.0, help="seconds that Triton gets to load its models")
    add("--exit-timeout", type=float, default=10.0, help="seconds between SIGTERM and SIGKILL for Triton")
    return parser


def from_process(argv: Sequence[str]) -> WorkerSettings:
    """The settings of this very process."""
    return parse(argv, dict(os.environ))
