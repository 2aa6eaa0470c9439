"""Consul's UI is the health view of a fleet: the page is there, and what it reads has each instance's load and reason in words.

The UI draws its list of services from /v1/internal/ui/services and an instance's checks from /v1/health/service.
"""

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragfleet import processes
from ragfleet.paths import PROJECT
from tests.fleet.real_parts import ConsulServer, WorkerProcess, eventually, get

NAME = "triton-0"
SERVICE = "ragfleet-triton"


@pytest.fixture(scope="module")
def consul(consul_program: Path, ports: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    """A Consul as `ragfleet up` starts it: with its UI."""
    server = ConsulServer(consul_program, ports, tmp_path_factory.mktemp("consul"), "-ui")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def worker(
    consul: ConsulServer, ports: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WorkerProcess]:
    """A worker whose Triton serves the simulated `llm` alone."""
    repository = tmp_path / "models"
    repository.mkdir()
    (repository / "llm").symlink_to(PROJECT / "model_repository" / "llm")
    monkeypatch.setenv("RAGFLEET_LLM_PARAMS", json.dumps({"slots": 4}))
    arguments = [f"--http-port={ports + 11}", f"--model-repository={repository}", "--flavour=simulated"]
    started = WorkerProcess(tmp_path / "home", arguments, consul.url)
    started.start()
    yield started
    processes.sweep(started.home)
    if started.process:
        started.process.wait(60)


def _service(consul: ConsulServer) -> dict[str, int]:
    """How many checks of the service pass, warn and fail: the marks in the UI's list."""
    listed = get(f"{consul.url}/v1/internal/ui/services") or []
    return next(
        ({k: entry[k] for k in ("ChecksPassing", "ChecksCritical")} for entry in listed if entry["Name"] == SERVICE), {}
    )


def test_the_ui_shows_load_and_reason_in_words(worker: WorkerProcess, consul: ConsulServer) -> None:
    with urllib.request.urlopen(f"{consul.url}/ui/", timeout=5) as page:
        assert "<title>Consul" in page.read().decode()
    eventually(lambda: consul.passes(NAME), "passes")
    assert consul.checks(NAME)["worker"] == ("passing", "queue 0, running 0/4, kv 0%")
    assert _service(consul) == {"ChecksPassing": 3, "ChecksCritical": 0}  # ours, and the node's own

    os.kill(worker.triton, signal.SIGSTOP)
    try:
        eventually(lambda: _service(consul)["ChecksCritical"] == 2, "both checks are marked")
        status, words = consul.checks(NAME)["worker"]
        assert (status, words) == ("critical", "Triton does not answer since 3 s")
        assert "/v2/health/ready" in consul.checks(NAME)["ready"][1]
    finally:
        os.kill(worker.triton, signal.SIGCONT)
    eventually(lambda: _service(consul) == {"ChecksPassing": 3, "ChecksCritical": 0}, "it is back in the list")
