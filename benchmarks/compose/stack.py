"""docker/compose.yaml, started from a copy of its folder: what runs, what it answers, and ways to hurt it."""

import json
import os
import shutil
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import yaml

from benchmarks.compose.engine import Engine, command
from benchmarks.compose.images import image_of, services
from benchmarks.compose.steps import StepError
from ragfleet.paths import PROJECT

PROJECT_NAME = "ragfleet"
NETWORK = f"{PROJECT_NAME}_control"
CONSUL_SERVERS = ("consul-1", "consul-2", "consul-3")
INSTANCES = 2
UP_S = 1200.0
"""Two quiet cores take 70 s."""
MODEL = "smollm2-135m-instruct"


def override(found: Mapping[str, Mapping[str, Any]], prometheus_file: str, *, cores: int) -> dict[str, Any]:
    """What differs from compose.yaml where stand-ins run: names without digests, health paths, limits of this machine."""
    told: dict[str, dict[str, Any]] = {}
    for name, service in found.items():
        limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
        wanted = str(limits.get("cpus", ""))
        if wanted.replace(".", "").isdigit() and float(wanted) > cores:
            told[name] = {"deploy": {"resources": {"limits": {"cpus": str(cores), "memory": limits["memory"]}}}}
    told.setdefault("load-balancer", {})["image"] = image_of(found["load-balancer"])
    # SeaweedFS has no path of MinIO's; its S3 and its master answer each at a port of its own.
    health = "curl -fsS http://127.0.0.1:9333/cluster/status && curl -s -o /dev/null http://127.0.0.1:9000/"
    told.setdefault("objects", {})["healthcheck"] = {"test": ["CMD-SHELL", health]}
    # Of two mounts at one place the later counts.
    told.setdefault("prometheus", {})["volumes"] = [f"{prometheus_file}:/etc/prometheus/prometheus.yml:ro"]
    return {"services": told}


def prometheus_without_consul(text: str, targets: Iterable[str]) -> str:
    """prometheus.yml for a build without Consul discovery: the Tritons stand in it by name."""
    read = yaml.safe_load(text)
    for job in read["scrape_configs"]:
        if job.pop("consul_sd_configs", None) is not None:
            job.pop("relabel_configs", None)
            job["static_configs"] = [{"targets": list(targets)}]
    return yaml.safe_dump(read)


