"""One more worker beside those of an embedded fleet, of another version: the candidate of a roll-out."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from ragfleet import processes
from ragfleet.paths import PROJECT
from tests.support.embedded_fleet import EmbeddedFleet, part_of_the_repository

CANDIDATE, VERSION = "candidate-0", "2.0-test"
MODELS = ("llm", "prompt")


@contextmanager
def candidate_worker(fleet: EmbeddedFleet, *, http_port: int, engine: Mapping[str, Any]) -> Iterator[None]:
    """Starts it, waits for nothing, and ends it. http_port: the first of three. engine: what the simulated engine is told."""
    folder = fleet.home / CANDIDATE
    folder.mkdir(exist_ok=True)
    with (fleet.home / "log" / f"{CANDIDATE}.log").open("ab") as output:
        worker = subprocess.Popen(
            [
                *(sys.executable, "-m", "worker", f"--name={CANDIDATE}", f"--http-port={http_port}"),
                *(f"--model-repository={part_of_the_repository(folder, MODELS)}", "--flavour=simulated"),
            ],
            env={
                **os.environ,
                **fleet.environment,
                processes.HOME_MARK: str(fleet.home),
                processes.PART_MARK: CANDIDATE,
                "RAGFLEET_CONSUL_URL": fleet.consul_url,
                "RAGFLEET_VERSION": VERSION,
                "RAGFLEET_LLM_PARAMS": json.dumps(dict(engine)),
            },
            cwd=PROJECT,
            stdout=output,
            stderr=output,
        )
    try:
        yield
    finally:
        worker.terminate()  # it drains, and takes itself out of Consul
        with suppress(subprocess.TimeoutExpired):
            worker.wait(60)
        processes.sweep(fleet.home, part=CANDIDATE)
        worker.wait(30)


def rollout(fleet: EmbeddedFleet, *words: str) -> dict[str, Any]:
    """`ragfleet rollout … --json`."""
    done = subprocess.run(
        [sys.executable, "-m", "ragfleet", "rollout", *words, "--json"],
        env={**os.environ, "RAGFLEET_HOME": str(fleet.home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told
