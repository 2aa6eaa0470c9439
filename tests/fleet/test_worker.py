"""One worker with a real Triton and a real Consul, through everything that can happen to either."""

import os
import signal
import urllib.request

import psutil
import pytest

from ragfleet import processes
from tests.fleet.real_parts import ConsulServer, WorkerProcess, eventually, get

NAME = "triton-0"


@pytest.fixture(autouse=True)
def healthy(worker: WorkerProcess, consul: ConsulServer) -> None:
    """Each test begins with an instance that passes."""
    eventually(lambda: consul.passes(NAME), "passes before the test")


def test_registers_with_both_checks_and_its_meta(worker: WorkerProcess, consul: ConsulServer, ports: int) -> None:
    assert consul.checks(NAME)["worker"] == ("passing", "ready")
    assert consul.checks(NAME)["ready"][0] == "passing"
    entry = consul.service(NAME)
    assert entry is not None
    assert (entry["Address"], entry["Port"]) == ("127.0.0.1", ports + 11)
    expected = {"grpc_port", "metrics_port", "model", "engine", "flavour", "device", "slots", "max_context", "version"}
    assert {*expected, "embedding_model"} == entry["Meta"].keys()
    assert entry["Meta"]["grpc_port"] == str(ports + 12)


def test_restricted_apis_are_closed(worker: WorkerProcess, ports: int) -> None:
    assert get(f"http://127.0.0.1:{ports + 11}/v2/models/echo/config") is not None
    assert get(f"http://127.0.0.1:{ports + 11}/v2/models/stats") is None
    assert get(f"http://127.0.0.1:{ports + 11}/v2/logging") is None


def test_a_killed_triton_is_isolated_and_comes_back(worker: WorkerProcess, consul: ConsulServer) -> None:
    before = worker.triton
    os.kill(before, signal.SIGKILL)
    eventually(lambda: not consul.passes(NAME), "isolated")
    eventually(lambda: "SIGKILL" in consul.checks(NAME)["worker"][1] or worker.triton not in {0, before}, "says why")
    eventually(lambda: consul.passes(NAME), "back")
    assert worker.triton not in {0, before}
    assert worker.state["restarts"] == 1


def test_a_paused_triton_is_isolated_and_rejoins(worker: WorkerProcess, consul: ConsulServer) -> None:
    before = worker.triton
    os.kill(before, signal.SIGSTOP)
    try:
        eventually(lambda: not consul.passes(NAME), "isolated")
        eventually(lambda: consul.checks(NAME)["worker"][1].startswith("Triton does not answer since"), "says why")
        eventually(lambda: worker.state["state"] == "hung", "says so in its state")
    finally:
        os.kill(before, signal.SIGCONT)
    eventually(lambda: consul.passes(NAME), "rejoins")
    assert worker.triton == before


def test_a_triton_that_hangs_for_good_is_replaced(worker: WorkerProcess, consul: ConsulServer) -> None:
    before = worker.triton
    os.kill(before, signal.SIGSTOP)
    eventually(lambda: worker.triton not in {0, before}, "replaced")
    eventually(lambda: consul.passes(NAME), "back")
    assert not processes.alive(before)


def test_a_dead_model_process_is_noticed_though_triton_says_ready(worker: WorkerProcess, consul: ConsulServer) -> None:
    before = worker.triton
    (stub,) = psutil.Process(before).children()
    stub.kill()
    eventually(lambda: worker.triton not in {0, before}, "replaced")
    eventually(lambda: consul.passes(NAME), "back")


def test_registration_is_repaired_when_consul_forgot_it(worker: WorkerProcess, consul: ConsulServer) -> None:
    before = worker.triton
    consul.kill()
    consul.start(forgetful=True)
    eventually(lambda: consul.passes(NAME), "registered again")
    assert worker.triton == before


def test_registration_outlives_a_restart_of_consul(worker: WorkerProcess, consul: ConsulServer) -> None:
    consul.kill()
    consul.start()
    eventually(lambda: consul.passes(NAME), "passes again")


def test_a_restarted_worker_adopts_its_triton(worker: WorkerProcess, consul: ConsulServer) -> None:
    before = worker.triton
    worker.kill()
    worker.start()
    assert worker.triton == before
    eventually(lambda: consul.passes(NAME), "passes")
    os.kill(before, signal.SIGKILL)  # it watches the adopted one, too
    eventually(lambda: worker.triton not in {0, before}, "replaced")


def test_maintenance_of_an_operator_outlives_a_restarted_worker(worker: WorkerProcess, consul: ConsulServer) -> None:
    def maintenance(*, on: bool) -> None:
        url = f"{consul.url}/v1/agent/service/maintenance/{NAME}?enable={str(on).lower()}&reason=disk"
        urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=5).close()

    maintenance(on=True)
    worker.kill()
    worker.start()
    assert not consul.passes(NAME)
    maintenance(on=False)


def test_sigterm_drains_and_leaves_nothing(worker: WorkerProcess, consul: ConsulServer) -> None:
    assert worker.process is not None
    worker.process.send_signal(signal.SIGTERM)
    eventually(lambda: not consul.passes(NAME), "in maintenance at once")
    assert worker.process.wait(60) == 0
    assert consul.service(NAME) is None
    assert worker.state["state"] == "stopped"
    assert list(processes.members(worker.home)) == []
