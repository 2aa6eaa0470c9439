"""One real Consul agent for tests, and what a worker would tell it."""

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.support import ports


class ConsulAgent:
    """A single server on loopback, its data under `folder`."""

    def __init__(self, binary: Path, folder: Path, port: int = ports.CONSUL) -> None:
        self._binary = binary
        self._folder = folder
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{port}"

    def start(self) -> None:
        """Start it and wait until it has elected itself."""
        names = ["http", "server", "serf-lan"]
        ports = [f"-{name}-port={self._port + i}" for i, name in enumerate(names)]
        fixed = [f"-{name}-port=-1" for name in ("dns", "grpc", "serf-wan")]
        quick = 'performance { raft_multiplier = 1 } check_update_interval = "0s" disable_update_check = true'
        command = [str(self._binary), "agent", "-server", "-bootstrap-expect=1", "-bind=127.0.0.1", "-log-level=warn"]
        command += [f"-data-dir={self._folder / 'data'}", "-hcl", quick, *ports, *fixed]
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        self._until_it_leads(time.monotonic() + 30)

    def kill(self) -> None:
        """SIGKILL, as an accident would."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(10)
            self._process = None

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def wipe(self) -> None:
        """Forget everything; only while it is down."""
        shutil.rmtree(self._folder / "data")

    def register(self, name: str, port: int, *, slots: int = 4, ttl: str = "30s", model: str = "m") -> None:
        """As the worker does: both checks, and the first beat."""
        meta = {"grpc_port": str(port + 1), "metrics_port": str(port), "model": model, "slots": str(slots)}
        checks = [
            {"CheckID": f"service:{name}:worker", "Name": "worker", "TTL": ttl},
            {
                "CheckID": f"service:{name}:ready",
                "Name": "ready",
                "HTTP": f"http://127.0.0.1:{port}/v2/health/ready",
                "Header": {"Connection": ["close"]},
                "Interval": "200ms",
                "Timeout": "2s",
            },
        ]
        body = {"ID": name, "Name": "ragfleet-triton", "Address": "127.0.0.1", "Port": port, "Meta": meta}
        self.put("/v1/agent/service/register", body | {"Checks": checks})
        self.beat(name, "queue 0")

    def beat(self, name: str, words: str) -> None:
        self.put(f"/v1/agent/check/update/service:{name}:worker", {"Status": "passing", "Output": words})

    def maintain(self, name: str, reason: str) -> None:
        self.put(f"/v1/agent/service/maintenance/{name}?enable=true&reason={reason}")

    def resume_service(self, name: str) -> None:
        self.put(f"/v1/agent/service/maintenance/{name}?enable=false")

    def deregister(self, name: str) -> None:
        self.put(f"/v1/agent/service/deregister/{name}")

    def put(self, path: str, body: Any = None) -> None:
        data = None if body is None else json.dumps(body).encode()
        urllib.request.urlopen(urllib.request.Request(self.url + path, data, method="PUT"), timeout=5).close()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, number)

    def _until_it_leads(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.url}/v1/health/service/consul?passing", timeout=2) as answer:
                    if json.loads(answer.read()):
                        return
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.05)
        raise TimeoutError(f"Consul did not start; see {self._folder / 'log'}")
