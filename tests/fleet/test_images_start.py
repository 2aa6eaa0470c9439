"""What the images start, started here as they start it: entrypoint, environment and secrets of the Dockerfiles and of
compose.yaml, a folder laid out as in the image, and Consul with its tokens. Only the container around it is missing."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from ragfleet import processes
from ragfleet.paths import PROJECT
from tests.fleet.real_parts import ConsulServer, eventually, get

pytestmark = pytest.mark.timeout(400)  # the first test waits for a whole fleet

DOCKER = PROJECT / "docker"
VERSION = "7.8.9"


def environment(image: str) -> dict[str, str]:
    """The ENV of an image's last stage."""
    text = (DOCKER / f"{image}.Dockerfile").read_text("utf-8").rpartition("\nFROM ")[2].replace("\\\n", " ")
    found = re.search(r"^ENV (.*)$", text, re.MULTILINE)
    assert found
    return dict(pair.split("=", 1) for pair in found[1].split())


def laid_out(image: str, folder: Path) -> Path:
    """The image's /opt/ragfleet, of links into the checkout."""
    text = (DOCKER / f"{image}.Dockerfile").read_text("utf-8").rpartition("\nFROM ")[2]
    for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE):
        for source in line.split()[:-1]:
            (folder / Path(source).name).symlink_to(PROJECT / source)
    return folder


