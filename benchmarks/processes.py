"""Processes that a benchmark starts, measures and always stops."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil


def cpu_seconds(pid: int) -> float:
    """User and system seconds of a process and its children so far."""
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    return sum(t.user + t.system for t in (p.cpu_times() for p in family))


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def process(argv: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None) -> Iterator[int]:
    """A process in a group of its own; the whole group is killed at the end."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        child = subprocess.Popen(
            argv, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, env={**os.environ, **(env or {})}
        )
    try:
        yield child.pid
    finally:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(child.pid, sign)
            except ProcessLookupError:
                break
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                continue
        child.wait(5)


def wait_http(url: str, *, seconds: float, what: str) -> None:
    """Until the URL answers below 500. Raises TimeoutError naming what was waited for."""
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except urllib.error.HTTPError as error:
            if error.code < 500:
                return
        except OSError:
            pass
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not answer at {url} within {seconds:g} s")
        time.sleep(0.2)


def peers_python(packages: Sequence[str]) -> Path:
    """A virtual environment apart from ours that has the peers, made once under .cache/bench."""
    home = Path(".cache/bench/venv")
    stamp = home / "packages.txt"
    wanted = "\n".join(packages)
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing the peers into {home}: {', '.join(packages)} …", flush=True)
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([home / "bin/pip", "install", "-q", *packages], check=True, timeout=900, stderr=sys.stderr)
        stamp.write_text(wanted)
    return home / "bin"
