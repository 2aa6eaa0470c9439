"""What the processes of a fleet take: processor time and memory, by part."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from ragfleet import processes

INGESTION = "gateway.ingestion"
"""The module of the gateway's child, which is told as a part of its own; its converters with it."""


@dataclass(slots=True)
class Usage:
    """One part, all its processes together: of an instance the worker, Triton and the models."""

    cpu_percent: float = 0.0
    """Of one core, during the measurement."""
    memory_bytes: int = 0
    """Pages that several processes share are divided among them (PSS)."""
    processes: int = 0


def measure(home: Path, seconds: float = 1.0) -> dict[str, Usage]:
    """By part, and `total`. It takes `seconds` and what looking takes; longer is more exact: the kernel counts in 10 ms."""
    before = {process: taken for process, _ in processes.members(home) if (taken := _cpu_seconds(process)) is not None}
    started = time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - started
    used: dict[str, Usage] = {}
    for process, part in processes.members(home):
        taken = _cpu_seconds(process)
        if taken is None:
            continue
        share = 100 * max(0.0, taken - before.get(process, taken)) / passed
        try:
            memory = int(process.memory_full_info().pss)
            name = "ingestion" if any(INGESTION in argument for argument in process.cmdline()) else part
        except psutil.Error:
            continue  # it has ended
        for entry in (used.setdefault(name, Usage()), used.setdefault("total", Usage())):
            entry.cpu_percent += share
            entry.memory_bytes += memory
            entry.processes += 1
    return dict(sorted(_rounded(used).items(), key=lambda item: (item[0] == "total", item[0])))


def _cpu_seconds(process: psutil.Process) -> float | None:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return None
    return float(times.user + times.system)


def _rounded(used: Mapping[str, Usage]) -> dict[str, Usage]:
    return {name: Usage(round(u.cpu_percent, 1), u.memory_bytes, u.processes) for name, u in used.items()}
