"""The Consul files that this project ships, read by a real Consul; the ACL policies suffice for what the parts do."""

import asyncio
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.ingestion.lock import ConsulLock
from ragfleet.paths import PROJECT
from tests.fleet.real_parts import ConsulServer, eventually, get
from worker.registration import Registration
from worker.triton_health import Beat

CONFIGURATION = PROJECT / "consul"
ACL = 'acl { enabled = true, default_policy = "deny" }\n'


@pytest.mark.parametrize("name", ["embedded.hcl", "server.hcl", "client.hcl"])
def test_configuration_is_valid(consul_program: Path, name: str, tmp_path: Path) -> None:
    # An address, as those files' own commands give one: on a host with two private ones Consul does not choose by itself.
    (tmp_path / "data.hcl").write_text(f'data_dir = "{tmp_path}"\nbind_addr = "127.0.0.1"\n')
    argv = [str(consul_program), "validate", str(CONFIGURATION / name), str(tmp_path / "data.hcl")]
    shown = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert shown.returncode == 0, shown.stdout + shown.stderr


@pytest.fixture(scope="module")
def guarded(consul_program: Path, ports: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    """A Consul where nothing is allowed without a token."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "acl.hcl").write_text(ACL)
    server = ConsulServer(consul_program, ports, folder, f"-config-file={folder / 'acl.hcl'}")
    server.start()
    yield server
    server.kill()


def put(url: str, body: Any = None, token: str = "") -> Any:
    data = json.dumps(body or {}).encode()
    request = urllib.request.Request(url, data=data, method="PUT", headers={"X-Consul-Token": token})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.loads(response.read())


def bootstrap(server: ConsulServer) -> str:
    """The management token. A leader that was just elected answers 500 for a moment: its ACLs are not initialised yet."""

    def once() -> str:
        try:
            return str(put(f"{server.url}/v1/acl/bootstrap")["SecretID"])
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 500:
                    raise
            return ""

    return str(eventually(once, "Consul's ACLs are initialised"))


def test_policies_allow_what_worker_and_gateway_do_and_no_more(
    guarded: ConsulServer, ports: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = bootstrap(guarded)
    tokens = {}
    for name in ("worker", "gateway"):
        rules = (CONFIGURATION / "policies" / f"{name}.hcl").read_text()
        put(f"{guarded.url}/v1/acl/policy", {"Name": name, "Rules": rules}, root)
        tokens[name] = put(f"{guarded.url}/v1/acl/token", {"Policies": [{"Name": name}]}, root)["SecretID"]

    async def register(token: str) -> bool:
        monkeypatch.setenv("CONSUL_HTTP_TOKEN", token)
        registration = Registration(guarded.url, "triton-0", address="127.0.0.1", port=ports + 11)
        registration.describe({"model": "tiny"})
        try:
            return await registration.beat(Beat("passing", "queue 0"))
        finally:
            await registration.close()

    async def leave(token: str) -> tuple[bool, bool]:
        monkeypatch.setenv("CONSUL_HTTP_TOKEN", token)
        registration = Registration(guarded.url, "triton-0", address="127.0.0.1", port=ports + 11)
        try:
            return await registration.drain(), await registration.deregister()
        finally:
            await registration.close()

    assert not asyncio.run(register("")), "nothing without a token"
    assert not asyncio.run(register(tokens["gateway"])), "a gateway does not write"
    assert asyncio.run(register(tokens["worker"]))
    seen = get(f"{guarded.url}/v1/health/service/ragfleet-triton?token={tokens['gateway']}")
    assert [entry["Service"]["ID"] for entry in seen] == ["triton-0"]
    assert get(f"{guarded.url}/v1/health/service/ragfleet-triton") in ([], None)
    assert asyncio.run(leave(tokens["worker"])) == (True, True)

    async def lock(token: str) -> bool:
        wanted = ConsulLock(guarded.url, "one", token=token)
        task = asyncio.create_task(wanted.run())
        await asyncio.wait_for(wanted.changed.wait(), 60)
        held = wanted.held
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return held

    assert not asyncio.run(lock(tokens["worker"])), "a worker ingests nothing"
    assert asyncio.run(lock(tokens["gateway"]))
