"""`ragfleet` with real parts: up, down, scale, status, and what it does when its processes are killed."""

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from ragfleet import processes
from tests.fleet.real_parts import Command, eventually, get

pytestmark = pytest.mark.timeout(400)  # commands that start and stop Tritons, on a busy machine

PLAIN = ("--without", "gateway", "--without", "milvus")
"""Consul, workers and Tritons: the parts whose lives this is about."""


@pytest.fixture(scope="module")
def arguments(ports: int, echo_repository: Path) -> tuple[str, ...]:
    """How each fleet here is brought up."""
    return ("up", "--port-base", str(ports), "--model-repository", str(echo_repository), *PLAIN)


@pytest.fixture
def fleet(ragfleet: Command, arguments: tuple[str, ...]) -> Command:
    """Two instances that serve; the tests share them."""
    shown = ragfleet(*arguments)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    return ragfleet


def test_status_and_down_say_when_nothing_runs(ragfleet: Command) -> None:
    shown = ragfleet("status")
    assert shown.returncode == 4
    assert "ragfleet up" in shown.stderr
    assert ragfleet("ask", "who?").returncode == 4
    assert ragfleet("scale", "3").returncode == 4
    assert ragfleet("down").returncode == 0


def test_a_taken_port_is_refused_with_its_owner(ragfleet: Command, arguments: tuple[str, ...], ports: int) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", ports + 12))
        listener.listen()
        shown = ragfleet(*arguments)
    assert shown.returncode == 3
    assert f"Port {ports + 12}, which triton-0 needs, is taken by" in shown.stderr
    assert f"pid {os.getpid()}" in shown.stderr
    assert "--port-base" in shown.stderr
    assert ragfleet.left() == []


def test_an_unknown_flavour_is_refused_before_anything_starts(ragfleet: Command, arguments: tuple[str, ...]) -> None:
    shown = ragfleet(*arguments, "--llm", "nonsense")
    assert shown.returncode == 3
    assert "nonsense" in shown.stderr
    assert ragfleet.left() == []


