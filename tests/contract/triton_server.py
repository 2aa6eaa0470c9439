"""One real tritonserver for a test: started on a model repository, watched until ready, stopped with its whole process group."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

SITE = Path(sysconfig.get_paths()["purelib"])
WHEEL = SITE / "pytriton" / "tritonserver"


class TritonFailed(Exception):
    """It did not become ready; the message ends with the tail of its log."""


def available() -> bool:
    """Whether the wheel nvidia-pytriton, which carries the server, is installed."""
    return (WHEEL / "bin" / "tritonserver").is_file()


class TritonServer:
    """`with TritonServer(repository, http_port=21000) as triton: …`

    Ports not given follow the HTTP port (+1 gRPC, +2 metrics). `models` loads only those and what they need; empty
    loads the whole repository. `config_name` is Triton's --model-config-name. `env` is added to this process's
    environment. The log is kept in `log` (a temporary file when None). Everything listens on 127.0.0.1.
    """

    def __init__(
        self,
        repository: Path,
        *,
        http_port: int,
        grpc_port: int = 0,
        metrics_port: int = 0,
        models: Sequence[str] = (),
        config_name: str = "",
        flags: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
        ready_timeout_s: float = 60.0,
    ) -> None:
        self.repository = repository
        self.http_port = http_port
        self.grpc_port = grpc_port or http_port + 1
        self.metrics_port = metrics_port or http_port + 2
        self.models = models
        self.config_name = config_name
        self.flags = flags
        self.env = dict(env or {})
        self.ready_timeout_s = ready_timeout_s
        self._region = f"test_{uuid.uuid4().hex[:8]}_"
        self._folder = Path(tempfile.mkdtemp(prefix="triton-test-"))
        self.log = log or self._folder / "triton.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def http_url(self) -> str:
        """`http://127.0.0.1:<port>`"""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def grpc_url(self) -> str:
        """`127.0.0.1:<port>`, as tritonclient and grpc take it."""
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def pid(self) -> int:
        """tritonserver's process id, which is its process group's too."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the server's process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> "TritonServer":
        """Starts it and waits until it is ready; raises TritonFailed after `ready_timeout_s`."""
        self.launch()
        self.wait_ready()
        return self

    def launch(self) -> None:
        """Starts the process and returns at once."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._arguments(),
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # the Python stubs share its group and can outlive it
            )

    def wait_ready(self) -> None:
        """Polls /v2/health/ready."""
        deadline = time.monotonic() + self.ready_timeout_s
        while time.monotonic() < deadline:
            if not self.running:
                break
            with contextlib.suppress(OSError):
                if self._get(f"{self.http_url}/v2/health/ready")[0] == 200:
                    return
            time.sleep(0.1)
        tail = self.log_text()[-3000:]
        self.stop()
        raise TritonFailed(f"tritonserver was not ready within {self.ready_timeout_s:g} s; its log ends:\n{tail}")

    def stop(self, patience_s: float = 8.0) -> bool:
        """SIGTERM, then SIGKILL for whatever is left of the group; whether the server ended by itself.

        Idempotent. The default log goes too.
        """
        process, self._process = self._process, None
        orderly = True
        if process is not None:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(patience_s)
                except subprocess.TimeoutExpired:
                    orderly = False
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(5)
            for region in Path("/dev/shm").glob(f"{self._region}*"):
                region.unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)
        return orderly

    def kill(self) -> None:
        """SIGKILL to the whole group: what the loss of a machine looks like from outside."""
        os.killpg(self.pid, signal.SIGKILL)
        assert self._process is not None
        self._process.wait(5)

    def __enter__(self) -> "TritonServer":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def log_text(self) -> str:
        """Everything that it logged."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def metrics(self) -> str:
        """The Prometheus text."""
        return self._get(f"http://127.0.0.1:{self.metrics_port}/metrics")[1].decode()

    def gauge(self, name: str, **labels: str) -> float:
        """The value of the one sample of `name` with all of `labels`; raises KeyError where there is none."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        for line in self.metrics().splitlines():
            series, _, value = line.rpartition(" ")
            if series.partition("{")[0] == name and all(pair in series for pair in wanted):
                return float(value)
        raise KeyError(f"{name} {labels}")

    def post(self, path: str, body: object, timeout_s: float = 30.0) -> tuple[int, bytes]:
        """POSTs JSON to Triton's HTTP port: status and body, also of an error."""
        request = urllib.request.Request(
            self.http_url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        return self._open(request, timeout_s)

    def _get(self, url: str) -> tuple[int, bytes]:
        # An idle kept-alive connection would hold up Triton's exit.
        return self._open(urllib.request.Request(url, headers={"Connection": "close"}), 5.0)

    @staticmethod
    def _open(request: urllib.request.Request, timeout_s: float) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def _arguments(self) -> list[str]:
        arguments = [
            str(WHEEL / "bin" / "tritonserver"),
            f"--model-repository={self.repository}",
            f"--backend-directory={self._backends()}",
            f"--backend-config=python,shm-region-prefix-name={self._region}",
            "--http-address=127.0.0.1",
            f"--http-port={self.http_port}",
            "--grpc-address=127.0.0.1",
            f"--grpc-port={self.grpc_port}",
            f"--metrics-port={self.metrics_port}",
            "--metrics-address=127.0.0.1",
            "--allow-gpu-metrics=false",
            "--cuda-memory-pool-byte-size=0:0",
            "--pinned-memory-pool-byte-size=0",
            "--exit-timeout-secs=5",
        ]
        if self.models:
            arguments += ["--model-control-mode=explicit", *(f"--load-model={model}" for model in self.models)]
        if self.config_name:
            arguments.append(f"--model-config-name={self.config_name}")
        return [*arguments, *self.flags]

    def _backends(self) -> Path:
        """The wheel keeps the backend and its stubs apart; the backend wants its stub beside itself."""
        target = self._folder / "backends" / "python"
        target.mkdir(parents=True, exist_ok=True)
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        stub = WHEEL / "python_backend_stubs" / version / "triton_python_backend_stub"
        for source in (*(WHEEL / "backends" / "python").iterdir(), stub):
            link = target / source.name
            if not link.is_symlink():
                link.symlink_to(source)
        return target.parent

    def _environment(self) -> dict[str, str]:
        libraries = [str(SITE / "nvidia_pytriton.libs"), sysconfig.get_config_var("LIBDIR") or ""]
        return {
            **os.environ,
            "LD_LIBRARY_PATH": os.pathsep.join([*libraries, os.environ.get("LD_LIBRARY_PATH", "")]),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            "PYTHONPATH": os.pathsep.join([str(SITE), str(Path(__file__).resolve().parents[2])]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
            **self.env,
        }
