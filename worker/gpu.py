"""The GPUs of this host as the worker sees them: which there are, which one is ours, and how it is, in words.

Everything here is pure. `gpu_nvml` asks NVIDIA's library, `gpu_fake` stands in for it, `gpu_watch` asks again and again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

MIB = 1 << 20
GIB = 1 << 30
SILENT_AFTER = 30.0
"""Seconds without an answer of NVML from which on it is told; a GPU that falls off the bus can block a call for good."""


class NvmlAbsent(Exception):
    """NVML cannot be asked here; the text says why. A state, not a failure: a Triton without it still serves."""


class UnknownGpu(Exception):
    """The GPU that was asked for is not to be had; the text says which there are and what to do."""


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU, or one MIG slice of one: what CUDA_VISIBLE_DEVICES can name."""

    uuid: str
    """`GPU-…`, or `MIG-…` for a slice."""
    index: int
    """NVML's number of the (whole) GPU: the order of the PCI bus, not CUDA's own."""
    name: str
    memory_bytes: int
    sm: int
    """Compute capability as one number: 90 is 9.0."""
    mig: str = ""
    """The slice's profile, e.g. `1g.10gb`; empty for a whole GPU."""

    def __str__(self) -> str:
        return f"{self.index} {self.name} ({self.memory_bytes / GIB:.0f} GiB) {self.uuid}"


@dataclass(frozen=True, slots=True)
class Vitals:
    """How one GPU is. None: this card or driver does not tell."""

    uncorrected_ecc: int | None = None
    """Memory errors that ECC could not correct, since the driver was loaded."""
    remap_pending: bool = False
    """A faulty row is replaced by a spare one at the next reset."""
    remap_failed: bool = False
    """There is no spare row left."""
    thermal_slowdown: bool = False
    """Clocks are lowered because of heat."""
    power_brake: bool = False
    """Clocks are lowered by the server's power supply."""
    lost: str = ""
    """Why the GPU no longer answers at all; empty while it does."""


@dataclass(frozen=True, slots=True)
class Health:
    """A judgement for Consul. Not `sound`: no work should go there until an operator has looked at it."""

    sound: bool = True
    words: str = ""


class Nvml(Protocol):
    """What is asked of NVIDIA's management library. Calls block; each raises NvmlAbsent where it cannot be asked."""

    def devices(self) -> Sequence[Device]:
        """Every GPU that NVML shows, in its order; a GPU in MIG mode is shown as its slices."""
        ...

    def vitals(self, uuid: str) -> Vitals:
        """How the device is now; of a slice, how its GPU is."""
        ...

    def xids(self, uuids: Sequence[str]) -> Sequence[int]:
        """The Xid errors that the driver reported for these devices since the last call; the first call begins to listen."""
        ...


# What the kernel driver reports as an Xid is, in most cases, the GPU's; these are the application's own (the list that
# NVIDIA/k8s-device-plugin does not count against a GPU, internal/rm/health.go). Triton's exit tells them better.
APPLICATION_XIDS = frozenset({13, 31, 43, 45, 68, 109})
# An error that the GPU has dealt with: work may go on, and the next reset repairs what is left to repair (NVIDIA's "GPU
# memory error management": dynamic page offlining, row remapping).
CONTAINED_XIDS = {63: "a row of memory was remapped", 92: "many correctable ECC errors", 94: "a contained ECC error"}
FATAL_XIDS = {
    48: "an uncorrectable ECC error",
    64: "a row of memory could not be remapped",
    74: "an NVLink error",
    79: "the GPU has fallen off the bus",
    95: "an uncontained ECC error",
    119: "its firmware (GSP) does not answer",
    120: "its firmware (GSP) failed",
    140: "an unrecovered ECC error",
}


def judge(vitals: Vitals, xids: Sequence[int], silence_s: float = 0.0) -> Health:
    """The health of one GPU from its vitals, the Xids seen since the worker started and NVML's silence in seconds.

    Heat never takes an instance out: a slow GPU is better than none, and its queue tells placement how slow it is. Nor does
    a silent NVML: whether Triton still answers is asked of Triton.
    The words change only with the state, for each change of a check's words wakes every gateway.
    """
    faults, notes = [], []
    if silence_s >= SILENT_AFTER:
        notes.append("NVML does not answer")
    if vitals.lost:
        faults.append(f"the GPU is lost: {vitals.lost}")
    if vitals.remap_failed:
        faults.append("faulty memory has no spare row left: replace the card")
    for xid in dict.fromkeys(xids):
        if xid in APPLICATION_XIDS:
            continue
        if xid in CONTAINED_XIDS:
            notes.append(f"Xid {xid}: {CONTAINED_XIDS[xid]}")
        else:
            faults.append(f"Xid {xid}: {FATAL_XIDS.get(xid, 'see NVIDIA’s Xid catalogue')}")
    if vitals.uncorrected_ecc:
        notes.append(f"uncorrectable ECC errors: {vitals.uncorrected_ecc}")
    if vitals.remap_pending:
        notes.append("a row of memory waits for the next reset to be remapped")
    if vitals.thermal_slowdown:
        notes.append("slowed down by heat")
    if vitals.power_brake:
        notes.append("slowed down by the power supply")
    return Health(sound=not faults, words="; ".join([*faults, *notes]))


