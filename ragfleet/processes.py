"""Finds and ends the processes of one fleet, whatever happened before.

Each process of an embedded fleet carries two marks in its environment: RAGFLEET_HOME, the fleet, and RAGFLEET_PART, its
part in it; children inherit both. A shell that merely exports RAGFLEET_HOME carries only the first and is left alone.
"""

import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import psutil

from worker.process import remove_shared_memory
from worker.triton import shared_memory_prefix

HOME_MARK = "RAGFLEET_HOME"
PART_MARK = "RAGFLEET_PART"


def is_marked(environment: Mapping[str, str], home: Path) -> bool:
    """Whether a process with this environment belongs to the fleet at `home`."""
    return PART_MARK in environment and environment.get(HOME_MARK) == str(home)


def members(home: Path) -> Iterator[tuple[psutil.Process, str]]:
    """Every live process of the fleet at `home`, with its part; never this process or one that it descends from."""
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        if process.pid in spared:
            continue
        try:
            environment = process.environ()
            if is_marked(environment, home) and process.status() != psutil.STATUS_ZOMBIE:
                yield process, environment[PART_MARK]
        except (psutil.Error, OSError):
            continue  # gone meanwhile, or another user's: not ours


def is_member(pid: int, home: Path) -> bool:
    """Whether `pid` is a process of the fleet at `home`; another user's is not."""
    try:
        return is_marked(psutil.Process(pid).environ(), home)
    except (psutil.Error, OSError, ValueError, OverflowError):
        return False


def sweep(home: Path, *, part: str = "", deadline: float = 5.0) -> list[str]:
    """Kills every process of the fleet (or of one part), stopped ones too, until none is left; returns the killed parts.

    A killed Triton leaves its shared memory behind, which is removed, too.

    Raises TimeoutError where one outlives SIGKILL for `deadline` seconds (it hangs in the kernel).
    """
    killed: list[str] = []
    ends = time.monotonic() + deadline
    while found := [(process, name) for process, name in members(home) if part in {"", name}]:
        for process, name in found:
            try:
                process.kill()
            except psutil.Error:
                continue
            killed.append(name)
        psutil.wait_procs([process for process, _ in found], timeout=0.5)
        if time.monotonic() > ends:
            left = ", ".join(f"{name} (pid {process.pid})" for process, name in found)
            raise TimeoutError(f"These processes do not end on SIGKILL: {left}")
    remove_shared_memory(shared_memory_prefix(home, part))
    return list(dict.fromkeys(killed))


def alive(pid: int) -> bool:
    """Whether `pid` runs; a zombie does not."""
    if pid <= 0:
        return False
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def owner_of(port: int) -> str | None:
    """Who listens at 127.0.0.1:`port`, in words; None where the port is free."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return _listener(port) or "a process of another user"
    return None


def _listener(port: int) -> str | None:
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return None
    for connection in connections:
        local = connection.laddr
        if connection.status == psutil.CONN_LISTEN and local and local.port == port and connection.pid:
            try:
                process = psutil.Process(connection.pid)
                return f"{process.name()} (pid {process.pid}: {shorten(process.cmdline())})"
            except psutil.Error:
                return f"pid {connection.pid}"
    return None


def shorten(argv: Iterable[str], limit: int = 60) -> str:
    """A command line that fits into a message."""
    text = " ".join(argv)
    return text if len(text) <= limit else text[: limit - 1] + "…"
