"""An embedded fleet for a benchmark: started through the command that users have, in a state folder of its own."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from ragfleet.paths import PROJECT

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EmbeddedFleet:
    """A running fleet."""

    home: Path
    port: int
    """The gateway's."""
    key: str
    model: str
    instances: list[dict[str, Any]]
    gateway_pid: int
    """The first one's, as it was at the start."""
    gateway_urls: Sequence[str]
    consul_url: str
    worker_arguments: Sequence[str]
    """For one more worker like these: its flavour and its models."""
    environment: Mapping[str, str]
    """What `env` was."""


@contextmanager
def embedded(
    *,
    instances: int,
    gateways: int = 1,
    flavour: str = "",
    port_base: int,
    env: Mapping[str, str] | None = None,
    models: Sequence[str] = (),
) -> Iterator[EmbeddedFleet]:
    """`ragfleet up`, the benchmark, `ragfleet down`; also when the benchmark is told to stop.

    models: only these of the repository are served, and no Milvus started. Empty: the whole system.
    """
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="ragfleet-bench-") as folder:
        home = Path(folder)
        environ = {**os.environ, **(env or {}), "RAGFLEET_HOME": str(home)}

        def ragfleet(*words: str, check: bool = True) -> str:
            done = subprocess.run(
                [sys.executable, "-m", "ragfleet", *words],
                env=environ,
                stdout=subprocess.PIPE,
                text=True,
                timeout=240,
                check=check,
            )
            return done.stdout

        try:
            ragfleet("setup")
            repository = part_of_the_repository(home, models) if models else PROJECT / "model_repository"
            words = ["--model-repository", str(repository), *(["--llm", flavour] if flavour else [])]
            words += ["--without", "milvus"] if models else []
            words += ["--gateways", str(gateways)]
            ragfleet("up", "--instances", str(instances), "--port-base", str(port_base), *words)
            status = json.loads(ragfleet("status", "--json"))
            yield EmbeddedFleet(
                home=home,
                port=int(status["gateway_url"].rsplit(":", 1)[1].split("/")[0]),
                key=status["api_key"],
                model="smollm2-135m-instruct",
                instances=status["instances"],
                gateway_pid=status["gateways"][0]["pid"],
                gateway_urls=[each["url"] for each in status["gateways"]],
                consul_url=status["consul_url"],
                worker_arguments=[f"--model-repository={repository}", f"--flavour={flavour}"],
                environment={**(env or {}), "RAGFLEET_TOKENIZER_DIR": str(home / "models" / "smollm2")},
            )
        finally:
            signal.signal(signal.SIGTERM, lambda *_: None)  # it is stopping: told once more, it still stops the fleet
            ragfleet("down", check=False)
            signal.signal(signal.SIGTERM, before)


def run_stoppable(work: Coroutine[Any, Any, T]) -> T:
    """`uvloop.run`, in which SIGTERM cancels the work; then SystemExit(143) is raised.

    The handler that `embedded` installs raises wherever the program is: in a loop's callback it would be logged and lost.
    """
    before = signal.getsignal(signal.SIGTERM)
    told = False

    async def watched() -> T:
        task = asyncio.current_task()
        assert task is not None

        def stop() -> None:
            nonlocal told
            told = True
            task.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
        return await work

    try:
        found: T = uvloop.run(watched())
    except asyncio.CancelledError:
        if told:
            sys.exit(143)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    return found


def part_of_the_repository(folder: Path, models: Sequence[str]) -> Path:
    """A model repository in `folder` that has only these models of ours."""
    repository = folder / "model_repository"
    repository.mkdir(exist_ok=True)
    for model in models:
        (repository / model).symlink_to(PROJECT / "model_repository" / model)
    return repository