def visible(devices: Sequence[Device], cuda_visible_devices: str | None) -> list[Device]:
    """Those of `devices` that an inherited CUDA_VISIBLE_DEVICES leaves (None: it is not set), in its order."""
    if cuda_visible_devices is None:
        return list(devices)
    found = []
    for token in filter(None, (part.strip() for part in cuda_visible_devices.split(","))):
        match = _matches(devices, token)
        if not match:
            break  # as CUDA does: what follows an unknown one is not visible either
        found += match
    return found


def choose(devices: Sequence[Device], wanted: str, *, needed: bool) -> tuple[Device, ...]:
    """The devices to pin, empty for none. `wanted` is what --gpu says: empty, `none`, or UUIDs and indices with commas.

    `needed`: the models want a GPU. Raises UnknownGpu.
    """
    if wanted == "none":
        return ()
    if not wanted:
        if len(devices) == 1:
            return (devices[0],)
        if needed and devices:
            raise UnknownGpu(
                f"There are {len(devices)} GPUs here ({_listed(devices)}), and one Triton serves on its own."
                " Name it with --gpu=UUID, or start one worker for each with --all-gpus."
            )
        return ()
    chosen: list[Device] = []
    for token in (part.strip() for part in wanted.split(",")):
        match = _matches(devices, token)
        if len(match) != 1:
            what = "matches several of the GPUs here" if match else "is none of the GPUs here"
            raise UnknownGpu(f"--gpu: '{token}' {what} ({_listed(devices)}). Name one by its UUID or its index.")
        chosen += match
    if len(chosen) > 1 and any(device.mig for device in chosen):
        raise UnknownGpu("--gpu: a MIG slice works alone (CUDA shows a process one slice only). Name one slice.")
    if len(set(chosen)) < len(chosen):
        raise UnknownGpu("--gpu names a GPU twice.")
    return tuple(chosen)


def groups(devices: Sequence[Device], size: int) -> list[tuple[Device, ...]]:
    """The devices for one Triton each, `size` GPUs at a time. Raises UnknownGpu where that leaves a rest or cuts slices."""
    if not devices:
        raise UnknownGpu("NVML shows no GPU here. In a container: start it with --gpus all.")
    if size > 1 and any(device.mig for device in devices):
        raise UnknownGpu(f"--all-gpus={size}: MIG slices work alone. Give 1.")
    if len(devices) % size:
        raise UnknownGpu(f"--all-gpus={size} does not divide the {len(devices)} GPUs here.")
    return [tuple(devices[at : at + size]) for at in range(0, len(devices), size)]


def pin(devices: Sequence[Device]) -> dict[str, str]:
    """The environment that shows a process these devices only; empty where nothing is pinned."""
    if not devices:
        return {}
    return {
        "CUDA_VISIBLE_DEVICES": ",".join(device.uuid for device in devices),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # where something names a GPU by number, it is the number of nvidia-smi
    }


def describe(devices: Sequence[Device]) -> dict[str, str]:
    """What Consul tells of the pinned GPUs (docs/contracts.md); empty where nothing is pinned."""
    if not devices:
        return {}
    first = devices[0]
    told = {
        "gpu": f"{len(devices)} × {first.name}" if len(devices) > 1 else first.name,
        "gpu_uuid": ",".join(device.uuid for device in devices),
        "gpu_memory_bytes": str(sum(device.memory_bytes for device in devices)),
        "sm": f"{first.sm // 10}.{first.sm % 10}",
    }
    return {**told, "mig": first.mig} if first.mig else told


def _matches(devices: Sequence[Device], token: str) -> list[Device]:
    """By UUID, by the beginning of one (as CUDA takes it), or by the index of a whole GPU."""
    if token.isdecimal():
        return [device for device in devices if device.index == int(token)]
    return [device for device in devices if token and device.uuid.startswith(token)]


def _listed(devices: Sequence[Device]) -> str:
    return "; ".join(map(str, devices)) or "there is none"
