"""What the fleet looks like now: state files, live processes and the gateway's own view, merged into one picture."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

from ragfleet import fleet_spec, processes, supervisor
from ragfleet.fleet_spec import FleetSpec
from ragfleet.loopback import get_json
from ragfleet.paths import Home
from worker import state
from worker.state import InstanceState, WorkerPhase

UNKNOWN = MappingProxyType({"state": "unknown", "reason": "the gateway has not seen it yet"})


@dataclass(frozen=True, slots=True)
class InstanceStatus:
    """One Triton and its worker. `pid` is tritonserver's; 0 stands for no process."""

    name: str
    state: str
    """The worker's phase, or lost (worker and Triton dead), unwatched (worker dead), isolated (the gateway avoids it)."""
    reason: str
    pid: int
    worker_pid: int
    http_port: int
    grpc_port: int
    metrics_port: int
    restarts: int = 0
    streams: int = 0
    """Answers that the gateway has running there."""
    version: str = ""
    """What runs there, as its worker registered it; empty before the gateway knows it."""
    slots: int = 0
    tokens: int = 0
    """Answer tokens that it gave to the gateway since it joined."""
    load: Any = None
    """The gateway's last scrape of it: waiting, active, kv_used_blocks, …; None before the first."""


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """One gateway; `pid` is 0 where it does not run."""

    name: str
    url: str
    pid: int


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """The answer of `ragfleet status --json`."""

    running: bool
    ready: bool
    """Every instance is ready, and so is every gateway."""
    gateway_url: str
    """The first one's."""
    api_key: str
    consul_url: str
    milvus_uri: str
    flavour: str
    home: str
    instances: list[InstanceStatus] = field(default_factory=list)
    parts: list[dict[str, Any]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    """Why it is not ready."""
    waits: list[str] = field(default_factory=list)
    """What the ingestion waits for; answers go on."""
    admin_key_file: str = ""
    """Holds the key for the gateway's /admin."""
    gateways: list[GatewayStatus] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Plain values, as docs/contracts.md names them."""
        return asdict(self)


def merge(
    file: InstanceState, *, worker_alive: bool, triton_alive: bool, seen: Mapping[str, Any] | None
) -> tuple[str, str]:
    """The state of an instance and the reason for it, the least trusting source first.

    `seen` is the gateway's entry for it, None where the gateway does not answer or does not know it.
    """
    if file.state is WorkerPhase.STOPPED:
        return "stopped", file.reason
    if not worker_alive:
        if triton_alive:
            return "unwatched", "its worker died; the supervisor starts another"
        return "lost", "its worker and its Triton are dead"
    if not triton_alive and file.state in {WorkerPhase.READY, WorkerPhase.HUNG}:
        return WorkerPhase.RESTARTING.value, "Triton is dead; the worker starts another"
    if (
        file.state is WorkerPhase.READY
        and seen is not None
        and seen.get("state") not in {None, "ready", "healthy", "serving"}
    ):
        return "isolated", str(seen.get("reason") or seen["state"])
    return file.state.value, file.reason


def gather(home: Home) -> FleetStatus:
    """Reads everything; takes at most a few seconds, also where a gateway hangs."""
    wanted = fleet_spec.read(home.plan_file) or FleetSpec()
    alive = supervisor.running(home) != 0
    seen, ready, reasons, waits = _ask_gateways(wanted) if alive else (None, True, [], [])
    parts = read_parts(home) if alive else []
    instances = _instances(home, wanted, seen) if alive or any(processes.members(home.root)) else []
    not_ready = [f"{entry.name}: {entry.state} {entry.reason}".strip() for entry in instances if entry.state != "ready"]
    return FleetStatus(
        running=alive,
        ready=alive and ready and not not_ready and len(instances) == wanted.instances,
        gateway_url=wanted.gateway_url,
        api_key=wanted.api_key,
        admin_key_file=str(home.admin_key),
        consul_url=wanted.consul_url,
        milvus_uri=wanted.milvus,
        flavour=wanted.flavour or "default",
        home=str(home.root),
        instances=instances,
        gateways=_gateways(wanted, parts),
        parts=parts,
        reasons=not_ready + reasons,
        waits=waits,
    )


def read_parts(home: Home) -> list[dict[str, Any]]:
    """What the supervisor wrote of each part; empty before it did."""
    try:
        found = json.loads(home.parts_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return found if isinstance(found, list) else []


def _instances(home: Home, wanted: FleetSpec, seen: Mapping[str, Mapping[str, Any]] | None) -> list[InstanceStatus]:
    names = dict.fromkeys([*wanted.names, *sorted(path.stem for path in home.run.glob("triton-*.json"))])
    found = []
    for index, name in enumerate(names):
        file, known = state.read(home.instance_file(name)), (seen or {}).get(name, {})
        if file is None:
            file = InstanceState(name, WorkerPhase.STARTING, 0, 0, *wanted.ports.triton(index), reason="no worker yet")
            condition, reason = file.state.value, file.reason
        else:
            condition, reason = merge(
                file,
                worker_alive=processes.alive(file.worker_pid),
                triton_alive=processes.alive(file.pid),
                seen=None if seen is None else seen.get(name, UNKNOWN),
            )
        found.append(
            InstanceStatus(
                name=name,
                state=condition,
                reason=reason,
                pid=file.pid if processes.alive(file.pid) else 0,
                worker_pid=file.worker_pid if processes.alive(file.worker_pid) else 0,
                http_port=file.http_port,
                grpc_port=file.grpc_port,
                metrics_port=file.metrics_port,
                restarts=file.restarts,
                streams=int(known.get("streams", 0)),
                version=str(known.get("version", "")),
                slots=int(known.get("slots", 0)),
                tokens=int(known.get("tokens", 0)),
                load=known.get("load"),
            )
        )
    return found


def _gateways(wanted: FleetSpec, parts: Sequence[Mapping[str, Any]]) -> list[GatewayStatus]:
    pids = {str(part["name"]): int(part["pid"]) for part in parts}
    return [
        GatewayStatus(name, url, pid if processes.alive(pid := pids.get(name, 0)) else 0)
        for name, url in wanted.gateway_urls.items()
    ]


def _ask_gateways(wanted: FleetSpec) -> tuple[dict[str, Mapping[str, Any]] | None, bool, list[str], list[str]]:
    """The instances by name (None where no gateway answers), whether all gateways are ready, why not, and what the ingestion
    waits for."""
    answering, reasons = "", []
    for name, url in wanted.gateway_urls.items():
        status, health = get_json(f"{url}/health/ready", wanted.api_key)
        if status == 0 or not isinstance(health, Mapping):
            reasons.append(f"{name}: does not answer")
        elif status != 200:
            reasons.append(f"{name}: {health.get('reason', 'is not ready')}")
        answering = answering or (url if status else "")
    if not answering:
        return None, not wanted.gateway_urls, reasons, []
    _, fleet = get_json(f"{answering}/fleet", wanted.api_key)
    described = fleet if isinstance(fleet, Mapping) else {}
    entries = (entry for entry in described.get("instances", []) if isinstance(entry, Mapping))
    ingestion = described.get("ingestion") or {}
    files = ingestion.get("files_waiting", 0)
    waits = [
        f"{files} files wait: {each['cause']}: {each['message']}" for each in ingestion.get("waits_for", []) if files
    ]
    return {str(entry.get("name")): entry for entry in entries}, not reasons, reasons, waits
