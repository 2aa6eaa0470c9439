"""What runs on each host: a Consul server, a worker with its Triton, a gateway; and on a fourth one PostgreSQL and Milvus."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ragfleet import processes
from ragfleet.paths import PROJECT, data_folder
from tests.fleet.real_parts import get
from tests.support.embedded_fleet import part_of_the_repository
from tests.support.hosts_network import HostsNetwork
from tests.support.postgres import postgres_server

KEY = "any"
HOSTS = ("h1", "h2", "h3")
DATA = "data"
GATEWAY_PORT, CONSUL_PORT, TRITON_PORT, MILVUS_PORT = 8000, 8500, 8101, 19530
MODELS = ("llm", "prompt")
ENGINE = {"decode_step_ms": 25, "decode_step_ms_per_sequence": 0, "prefill_tokens_per_s": 20000, "slots": 48}
"""40 tokens per second and stream, however many streams."""

AUTOPILOT = f"autopilot {{ min_quorum = {len(HOSTS)} }}"
"""As in consul/server.hcl: a server that is away stays a voter."""


class Host:
    """One host. Each part has the ports that it has in production, for each host has its own network."""

    def __init__(
        self,
        name: str,
        network: HostsNetwork,
        folder: Path,
        *,
        consul: Path,
        models: Path,
        environment: Mapping[str, str],
    ) -> None:
        self.name = name
        self.address = network.address(name)
        self.home = folder / name
        self.url = f"http://{self.address}:{GATEWAY_PORT}"
        self.triton = f"{name}-triton"
        self._before = network.command(name)
        self._consul_program = consul
        self._peers = [network.address(each) for each in HOSTS]
        self._models = models
        self._environment = dict(environment)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Starts all parts; waits for none."""
        for folder in ("log", "run"):
            (self.home / folder).mkdir(parents=True, exist_ok=True)
        self.start_consul()
        worker = ["-m", "worker", f"--name={self.triton}", f"--http-port={TRITON_PORT}", f"--bind={self.address}"]
        worker += [f"--model-repository={self._models}", "--flavour=simulated"]
        self._run(self.triton, [sys.executable, *worker])
        self._run("gateway", [sys.executable, "-m", "gateway"])

    def start_consul(self) -> None:
        """A server of the three; with what it knew before where it ran before."""
        argv = [str(self._consul_program), "agent", "-server", f"-bootstrap-expect={len(HOSTS)}"]
        argv += [f"-config-file={data_folder('consul') / 'embedded.hcl'}", f"-data-dir={self.home / 'consul'}"]
        argv += [f"-node={self.name}", f"-bind={self.address}", f"-client=127.0.0.1 {self.address}"]
        argv += [*(f"-retry-join={each}" for each in self._peers), "-retry-interval=1s", f"-hcl={AUTOPILOT}"]
        self._run("consul", argv)

    def kill_consul(self) -> None:
        """SIGKILL."""
        self._processes["consul"].kill()
        self._processes["consul"].wait(10)

    def stop(self) -> None:
        """Kills whatever runs here."""
        processes.sweep(self.home, deadline=20)
        for process in self._processes.values():
            process.wait(10)

    def is_ready(self) -> bool:
        """Whether its gateway says that it can serve."""
        return bool((get(f"{self.url}/health/ready") or {}).get("ready"))

    def fleet(self) -> dict[str, Any]:
        """What its gateway sees; empty where it does not answer."""
        return get(f"{self.url}/fleet") or {}

    def instances(self) -> dict[str, dict[str, Any]]:
        """The Tritons that its gateway sees, by name."""
        return {entry["name"]: entry for entry in self.fleet().get("instances", [])}

    def consul_leader(self) -> str:
        """The address of the leader that its Consul server follows; empty where it knows none, or does not answer."""
        return str(get(f"http://{self.address}:{CONSUL_PORT}/v1/status/leader") or "").rpartition(":")[0]

    def consul_voters(self) -> int:
        """Servers that vote, as its own says."""
        found = get(f"http://{self.address}:{CONSUL_PORT}/v1/operator/raft/configuration") or {}
        return sum(bool(server["Voter"]) for server in found.get("Servers", []))

    def tail(self) -> str:
        """The ends of its logs, for who looks for a failure's reason."""
        logs = sorted((self.home / "log").glob("*.log"))
        return "\n".join(f"== {self.name} {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in logs)

    def _run(self, part: str, argv: Sequence[str]) -> None:
        marks = {processes.HOME_MARK: str(self.home), processes.PART_MARK: part, "PYTHONUNBUFFERED": "1"}
        gateway = {"RAGFLEET_GATEWAY_HOST": self.address, "RAGFLEET_GATEWAY_PORT": str(GATEWAY_PORT)}
        consul = {"RAGFLEET_CONSUL_URL": f"http://127.0.0.1:{CONSUL_PORT}"}
        log = self.home / "log" / f"{part if part in ('consul', 'gateway') else 'worker'}.log"
        with log.open("ab") as output:
            self._processes[part] = subprocess.Popen(
                [*self._before, *argv],
                env={**os.environ, **self._environment, **gateway, **consul, **marks},
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )


class Hosts:
    """All of them and their network."""

    def __init__(self, network: HostsNetwork, hosts: Sequence[Host]) -> None:
        self.network = network
        self.all = hosts

    def named(self, name: str) -> Host:
        """One of them."""
        return next(host for host in self.all if host.name == name)

    def others(self, *names: str) -> list[Host]:
        """All but these."""
        return [host for host in self.all if host.name not in names]

    def consul_leader(self, among: Sequence[Host] | None = None) -> Host | None:
        """The host of the Consul leader that these agree on; None where they do not."""
        told = {host.consul_leader() for host in among or self.all}
        return next((host for host in self.all if told == {host.address}), None)

    def is_whole(self) -> bool:
        """Every gateway serves and sees three ready instances; all Consul servers vote, and know one leader."""
        leader = self.consul_leader()
        return (
            leader is not None
            and leader.consul_voters() == len(HOSTS)
            and all(self.is_seen_whole_by(host) for host in self.all)
        )

    def is_seen_whole_by(self, host: Host) -> bool:
        """By its gateway."""
        seen = host.fleet()
        ready = [entry for entry in seen.get("instances", []) if entry["state"] == "ready"]
        return host.is_ready() and bool(seen.get("consul_alive")) and len(ready) == len(seen["instances"]) == len(HOSTS)


@contextmanager
def three_hosts(folder: Path, *, consul: Path, tokenizer: Path) -> Iterator[Hosts]:
    """Three hosts, and one with the data; all of it is ended afterwards."""
    with ExitStack() as stack:
        network = stack.enter_context(HostsNetwork([*HOSTS, DATA]))
        address, before = network.address(DATA), network.command(DATA)
        database = stack.enter_context(postgres_server(host=(address, network.subnet, before)))
        _start_milvus(stack, folder / DATA, [*before], address)
        environment = {
            "RAGFLEET_API_KEY": KEY,
            "RAGFLEET_FILTER_SECRET": "secret of the three hosts",
            "RAGFLEET_TOKENIZER_DIR": str(tokenizer),
            "RAGFLEET_CATALOG_URL": database,
            "RAGFLEET_OBJECTS_URL": f"file://{folder}/objects",
            "RAGFLEET_LLM_PARAMS": json.dumps(ENGINE),
            # A machine that is too busy is no fault of a host's.
            "RAGFLEET_TOKEN_DEADLINE_S": "15",
            "RAGFLEET_ADMISSION_DEADLINE_S": "120",
            "MILVUS_URI": f"http://{address}:{MILVUS_PORT}",
        }
        models = part_of_the_repository(folder, MODELS)
        hosts = [Host(name, network, folder, consul=consul, models=models, environment=environment) for name in HOSTS]
        for host in hosts:
            stack.callback(host.stop)
            host.start()
        yield Hosts(network, hosts)


def _start_milvus(stack: ExitStack, home: Path, before: Sequence[str], address: str) -> None:
    home.mkdir()
    argv = [*before, sys.executable, "-m", "ragfleet.milvus_lite", f"--data-dir={home / 'milvus'}"]
    argv += [f"--host={address}", f"--port={MILVUS_PORT}"]
    marks = {processes.HOME_MARK: str(home), processes.PART_MARK: "milvus"}
    with (home / "milvus.log").open("wb") as log:
        milvus = subprocess.Popen(argv, env={**os.environ, **marks}, cwd=PROJECT, stdout=log, stderr=log)
    stack.callback(milvus.wait, 10)
    stack.callback(milvus.kill)