class Stack:
    """The services. Its own folder has the copy of docker/ and consul/, and so the secrets."""

    def __init__(self, engine: Engine, *, port: int) -> None:
        self._engine = engine
        self.folder = engine.folder / "checkout"
        self.port = port
        """Of the API; operations are at the next one, the page at the one after."""
        self._operations = port + 1
        self.stopping = threading.Event()
        """Set by Ctrl-C: whoever waits in a thread waits no longer."""
        self.env = {
            **engine.env,
            "RAGFLEET_PORT": f"127.0.0.1:{port}",
            "RAGFLEET_OPERATIONS_PORT": str(port + 1),
            "RAGFLEET_UI_PORT": str(port + 2),
            "RAGFLEET_CPUS": str(min(4, os.cpu_count() or 1)),
        }

    @property
    def key(self) -> str:
        """The API's."""
        return self.secret("api_key")

    def secret(self, name: str) -> str:
        """One of docker/secrets."""
        return (self.folder / "docker" / "secrets" / name).read_text().strip()

    def prepare(self) -> None:
        """The copy, new secrets in it, the override."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for part in ("docker", "consul"):
            shutil.copytree(PROJECT / part, self.folder / part, ignore=shutil.ignore_patterns("secrets"))
        command([str(self.folder / "docker" / "make-secrets.sh")], timeout=60)
        told = (self.folder / "docker" / "prometheus" / "prometheus.yml").read_text("utf-8")
        own = self.folder / "prometheus.yml"
        own.write_text(prometheus_without_consul(told, [f"triton-{number}:8103" for number in range(INSTANCES)]))
        differs = override(services(), str(own), cores=os.cpu_count() or 1)
        (self.folder / "override.yaml").write_text(yaml.safe_dump(differs))

    def compose(self, *words: str, timeout: float) -> str:
        """`docker compose WORDS`."""
        files = ("-f", str(self.folder / "docker/compose.yaml"), "-f", str(self.folder / "override.yaml"))
        return command(["docker", "compose", *files, *words], timeout=timeout, env=self.env, cwd=self.folder)

    def up(self, *names: str) -> None:
        """Start them, or all; until all are healthy. Raises StepError, with what is not and its last words."""
        words = ("up", "-d", "--no-build", "--quiet-pull", "--wait", "--wait-timeout", f"{UP_S - 60:.0f}", *names)
        try:
            self.compose(*words, timeout=UP_S)
        except StepError as error:
            raise StepError(f"{str(error)[-200:]}; {'; '.join(self.unhealthy())}") from None

    def unhealthy(self) -> list[str]:
        """Each service that is not healthy, with its state and its last words."""
        found = []
        for service, status in self._states().items():
            if "(healthy)" not in status:
                said = self.compose("logs", "--no-log-prefix", "--tail", "5", service, timeout=60).splitlines()
                found.append(f"{service}: {status}: {' | '.join(said)[-400:]}")
        return found

    def _states(self) -> dict[str, str]:
        """As the engine says, of each service that is to run all the time."""
        lines = self._engine.docker("ps", "-a", "--format", "{{.Names}}\t{{.Status}}", timeout=60).splitlines()
        states = dict(line.split("\t", 1) for line in lines)
        wanted = [name for name, told in services().items() if name != "consul-acl" and "profiles" not in told]
        return {name: states.get(self.container(name), "no container") for name in wanted}

    def down(self) -> None:
        """All containers, networks and volumes away."""
        self.compose("--profile", "tools", "down", "-v", "--timeout", "5", "--remove-orphans", timeout=300)

    def container(self, service: str) -> str:
        """Its name."""
        return f"{PROJECT_NAME}-{service}-1"

    def pid(self, service: str) -> int:
        """Of its first process, as this machine counts; 0 where it does not run."""
        said = self._engine.docker("inspect", "--format", "{{.State.Pid}}", self.container(service), timeout=30)
        return int(said)

    def kill(self, service: str) -> None:
        """Its first process, and so all of them. The engine had no order to, so it starts it again, which is waited for."""
        before = self.pid(service)
        os.kill(before, signal.SIGKILL)
        self.wait(lambda: [] if self.pid(service) not in (0, before) else [service], "started again", 60)

    def ingestions(self) -> list[int]:
        """The process ids of the gateways' ingestions: one works, the other stands by."""
        found = []
        for gateway in ("gateway-1", "gateway-2"):
            said = self._engine.docker("top", self.container(gateway), "-eo", "pid,args", timeout=30)
            found += [int(line.split()[0]) for line in said.splitlines() if "gateway.ingestion" in line]
        return found

    def cut(self, service: str) -> None:
        """Off its network."""
        self._engine.docker("network", "disconnect", NETWORK, self.container(service), timeout=60)

    def heal(self, service: str) -> None:
        """Back on it, under its name."""
        self._engine.docker("network", "connect", "--alias", service, NETWORK, self.container(service), timeout=60)

    def address(self, service: str) -> str:
        """On the control network; empty where it is on none."""
        told = self._engine.docker(
            "inspect", "--format", "{{json .NetworkSettings.Networks}}", self.container(service), timeout=30
        )
        return str(json.loads(told).get(NETWORK, {}).get("IPAddress", ""))

    def leader(self) -> str:
        """The Consul server that leads, by the others' word; empty where they say none."""
        said = self.ask("GET", "/v1/status/leader", operations=True)[1]
        address = said.partition(":")[0] if isinstance(said, str) else ""
        return next((each for each in CONSUL_SERVERS if address and self.address(each) == address), "")

    def lacks(self) -> list[str]:
        """What is not as it was at the start, in words; nothing where all of it is whole."""
        found = [f"{name}: {status}" for name, status in self._states().items() if "(healthy)" not in status]
        if found:
            return found
        status, peers = self.ask("GET", "/v1/status/peers", operations=True)
        if status != 200 or not isinstance(peers, list) or len(peers) != len(CONSUL_SERVERS):
            found.append(f"Consul's peers: {peers}")
        if not self.leader():
            found.append("Consul has no leader")
        status, fleet = self.ask("GET", "/fleet", operations=True)
        ready = [each["name"] for each in fleet["instances"] if each["state"] == "ready"] if status == 200 else []
        if len(ready) != INSTANCES:
            found.append(f"instances that are ready: {ready}")
        if not found:
            body = {"model": MODEL, "messages": [{"role": "user", "content": "Say yes."}], "max_tokens": 4}
            for path, asked in (("/v1/chat/completions", body), ("/v1/files", None)):
                status, said = self.ask("POST" if asked else "GET", path, asked)
                if status != 200:
                    found.append(f"{path}: {status} {said}"[:200])
        return found

    def ask(
        self, method: str, path: str, body: Any = None, *, operations: bool = False, timeout: float = 60.0
    ) -> tuple[int, Any]:
        """Status and JSON (or text) of an answer of the load balancer; status 0 where there is none."""
        url = f"http://127.0.0.1:{self._operations if operations else self.port}{path}"
        headers = {"Authorization": f"Bearer {self.key}"} if not operations else {}
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        if isinstance(body, bytes):
            headers["Content-Type"] = f"multipart/form-data; boundary={BOUNDARY}"
        elif body is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(url, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as reply:
                return reply.status, _read(reply.read())
        except urllib.error.HTTPError as error:
            return error.code, _read(error.read())
        except (OSError, ValueError) as error:
            return 0, str(error)

    def must(self, method: str, path: str, body: Any = None, *, timeout: float = 60.0) -> Any:
        """Its JSON. Raises StepError for any other status than 200."""
        status, said = self.ask(method, path, body, timeout=timeout)
        if status != 200:
            raise StepError(f"{method} {path}: {status} {str(said)[:300]}")
        return said

    def wait(self, check: Callable[[], list[str]], what: str, seconds: float) -> float:
        """Until `check` gives nothing that lacks; the seconds it took. Raises StepError."""
        began = time.monotonic()
        while lacks := check():
            if time.monotonic() - began > seconds:
                raise StepError(f"{what}: not within {seconds:.0f} s: {lacks}")
            if self.stopping.wait(0.5):
                raise StepError(f"{what}: stopped while it was waited for")
        return round(time.monotonic() - began, 1)


BOUNDARY = "ragfleet-compose-boundary"


def multipart(name: str, content: bytes) -> bytes:
    """The body of an upload."""
    purpose = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nassistants\r\n'
    file = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
    return (
        f"{purpose}{file}Content-Type: application/octet-stream\r\n\r\n".encode()
        + content
        + f"\r\n--{BOUNDARY}--\r\n".encode()
    )


def _read(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode(errors="replace")