def test_a_part_that_cannot_start_is_named_with_its_log(ragfleet: Command, ports: int, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.pbtxt").write_text("this is no configuration\n")
    shown = ragfleet("up", "--port-base", str(ports), "--model-repository", str(tmp_path), *PLAIN, "--instances", "1")
    assert shown.returncode == 1
    assert "triton-0" in shown.stderr
    assert "triton-0.log" in shown.stderr
    assert "failed to load" in shown.stderr.lower() or "error" in shown.stderr.lower()
    assert ragfleet.left() == []


def test_status_is_what_the_contract_says(fleet: Command, ports: int) -> None:
    seen = json.loads(fleet("status", "--json").stdout)
    assert seen.keys() == fleet.status().keys()
    assert {"gateway_url", "api_key", "consul_url", "milvus_uri", "instances"} <= seen.keys()
    assert seen["consul_url"] == f"http://127.0.0.1:{ports + 1}"
    assert [entry["name"] for entry in seen["instances"]] == ["triton-0", "triton-1"]
    for index, entry in enumerate(seen["instances"]):
        assert entry["state"] == "ready"
        assert processes.alive(entry["pid"])
        assert processes.alive(entry["worker_pid"])
        first = ports + 11 + 10 * index
        assert (entry["http_port"], entry["grpc_port"], entry["metrics_port"]) == (first, first + 1, first + 2)
    assert (fleet.home / "run" / "fleet.json").stat().st_mode & 0o077 == 0


def test_a_second_up_changes_nothing(fleet: Command, arguments: tuple[str, ...]) -> None:
    before = fleet.instance("triton-0")
    shown = fleet(*arguments)
    assert shown.returncode == 0
    assert "already" in shown.stdout
    assert fleet.instance("triton-0")["pid"] == before["pid"]


def test_a_killed_worker_is_replaced_beside_its_triton(fleet: Command) -> None:
    before = fleet.instance("triton-0")
    os.kill(before["worker_pid"], signal.SIGKILL)
    eventually(
        lambda: (now := fleet.instance("triton-0"))["state"] == "ready" and now["worker_pid"] != before["worker_pid"],
        "another worker",
    )
    assert fleet.instance("triton-0")["pid"] == before["pid"]


def test_a_killed_triton_is_back_within_30_s(fleet: Command) -> None:
    before = fleet.instance("triton-1")
    os.kill(before["pid"], signal.SIGKILL)
    eventually(lambda: (now := fleet.instance("triton-1"))["state"] == "ready" and now["pid"] != before["pid"], "back")
    assert fleet.instance("triton-1")["restarts"] == before["restarts"] + 1


def test_a_killed_consul_is_replaced_and_knows_everybody(fleet: Command) -> None:
    consul = fleet.status()["consul_url"]
    os.kill(fleet.part("consul")["pid"], signal.SIGKILL)
    eventually(lambda: len(get(f"{consul}/v1/health/service/ragfleet-triton?passing=1") or []) == 2, "both pass again")


def test_scale_up_and_down(fleet: Command) -> None:
    assert fleet("scale", "3").returncode == 0
    assert fleet.instance("triton-2")["state"] == "ready"
    kept = fleet.instance("triton-0")["pid"]
    consul = fleet.status()["consul_url"]
    assert fleet("scale", "1").returncode == 0
    assert [entry["name"] for entry in fleet.status()["instances"]] == ["triton-0"]
    assert fleet.instance("triton-0")["pid"] == kept
    assert set(fleet.left()) == {"supervisor", "consul", "triton-0"}
    assert len(get(f"{consul}/v1/health/service/ragfleet-triton") or []) == 1
    assert fleet("scale", "2").returncode == 0


def test_logs_are_named_and_shown(fleet: Command) -> None:
    assert "triton-0.worker" in fleet("logs").stdout
    assert "triton is ready" in fleet("logs", "triton-0.worker").stdout
    assert fleet("logs", "nobody").returncode == 2


def test_down_leaves_no_process(fleet: Command) -> None:
    shown = fleet("down")
    assert shown.returncode == 0
    assert "Killed" not in shown.stdout
    assert fleet.left() == []
    assert fleet("status").returncode == 4


@pytest.mark.parametrize("victim", ["command", "paused supervisor", "consul"])
def test_down_leaves_no_process_whatever_was_killed(ragfleet: Command, arguments: tuple[str, ...], victim: str) -> None:
    starting = ragfleet.begin(*arguments, "--instances", "1")
    eventually(lambda: {"supervisor", "consul", "triton-0"} <= set(ragfleet.left()), "some of it runs")
    if victim == "command":
        starting.kill()
        starting.wait(60)
    else:
        name = victim.rpartition(" ")[2]
        number = signal.SIGSTOP if victim.startswith("paused") else signal.SIGKILL
        for process, part in processes.members(ragfleet.home):
            if part == name:
                process.send_signal(number)
    assert ragfleet("down").returncode == 0
    assert ragfleet.left() == []
    starting.wait(60)


def test_a_killed_supervisor(ragfleet: Command, arguments: tuple[str, ...]) -> None:
    def kill() -> None:
        os.kill(int((ragfleet.home / "run" / "supervisor.pid").read_text()), signal.SIGKILL)

    assert ragfleet(*arguments, "--instances", "1").returncode == 0
    before = ragfleet.instance("triton-0")["pid"]
    kill()
    shown = ragfleet("status")
    assert shown.returncode == 4
    assert "ragfleet down" in shown.stderr
    assert ragfleet(*arguments, "--instances", "1").returncode == 0, "up ends what is left, and starts afresh"
    assert ragfleet.instance("triton-0")["pid"] != before
    kill()
    assert ragfleet("down").returncode == 0
    assert ragfleet.left() == []


def test_a_shell_that_exports_the_home_survives_down(ragfleet: Command) -> None:
    with subprocess.Popen(["sleep", "60"], env={**os.environ, "RAGFLEET_HOME": str(ragfleet.home)}) as bystander:
        assert ragfleet("down").returncode == 0
        assert bystander.poll() is None
        bystander.kill()
