"""The machine that a figure comes from, and its GPU as the worker sees it."""

import os
import platform
import subprocess
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from worker.gpu import NvmlAbsent
from worker.gpu_nvml import SystemNvml
from worker.gpu_watch import GpuWatch

PACKAGES = ("torch", "transformers", "sentence-transformers", "numpy", "tokenizers", "nvidia-ml-py", "nvidia-pytriton")


def describe() -> dict[str, Any]:
    """Host, GPU, driver, versions, commit; what there is none of is empty."""
    return {
        "cpu_count": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "glibc": " ".join(platform.libc_ver()),
        "gpu": _said("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"),
        "versions": {name: _version(name) for name in PACKAGES},
        "commit": os.environ.get("RAGFLEET_COMMIT") or _said("git", "rev-parse", "--short", "HEAD"),
    }


def has_gpu() -> bool:
    """Whether NVML shows one."""
    try:
        return bool(SystemNvml().devices())
    except NvmlAbsent:
        return False


def health() -> dict[str, Any]:
    """NVML as the worker reads it: the devices, their vitals, the judgement that Consul is told."""
    nvml = SystemNvml()
    devices = nvml.devices()
    watch = GpuWatch(nvml, devices)
    watch.start()
    watch.look()
    judged = watch.health()
    watch.stop()
    return {
        "devices": [str(device) for device in devices],
        "compute capability": [device.sm for device in devices],
        "vitals": [asdict(nvml.vitals(device.uuid)) for device in devices],
        "xids": list(nvml.xids([device.uuid for device in devices])),
        "sound": judged.sound,
        "words": judged.words,
        "ok": judged.sound and bool(devices),
    }


def _said(*command: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=20, check=False, cwd=Path(__file__).parent
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
