"""A gateway of two processes, for real: one port, one exposition; one that dies is started again; all end together."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ragfleet import processes
from ragfleet.paths import PROJECT
from tests.fleet.real_parts import eventually

pytestmark = pytest.mark.timeout(300)


def free_port() -> int:
    """Of a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Gateway:
    """`python -m gateway` with two processes; no instance is needed for what it is asked here."""

    def __init__(self, home: Path, tokenizer: Path) -> None:
        self.port = free_port()
        self.environment = {
            **os.environ,
            processes.HOME_MARK: str(home),
            "RAGFLEET_API_KEY": "key",
            "RAGFLEET_CONSUL_URL": f"http://127.0.0.1:{free_port()}",  # nobody is there
            "RAGFLEET_TOKENIZER_DIR": str(tokenizer),
            "RAGFLEET_INGESTION": "0",
            "RAGFLEET_GATEWAY_PORT": str(self.port),
            "RAGFLEET_GATEWAY_PROCESSES": "2",
        }
        self.process = psutil.Popen([sys.executable, "-m", "gateway"], env=self.environment, cwd=PROJECT)

    @property
    def children(self) -> list[psutil.Process]:
        return self.process.children()

    @property
    def up(self) -> list[str]:
        """The processes that whoever is asked says are there."""
        try:
            text = self.get("/metrics")
        except OSError:
            return []
        return [
            line
            for line in text.splitlines()
            if line.startswith("ragfleet_gateway_process_up") and line.endswith("1.0")
        ]

    def get(self, path: str) -> str:
        """The text of the answer, over a connection of its own. Raises OSError."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as reply:
            text: str = reply.read().decode()
            return text


@pytest.fixture
def gateway(tmp_path: Path, tokenizer_dir: Path) -> Iterator[Gateway]:
    found = Gateway(tmp_path, tokenizer_dir)
    try:
        eventually(lambda: len(found.up) == 2, "both serve")
        yield found
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.process.kill()  # its children end with it
            found.process.wait(60)


def test_a_process_that_dies_is_started_again_and_all_end_together(gateway: Gateway) -> None:
    before = {child.pid for child in gateway.children}
    assert len(before) == 2
    lost = gateway.children[0]
    lost.kill()
    eventually(lambda: not lost.is_running(), "all of its threads have ended, and with them its sockets")
    assert {gateway.get("/health/live") for _ in range(20)} == {'{"status":"live"}'}, "the other one serves"
    eventually(lambda: len(gateway.up) == 2, "both serve again")
    children = gateway.children
    assert len({child.pid for child in children} & before) == 1

    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(120) == 0
    assert not any(child.is_running() for child in children)


def test_nobody_else_can_have_the_port_and_a_killed_parent_leaves_no_process(gateway: Gateway) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "gateway"],
        check=False,
        env=gateway.environment,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert second.returncode == 2
    assert "Address already in use" in second.stderr

    children = gateway.children
    gateway.process.kill()
    gateway.process.wait(60)
    eventually(lambda: not any(child.is_running() for child in children), "they end with it")
