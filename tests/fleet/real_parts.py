"""Handles on real processes for the fleet tests: Consul, a worker with its Triton, the command `ragfleet`."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ragfleet import processes, status
from ragfleet.paths import PROJECT, Home

ECHO_CONFIG = """\
backend: "python"
max_batch_size: 8
input [{ name: "text" data_type: TYPE_STRING dims: [1] }]
output [{ name: "echo" data_type: TYPE_STRING dims: [1] }]
instance_group [{ kind: KIND_CPU count: 1 }]
"""
ECHO_MODEL = """\
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        texts = [pb_utils.get_input_tensor_by_name(request, "text").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("echo", text)]) for text in texts]
"""


PATIENCE = 120.0
"""Seconds that a test waits for what a busy machine does late. No test says how fast something must be: benchmarks do."""


def eventually(check: Callable[[], Any], what: str = "", *, patience: float = PATIENCE) -> Any:
    """The first true value of `check`, asked every 0.1 s; fails after so many seconds."""
    ends = time.monotonic() + patience
    while True:
        if value := check():
            return value
        if time.monotonic() > ends:
            pytest.fail(f"not within {patience:.0f} s: {what or check.__name__}")
        time.sleep(0.1)


def get(url: str, timeout: float = 2.0) -> Any:
    """The JSON at `url`, or None where nobody answers with 200."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as response:
            body = response.read()
            return json.loads(body) if body else True
    except (OSError, ValueError):
        return None


class ConsulServer:
    """One embedded Consul that can be killed and started again."""

    def __init__(self, program: Path, base: int, folder: Path, *more: str) -> None:
        self.url = f"http://127.0.0.1:{base + 1}"
        self._log = folder / "consul.log"
        self._argv = [str(program), "agent", "-server", "-bootstrap-expect=1"]
        self._argv += [f"-config-file={PROJECT / 'consul' / 'embedded.hcl'}", f"-http-port={base + 1}"]
        self._argv += [f"-server-port={base + 2}", f"-serf-lan-port={base + 3}", *more]
        self._folder = folder
        self._starts = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, forgetful: bool = False) -> None:
        """Starts it and waits for its election; `forgetful`: with an empty data folder."""
        self._starts += forgetful
        data = self._folder / f"data-{self._starts}"
        with self._log.open("ab") as output:
            self._process = subprocess.Popen([*self._argv, f"-data-dir={data}"], stdout=output, stderr=output)
        eventually(lambda: get(f"{self.url}/v1/status/leader"), "Consul elects itself")

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(60)

    def checks(self, name: str) -> dict[str, tuple[str, str]]:
        """Status and output of each check of an instance, by what comes after its name: ready, worker."""
        found = get(f"{self.url}/v1/health/service/ragfleet-triton") or []
        return {
            check["CheckID"].rpartition(":")[2]: (check["Status"], check["Output"])
            for entry in found
            if entry["Service"]["ID"] == name
            for check in entry["Checks"]
            if check["ServiceID"] == name
        }

    def passes(self, name: str) -> bool:
        """Whether an instance may be given work."""
        found = get(f"{self.url}/v1/health/service/ragfleet-triton?passing=1") or []
        return any(entry["Service"]["ID"] == name for entry in found)

    def service(self, name: str) -> dict[str, Any] | None:
        """The entry of an instance."""
        found = get(f"{self.url}/v1/health/service/ragfleet-triton") or []
        return next((entry["Service"] for entry in found if entry["Service"]["ID"] == name), None)


class WorkerProcess:
    """One worker that can be killed and started again."""

    def __init__(self, home: Path, argv: list[str], consul_url: str) -> None:
        self.home = home
        self.log = home / "log" / "triton-0.worker.log"
        self._argv = [sys.executable, "-m", "worker", "--name=triton-0", *argv]
        self._environment = {
            **os.environ,
            processes.HOME_MARK: str(home),
            processes.PART_MARK: "triton-0",
            "RAGFLEET_CONSUL_URL": consul_url,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, and waits until its Triton is ready."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self._argv, env=self._environment, cwd=PROJECT, stdout=output, stderr=output
            )
        pid = self.process.pid
        eventually(lambda: (now := self.state) and now["worker_pid"] == pid and now["state"] == "ready", "ready")

    @property
    def state(self) -> dict[str, Any]:
        """Its state file; empty before there is one."""
        path = self.home / "run" / "triton-0.json"
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found

    @property
    def triton(self) -> int:
        """tritonserver's pid."""
        return int(self.state["pid"])

    def kill(self) -> None:
        """SIGKILL to the worker alone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(60)

    def stop(self, within: float = 20) -> int:
        """SIGTERM; returns the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within)


class Command:
    """The command `ragfleet` on a fleet of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._program = [sys.executable, "-m", "ragfleet"]
        self._environment = {**os.environ, processes.HOME_MARK: str(home), "NO_COLOR": "1", "COLUMNS": "200"}
        self._environment.pop("MILVUS_URI", None)

    @property
    def environment(self) -> dict[str, str]:
        """What it is run with."""
        return self._environment

    def __call__(self, *arguments: str, within: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        """Runs it to its end."""
        return subprocess.run(
            [*self._program, *arguments],
            env=self._environment,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts it in the background."""
        return subprocess.Popen(
            [*self._program, *arguments],
            env=self._environment,
            cwd=PROJECT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def status(self) -> dict[str, Any]:
        """What `status --json` says, asked in this process: asked in a loop, the command would keep a core busy by starting."""
        return status.gather(Home(self.home)).as_json()

    def instance(self, name: str) -> dict[str, Any]:
        """One instance of `status --json`; empty where it has none of that name."""
        return next((entry for entry in self.status()["instances"] if entry["name"] == name), {})

    def part(self, name: str) -> dict[str, Any]:
        """One part of `status --json`."""
        return next(entry for entry in self.status()["parts"] if entry["name"] == name)

    def left(self) -> list[str]:
        """The parts that still run."""
        return [part for _, part in processes.members(self.home)]
