"""An embedded fleet for a benchmark: started through the command that users have, in a state folder of its own."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil


@dataclass(frozen=True, slots=True)
class Fleet:
    """A running fleet."""

    home: Path
    port: int
    """The gateway's."""
    key: str
    model: str
    instances: list[dict[str, Any]]
    gateway_pid: int
    consul_url: str


@contextmanager
def embedded(
    *, instances: int, flavour: str = "", port_base: int, env: Mapping[str, str] | None = None
) -> Iterator[Fleet]:
    """`ragfleet up`, the benchmark, `ragfleet down`; also when the benchmark is told to stop."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
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
            flavour_words = ["--llm", flavour] if flavour else []
            ragfleet("up", "--instances", str(instances), "--port-base", str(port_base), *flavour_words)
            status = json.loads(ragfleet("status", "--json"))
            yield Fleet(
                home=home,
                port=int(status["gateway_url"].rsplit(":", 1)[1].split("/")[0]),
                key=status["api_key"],
                model="smollm2-135m-instruct",
                instances=status["instances"],
                gateway_pid=_gateway_pid(home),
                consul_url=status["consul_url"],
            )
        finally:
            ragfleet("down", check=False)


def _gateway_pid(home: Path) -> int:
    for process in psutil.process_iter(["cmdline"]):
        if "gateway" in (process.info["cmdline"] or []) and "-m" in process.info["cmdline"]:
            try:
                if process.environ().get("RAGFLEET_HOME") == str(home):
                    return int(process.pid)
            except psutil.Error:
                continue
    raise RuntimeError("the gateway process was not found")
