"""Real processes for the fleet tests: a Consul, a worker with its Triton, the command `ragfleet`, and a place for each.

The models are one that echoes, so that a Triton is ready in two seconds; tests of answers bring the real repository.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ragfleet import consul_binary, processes
from ragfleet.paths import cache_folder
from tests.fleet.real_parts import ECHO_CONFIG, ECHO_MODEL, Command, ConsulServer, WorkerProcess
from tests.support.ports import FOR_FLEETS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test in this folder starts real processes."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.fleet)


@pytest.fixture(scope="session")
def consul_program() -> Path:
    """The program `consul`, downloaded once."""
    try:
        return consul_binary.obtain(cache_folder()).path
    except consul_binary.ConsulMissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def take_ports() -> Callable[[], int]:
    """Gives a base with 50 free ports, another one at each call."""
    bases = iter(FOR_FLEETS)

    def take() -> int:
        return next(base for base in bases if all(processes.owner_of(base + port) is None for port in range(45)))

    return take


@pytest.fixture(scope="session")
def echo_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository with one model that echoes."""
    root = tmp_path_factory.mktemp("models")
    (root / "echo" / "1").mkdir(parents=True)
    (root / "echo" / "config.pbtxt").write_text(ECHO_CONFIG)
    (root / "echo" / "1" / "model.py").write_text(ECHO_MODEL)
    return root


@pytest.fixture(scope="module")
def ports(take_ports: Callable[[], int]) -> int:
    """The first of the ports of this module."""
    return take_ports()


@pytest.fixture(scope="module")
def consul(consul_program: Path, ports: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    """A running Consul at `ports` + 1."""
    server = ConsulServer(consul_program, ports, tmp_path_factory.mktemp("consul"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def worker(
    consul: ConsulServer, echo_repository: Path, ports: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerProcess]:
    """A worker whose Triton is ready; a Triton that hangs for 6 s is restarted."""
    home = tmp_path_factory.mktemp("home")
    arguments = [f"--http-port={ports + 11}", f"--model-repository={echo_repository}", "--hang-timeout=6"]
    started = WorkerProcess(home, arguments, consul.url)
    started.start()
    yield started
    processes.sweep(home)
    if started.process:
        started.process.wait(60)


@pytest.fixture(scope="module")
def ragfleet(consul_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """The command, with an empty state folder; whatever it started is ended."""
    command = Command(tmp_path_factory.mktemp("fleet"))
    yield command
    command("down")
    processes.sweep(command.home)