@dataclass(frozen=True)
class Host:
    """One machine with the secrets, a Consul that wants tokens, and ports."""

    secrets: Path
    consul: ConsulServer
    ports: int

    def environment(self, image: str, service: str, home: Path, root: Path) -> dict[str, str]:
        """What the container of this service has, with this machine's paths and addresses in place of the container's."""
        told = yaml.safe_load((DOCKER / "compose.yaml").read_text("utf-8"))["services"][service]["environment"]
        tokenizer = os.environ.get("RAGFLEET_TOKENIZER_DIR", str(PROJECT / "var" / "models" / "smollm2"))
        here = {
            "/opt/venv/bin:$PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "/opt/ragfleet": str(root),
            "/var/lib/ragfleet": str(home),
            "/models/smollm2": tokenizer,
            "${VERSION}": VERSION,
            "http://consul-agent:8500": self.consul.url,
            "http://milvus:19530": f"http://127.0.0.1:{self.ports + 8}",
            "file:///objects": f"file://{home}/objects",
        }
        mapped = {
            name: here.get(value, value.replace("/run/secrets/", f"{self.secrets}/"))
            for name, value in {**environment(image), **told}.items()
        }
        # The wheel's own; and there is no PostgreSQL here.
        for left_out in ("RAGFLEET_EMBEDDING_DIR", "RAGFLEET_CATALOG_URL_FILE"):
            mapped.pop(left_out, None)
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
        return {**kept, **mapped, processes.PART_MARK: service}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What make-secrets.sh makes."""
    folder = tmp_path_factory.mktemp("docker")
    shutil.copy(DOCKER / "make-secrets.sh", folder)
    for _ in range(2):
        subprocess.run([folder / "make-secrets.sh"], check=True, capture_output=True, timeout=30)
    return folder / "secrets"


@pytest.fixture(scope="module")
def host(consul_program: Path, ports: int, secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Consul as in compose.yaml, but one server: everything denied, and the tokens made by acl.sh."""
    folder = tmp_path_factory.mktemp("consul")
    told = json.loads((secrets / "consul_server.json").read_text())
    # Consul before 1.11, as Debian has it, calls the management token `master`.
    told["acl"]["tokens"]["master"] = told["acl"]["tokens"].pop("initial_management")
    told["acl"] |= {"enabled": True, "default_policy": "deny"}
    (folder / "consul_server.json").write_text(json.dumps(told))
    server = ConsulServer(consul_program, ports, folder, f"-config-file={folder / 'consul_server.json'}")
    server.start()
    for _ in range(2):
        made = subprocess.run(
            [DOCKER / "consul" / "acl.sh"],
            env={
                "PATH": f"{consul_program.parent}:{os.environ['PATH']}",
                "CONSUL_HTTP_ADDR": server.url,
                "CONSUL_HTTP_TOKEN_FILE": str(secrets / "consul_management_token"),
                "POLICIES": str(PROJECT / "consul" / "policies"),
                "TOKENS": str(secrets),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert made.returncode == 0, made.stderr
    yield Host(secrets, server, ports)
    server.kill()


def call(url: str, token: str = "", body: Any = None) -> tuple[int, Any]:
    request = urllib.request.Request(url, data=None if body is None else json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.loads(response.read())
    except urllib.request.HTTPError as error:
        with error:
            return error.code, None
    except OSError:
        return 0, None


Start = Callable[[str, str, list[str], dict[str, str]], tuple[subprocess.Popen[bytes], Path]]


@pytest.fixture(scope="module")
def start(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts a service; whatever it left behind is ended."""
    homes: list[Path] = []

    def begin(image: str, service: str, argv: list[str], more: dict[str, str]) -> tuple[subprocess.Popen[bytes], Path]:
        home, root = tmp_path_factory.mktemp("home"), laid_out(image, tmp_path_factory.mktemp("root"))
        homes.append(home)
        argv = [str(root / word) if word == "entrypoint.sh" else word for word in argv]
        with (home / "output").open("wb") as output:
            process = subprocess.Popen(
                argv,
                env={**host.environment(image, service, home, root), **more},
                cwd=root,
                stdout=output,
                stderr=output,
            )
        return process, home

    yield begin
    for home in homes:
        processes.sweep(home)


def healthy(home: Path, *arguments: str) -> bool:
    argv = [sys.executable, "-I", DOCKER / "healthcheck.py", *arguments]
    return (
        subprocess.run(argv, env={"RAGFLEET_HOME": str(home)}, capture_output=True, timeout=20, check=False).returncode
        == 0
    )


def test_gateway_and_triton_find_each_other_and_answer(host: Host, start: Start) -> None:
    gateway_port, triton_port = host.ports + 20, host.ports + 31
    command = yaml.safe_load((DOCKER / "compose.yaml").read_text("utf-8"))["services"]["triton-0"]["command"]
    command = [word.replace("--advertise=triton-0", "--advertise=localhost") for word in command]
    worker, home = start(
        "cpu", "triton-0", ["entrypoint.sh", *command, "--flavour=simulated", f"--http-port={triton_port}"], {}
    )
    gateway, gateway_home = start(
        "gateway",
        "gateway-1",
        [sys.executable, "-m", "gateway"],
        {"RAGFLEET_GATEWAY_PORT": str(gateway_port), "RAGFLEET_GATEWAY_HOST": "127.0.0.1", "RAGFLEET_INGESTION": "no"},
    )
    url, key = f"http://127.0.0.1:{gateway_port}", (host.secrets / "api_key").read_text().strip()
    eventually(lambda: healthy(gateway_home, str(gateway_port), "/health/live"), "the gateway lives")
    assert get(f"{url}/health/ready") is None, "nothing serves yet"
    eventually(lambda: worker.poll() is None and get(f"{url}/health/ready"), "the gateway can serve")
    assert healthy(home)

    _, fleet = call(f"{url}/fleet")
    assert [(one["name"], one["version"], one["state"]) for one in fleet["instances"]] == [
        ("triton-0", VERSION, "ready")
    ]
    question = {
        "model": "smollm2-135m-instruct",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 4,
    }
    assert call(f"{url}/v1/chat/completions", "", question)[0] == 401, "the key of the secret is asked for"
    status, answer = call(f"{url}/v1/chat/completions", key, question)
    assert status == 200
    assert answer["usage"]["completion_tokens"] > 0

    worker.send_signal(signal.SIGTERM)
    assert worker.wait(45) == 0, "PID 1 passes the signal on: the worker drained"
    assert get(f"{url}/health/ready") is None
    gateway.send_signal(signal.SIGTERM)
    # uvicorn ends by the signal that it was sent, when all is done.
    assert gateway.wait(45) in {0, -signal.SIGTERM}


def test_a_container_without_its_secret_or_volume_says_so(host: Host, start: Start, tmp_path: Path) -> None:
    process, home = start("cpu", "triton-0", ["entrypoint.sh", "worker"], {"CONSUL_HTTP_TOKEN_FILE": "/nowhere/token"})
    assert process.wait(60) == 2
    assert "CONSUL_HTTP_TOKEN_FILE=/nowhere/token cannot be read" in (home / "output").read_text()
    process, home = start("cpu", "triton-0", ["entrypoint.sh", "worker"], {"RAGFLEET_HOME": "/nowhere"})
    assert process.wait(60) == 2
    assert "mount a volume" in (home / "output").read_text()
    process, home = start(
        "gateway", "gateway-1", [sys.executable, "-m", "gateway"], {"RAGFLEET_API_KEY_FILE": "/nowhere/key"}
    )
    assert process.wait(60) == 2
    assert "RAGFLEET_API_KEY_FILE=/nowhere/key cannot be read" in (home / "output").read_text()


def test_anything_else_is_run_as_it_stands(start: Start) -> None:
    process, home = start("cpu", "triton-0", ["entrypoint.sh", "sh", "-c", 'echo "$RAGFLEET_VERSION"; ls'], {})
    assert process.wait(60) == 0
    assert VERSION in (home / "output").read_text()
    assert "model_repository" in (home / "output").read_text()


def test_consul_is_saved_and_restored(consul_program: Path, host: Host, tmp_path: Path) -> None:
    """The commands of docs/production.md."""

    def consul(*arguments: str) -> str:
        done = subprocess.run(
            [consul_program, *arguments],
            env={
                "CONSUL_HTTP_ADDR": host.consul.url,
                "CONSUL_HTTP_TOKEN_FILE": str(host.secrets / "consul_management_token"),
            },
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    snapshot = str(tmp_path / "consul.snap")
    consul("kv", "put", "ragfleet/test", "before")
    consul("snapshot", "save", snapshot)
    assert "Index" in consul("snapshot", "inspect", snapshot)
    consul("kv", "put", "ragfleet/test", "after")
    consul("snapshot", "restore", snapshot)
    assert consul("kv", "get", "ragfleet/test").strip() == "before"
    assert "ragfleet worker" in consul("acl", "token", "list"), "tokens come back, too"
