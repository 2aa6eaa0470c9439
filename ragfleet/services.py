"""The parts of an embedded fleet: how each is started, when it is ready, how long it gets to stop."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from ragfleet import loopback
from ragfleet.fleet_spec import FleetSpec
from ragfleet.loopback import ANSWER_SECONDS
from ragfleet.paths import Home, data_folder, embedding_graph
from ragfleet.processes import HOME_MARK, PART_MARK
from worker import state
from worker.state import WorkerPhase

SECRET = "RAGFLEET_FILTER_SECRET"  # noqa: S105 - the name of a variable
ADMIN_KEY = "RAGFLEET_ADMIN_KEY"

SMALL_MODEL: Mapping[str, str] = {
    "RAGFLEET_RAG_TOP_K": "2",
    "RAGFLEET_PROMPT_BEST": "first",
    "RAGFLEET_TOOL_DECISION": "words",
    "RAGFLEET_GUIDE_MAX_STRING": "200",
}
"""For the model that comes with the embedded fleet (135M parameters): a short prompt, the best passage where it begins, no say
in whether a function is called, and an end to each string under a grammar.
docs/answers.md has the trial. What the environment says counts more, and another model has the settings of any fleet.
"""


@dataclass(frozen=True, slots=True)
class ManagedProcess:
    """One process that the supervisor keeps alive."""

    name: str
    argv: list[str]
    environment: Mapping[str, str]
    ready: Callable[[int], bool]
    """Given the process's pid, whether it serves. Blocking, bounded by ANSWER_SECONDS."""
    after: tuple[str, ...] = ()
    """Parts that must be ready before this one is started for the first time."""
    log: str = ""
    patience: float = 5.0
    """Seconds between SIGTERM and SIGKILL when the whole fleet stops."""

    @property
    def log_name(self) -> str:
        """The name of its log file, without `.log`."""
        return self.log or self.name


def consul(plan: FleetSpec, home: Home, binary: Path) -> ManagedProcess:
    """The one Consul server, with its UI."""
    ports = plan.ports
    argv = [
        str(binary),
        "agent",
        "-server",
        "-bootstrap-expect=1",
        "-ui",
        f"-config-file={data_folder('consul') / 'embedded.hcl'}",
        f"-data-dir={home.consul_data}",
        f"-http-port={ports.consul}",
        f"-server-port={ports.consul_server}",
        f"-serf-lan-port={ports.consul_serf}",
    ]
    if _consul_version(binary) >= (1, 14):
        argv.append("-grpc-tls-port=-1")  # on by default there, unknown before

    def elected(_: int) -> bool:
        return len(_get(f"{plan.consul_url}/v1/status/leader").strip(b'" \n')) > 0

    return ManagedProcess("consul", argv, _environment(home, "consul"), elected)


def milvus(plan: FleetSpec, home: Home) -> ManagedProcess:
    """Milvus Lite's server with our search; it has no authentication, so it binds loopback only."""
    argv = [sys.executable, "-m", "ragfleet.milvus_lite", f"--data-dir={home.milvus_data}"]
    argv += ["--host=127.0.0.1", f"--port={plan.ports.milvus}"]
    return ManagedProcess("milvus", argv, _environment(home, "milvus"), lambda _: listens(plan.ports.milvus))


def worker(plan: FleetSpec, home: Home, index: int) -> ManagedProcess:
    """The node agent of one instance; it runs the instance's Triton."""
    name = f"triton-{index}"
    http, grpc, metrics = plan.ports.triton(index)
    argv = [sys.executable, "-m", "worker", f"--name={name}", f"--http-port={http}", f"--grpc-port={grpc}"]
    argv += [f"--metrics-port={metrics}", f"--model-repository={plan.model_repository}"]
    if plan.flavour:
        argv.append(f"--flavour={plan.flavour}")

    def ready(pid: int) -> bool:
        now = state.read(home.instance_file(name))
        return now is not None and now.worker_pid == pid and now.state is WorkerPhase.READY

    after = ("consul",) if "milvus" in plan.without or plan.milvus_uri else ("consul", "milvus")
    return ManagedProcess(
        name,
        argv,
        _environment(home, name, **_addresses(plan, home)),
        ready,
        after=after,
        log=f"{name}.worker",
        patience=7.0,
    )


