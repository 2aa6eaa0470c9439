"""The whole fleet, gateway and Milvus Lite included, around the simulated engine: its parts are killed one by one."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragfleet import processes, services
from ragfleet.loopback import get_json
from ragfleet.paths import PROJECT
from tests.fleet.real_parts import Command, eventually, get

pytestmark = pytest.mark.timeout(300)  # the first test waits for a whole fleet


@pytest.fixture(scope="module")
def fleet(ragfleet: Command, ports: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """Two instances that serve `llm` alone: what retrieval and embedding need takes long to load, and is not the point."""
    repository = tmp_path_factory.mktemp("models")
    (repository / "llm").symlink_to(PROJECT / "model_repository" / "llm")
    assert ragfleet("setup").returncode == 0
    base = ("--port-base", str(ports), "--model-repository", str(repository))
    shown = ragfleet("up", *base, "--llm", "simulated", within=120)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    yield ragfleet
    assert ragfleet("down").returncode == 0
    assert ragfleet.left() == []


def test_the_gateway_sees_every_instance(fleet: Command) -> None:
    seen = fleet.status()
    assert seen["ready"]
    assert [entry["state"] for entry in seen["instances"]] == ["ready", "ready"]
    assert all(entry["slots"] == 16 for entry in seen["instances"])
    assert {part["name"] for part in seen["parts"]} == {"consul", "milvus", "gateway", "triton-0", "triton-1"}


def test_an_unanswered_question_says_why(fleet: Command) -> None:
    shown = fleet("ask", "--store", "nowhere", "who?")
    assert shown.returncode == 1
    assert "There is no knowledge store 'nowhere'" in shown.stderr


def test_a_paused_triton_is_isolated_in_status_and_comes_back(fleet: Command) -> None:
    pid = fleet.instance("triton-1")["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: fleet.instance("triton-1")["state"] in {"hung", "isolated"}, "isolated")
        assert not fleet.status()["ready"]
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: fleet.instance("triton-1")["state"] == "ready", "back")


def test_a_killed_gateway_is_replaced(fleet: Command) -> None:
    url = fleet.status()["gateway_url"]
    os.kill(fleet.part("gateway")["pid"], signal.SIGKILL)
    eventually(lambda: get(f"{url}/health/ready"), "the gateway is ready again")
    eventually(lambda: fleet.status()["ready"], "so is the fleet")


def test_a_killed_milvus_is_replaced(fleet: Command, ports: int) -> None:
    os.kill(fleet.part("milvus")["pid"], signal.SIGKILL)
    eventually(lambda: not services.listens(ports + 8), "it is gone")
    eventually(lambda: services.listens(ports + 8), "it listens again")


def test_nothing_listens_beyond_loopback(fleet: Command) -> None:
    addresses = {
        connection.laddr.ip.removeprefix("::ffff:")  # IPv4 on an IPv6 socket
        for process, _ in processes.members(fleet.home)
        for connection in process.net_connections("inet")
        if connection.status == "LISTEN"
    }
    assert addresses == {"127.0.0.1"}


def test_the_api_key_is_wanted(fleet: Command) -> None:
    url = fleet.status()["gateway_url"]
    assert get(f"{url}/v1/models") is None


def test_a_tenant_of_the_command_line_is_let_in_and_put_out_while_the_fleet_runs(fleet: Command) -> None:
    seen = fleet.status()
    models, admin = f"{seen['gateway_url']}/v1/models", Path(seen["admin_key_file"]).read_text().strip()
    assert fleet("tenant", "create", "acme", "--requests-per-minute", "1000").returncode == 0
    made = json.loads(fleet("key", "create", "--tenant", "acme", "--json").stdout)
    eventually(lambda: get_json(models, made["key"])[0] == 200, "the new key is let in")
    assert fleet("key", "revoke", made["id"]).returncode == 0
    eventually(lambda: get_json(models, made["key"])[0] == 401, "the revoked key is refused")
    _, acts = get_json(f"{seen['gateway_url']}/admin/audit", admin)
    assert [each["act"] for each in acts["data"]] == ["key.revoke", "key.create", "tenant.create"]
    secrets = [admin, seen["api_key"], made["key"], (fleet.home / "run" / "filter_secret").read_text().strip()]
    told = [" ".join(process.cmdline()) for process, _ in processes.members(fleet.home)]
    told += [path.read_text(errors="replace") for path in (fleet.home / "log").glob("*.log")]
    told += [json.dumps(get_json(f"{seen['consul_url']}/v1/agent/{what}")[1]) for what in ("services", "checks")]
    for secret in secrets:
        assert not any(secret in each for each in told), "secrets come from files, and go nowhere"


def test_the_home_holds_everything(fleet: Command) -> None:
    logs = {path.stem for path in Path(fleet.home, "log").glob("*.log")}
    assert {"supervisor", "consul", "milvus", "gateway", "triton-0", "triton-0.worker"} <= logs
