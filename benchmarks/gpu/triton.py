"""One Triton, started as the worker starts it: its command line, its environment, its GPU."""

import contextlib
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.gpu.weights import POSITIONS
from gateway.fleet.view import Instance
from worker import launch
from worker.settings import parse
from worker.triton import shared_memory_prefix

MODEL = "gpu-check"
REPOSITORY = Path(__file__).parents[2] / "model_repository"
START_S = 120.0
EXIT_S = 15.0


class Triton:
    """`with Triton(name, …) as triton:`; `kill` is what the loss of a machine looks like."""

    def __init__(
        self,
        name: str,
        home: Path,
        *,
        port: int,
        models: Sequence[str],
        slots: int,
        gpu: bool,
        environment: Mapping[str, str],
    ) -> None:
        self.instance = Instance(
            name=name, address="127.0.0.1", http_port=port, grpc_port=port + 1, metrics_port=port + 2, model=MODEL,
            engine="torch", flavour="torch", slots=slots, max_context=POSITIONS, cached_prompts=slots,
            device="gpu" if gpu else "cpu", embedding_model="minilm" if "embedding" in models else "",
        )  # fmt: skip
        self.log = home / f"{name}.log"
        repository = home / f"{name}-models"
        repository.mkdir(parents=True, exist_ok=True)
        for model in models:
            (repository / model).symlink_to(REPOSITORY / model)
        words = [
            f"--name={name}",
            f"--home={home}",
            f"--http-port={port}",
            f"--model-repository={repository}",
            "--flavour=torch",
        ]
        self._settings = parse(words, {**os.environ, "RAGFLEET_VERSION": "gpu-check", **environment})
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Begin to start."""
        prepared = launch.prepare(self._settings)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                prepared.argv, env=prepared.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def wait(self) -> None:
        """Until it is ready. Raises RuntimeError with the end of its log where it does not become so."""
        assert self._process is not None
        url = f"http://127.0.0.1:{self.instance.http_port}/v2/health/ready"
        end = time.monotonic() + START_S
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
            time.sleep(0.2)
        raise RuntimeError(f"{self.instance.name} is not ready; its log ends:\n{self.log.read_text()[-3000:]}")

    def kill(self) -> None:
        """SIGKILL to all of it at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(EXIT_S)

    def __enter__(self) -> "Triton":
        self.launch()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(EXIT_S)
        self.kill()
        for region in Path("/dev/shm").glob(f"{shared_memory_prefix(self._settings.home, self.instance.name)}*"):  # noqa: S108 - Triton's
            region.unlink(missing_ok=True)