def gateway(plan: FleetSpec, home: Home, name: str = "gateway") -> ManagedProcess:
    """One gateway. It is ready when it can serve, so after the instances. The first one has the ingestion with it."""
    url = plan.gateway_urls[name]
    environment = _environment(
        home,
        name,
        **_addresses(plan, home),
        RAGFLEET_GATEWAY_HOST=os.environ.get("RAGFLEET_GATEWAY_HOST") or "127.0.0.1",
        RAGFLEET_GATEWAY_PORT=str(urlsplit(url).port),
        RAGFLEET_API_KEY="",  # the fleet's own key counts, whatever the environment has
        RAGFLEET_API_KEY_FILE=str(home.api_key),
        **_own_file(home.admin_key, ADMIN_KEY, os.environ),
        **({} if url == plan.gateway_url else {"RAGFLEET_INGESTION": "0"}),
    )

    def ready(_: int) -> bool:
        return bool(_get(f"{url}/health/ready"))

    return ManagedProcess(name, [sys.executable, "-m", "gateway"], environment, ready, after=("consul",), patience=6.0)


def infrastructure(plan: FleetSpec, home: Home, consul_binary: Path) -> list[ManagedProcess]:
    """Every part but the instances, in the order of their start."""
    parts = [consul(plan, home, consul_binary)]
    if "milvus" not in plan.without and not plan.milvus_uri:
        parts.append(milvus(plan, home))
    parts += [gateway(plan, home, name) for name in plan.gateway_urls]
    return parts


def ports_of(plan: FleetSpec) -> dict[int, str]:
    """Every port that `plan` needs, with the part that needs it."""
    ports = plan.ports
    needed = {ports.consul: "consul", ports.consul_server: "consul", ports.consul_serf: "consul"}
    needed |= {urlsplit(url).port or 0: name for name, url in plan.gateway_urls.items()}
    if "milvus" not in plan.without and not plan.milvus_uri:
        needed[ports.milvus] = "milvus"
    for index, name in enumerate(plan.names):
        needed.update(dict.fromkeys(ports.triton(index), name))
    return needed


def listens(port: int) -> bool:
    """Whether something accepts connections at 127.0.0.1:`port`."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS):
            return True
    except OSError:
        return False


def _addresses(plan: FleetSpec, home: Home) -> dict[str, str]:
    return {
        "RAGFLEET_CONSUL_URL": plan.consul_url,
        "MILVUS_URI": plan.milvus,
        "RAGFLEET_TOKENIZER_DIR": os.environ.get("RAGFLEET_TOKENIZER_DIR") or str(home.tokenizer),
        **_embedding_graph(os.environ),
        **_own_file(home.filter_secret, SECRET, os.environ),
        **_for_the_model(plan, os.environ),
    }


def _embedding_graph(environment: Mapping[str, str]) -> dict[str, str]:
    """Of the default model, where `ragfleet setup` has made it."""
    if environment.get("RAGFLEET_EMBEDDING_ONNX") or environment.get("RAGFLEET_EMBEDDING_DIR"):
        return {}
    folder = embedding_graph()
    return {"RAGFLEET_EMBEDDING_ONNX": str(folder)} if folder.is_dir() else {}


def _own_file(file: Path, variable: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The file with a secret of this fleet's own, where the environment brings none."""
    own = environment.get(variable) or environment.get(f"{variable}_FILE")
    return {} if own else {f"{variable}_FILE": str(file)}


def _for_the_model(plan: FleetSpec, environment: Mapping[str, str]) -> dict[str, str]:
    own = plan.flavour or environment.get("RAGFLEET_GGUF") or environment.get("RAGFLEET_MODEL_NAME")
    return {} if own else {name: environment.get(name) or value for name, value in SMALL_MODEL.items()}


def _environment(home: Home, part: str, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        **_past_proxies(os.environ),
        **more,
        HOME_MARK: str(home.root),
        PART_MARK: part,
        "PYTHONUNBUFFERED": "1",
    }


def _past_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """The parts talk to each other on loopback, also where a proxy is the way out of this machine (gRPC looks for one, too)."""
    named = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    hosts = ",".join(dict.fromkeys([*filter(None, named.split(",")), "127.0.0.1", "localhost"]))
    return {"no_proxy": hosts, "NO_PROXY": hosts}


def _get(url: str) -> bytes:
    """The body of a 200 answer, else nothing."""
    status, body = loopback.get(url)
    return (body or b"-") if status == HTTPStatus.OK else b""


def _consul_version(binary: Path) -> tuple[int, int]:
    shown = subprocess.run([binary, "version"], capture_output=True, text=True, timeout=20, check=False).stdout
    found = re.search(r"v(\d+)\.(\d+)", shown)
    return (int(found[1]), int(found[2])) if found else (0, 0)
