"""The state file of one instance, var/run/<name>.json: written by its worker, read by `ragfleet` and by the next worker."""

import json
import os
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path


class WorkerPhase(StrEnum):
    """Where an instance stands."""

    STARTING = "starting"
    READY = "ready"
    HUNG = "hung"
    RESTARTING = "restarting"
    DRAINING = "draining"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class InstanceState:
    """One instance as its worker saw it last. Whether the two processes still live is for the reader to check."""

    name: str
    state: WorkerPhase
    worker_pid: int
    pid: int
    """tritonserver's process id; 0 while there is none."""
    http_port: int
    grpc_port: int
    metrics_port: int
    restarts: int = 0
    since: str = ""
    """ISO 8601, UTC: when `state` was entered."""
    reason: str = ""
    pid_started: float = 0.0
    """Epoch seconds of tritonserver's start: with the pid it names one process for good."""
    launch: str = ""
    """Digest of the way Triton was started; a worker adopts only a Triton that it would have started alike."""


def write(path: Path, state: InstanceState) -> None:
    """Replaces the file whole: a reader sees the old state or the new one, never a half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(asdict(state), indent=1) + "\n", encoding="utf-8")
    fresh.replace(path)


def read(path: Path) -> InstanceState | None:
    """The last state written, or None where there is none that can be read."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        known = {name: fields[name] for name in InstanceState.__slots__ if name in fields}
        return InstanceState(**{**known, "state": WorkerPhase(fields["state"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
