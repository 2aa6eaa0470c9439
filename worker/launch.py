"""The one way in which this worker starts its Triton here, found out once."""

import logging
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from worker import gpu, preflight, triton
from worker.gpu import Device, Nvml, NvmlAbsent, UnknownGpu
from worker.gpu_nvml import SystemNvml
from worker.log import event
from worker.settings import WorkerSettings

NVIDIA_DEVICE = Path("/dev/nvidiactl")

log = logging.getLogger(__name__)


class NotRunnableError(Exception):
    """Triton cannot run on this machine; the text says what is missing and how to get it."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How Triton is started here, and on which GPUs."""

    argv: Sequence[str]
    environment: dict[str, str]
    nvml: Nvml
    gpus: tuple[Device, ...] = ()

    @property
    def digest(self) -> str:
        """Equal for ways of starting that give the same server."""
        return triton.digest([*self.argv, *(device.uuid for device in self.gpus)])


def prepare(settings: WorkerSettings, nvml: Nvml | None = None) -> Launch:
    """Checks the machine and composes the command line. Raises NotRunnableError. Takes up to a second."""
    nvml = nvml or SystemNvml()
    installation = triton.find()
    problems = preflight.check_server(installation)
    problems += preflight.check_paths(settings.home, settings.model_repository)
    problems += preflight.check_repository(settings.model_repository, settings.flavour)
    if problems or installation is None:
        raise NotRunnableError("\n".join(str(problem) for problem in problems))
    wishes = triton.wishes(settings.model_repository, settings.flavour)
    gpus = find_gpus(settings, nvml, needed=wishes.gpu)
    cores = os.cpu_count() or 1
    environment = triton.environment(settings, installation, settings.environment, cores=cores, gpu=bool(gpus))
    environment |= gpu.pin(gpus)
    argv = triton.arguments(
        settings,
        installation,
        backends=triton.prepare_backends(installation, settings.home),
        flags=triton.known_flags(installation, environment),
        wishes=wishes,
        gpu=bool(gpus) or (settings.gpu != "none" and NVIDIA_DEVICE.exists()),
        cores=cores,
        key=secrets.token_hex(16),
    )
    return Launch(argv, environment, nvml, gpus)


def find_gpus(settings: WorkerSettings, nvml: Nvml, *, needed: bool) -> tuple[Device, ...]:
    """The GPUs to pin. Raises NotRunnableError where the models need one and there is none, or one was named in vain.

    Where a GPU is there and NVML is not, nothing is pinned: Triton takes what CUDA shows, and its health is unknown.
    """
    if settings.gpu == "none":
        return ()
    try:
        found = gpu.choose(gpu.visible(nvml.devices(), settings.visible_gpus), settings.gpu, needed=needed)
    except UnknownGpu as error:
        raise NotRunnableError(str(error)) from error
    except NvmlAbsent as absent:
        if settings.gpu:
            raise NotRunnableError(f"--gpu={settings.gpu} cannot be found: {absent}") from absent
        found, why = (), str(absent)
    else:
        why = "NVML shows none"
    if not found and needed:
        if not NVIDIA_DEVICE.exists():
            raise NotRunnableError(
                f"The flavour '{settings.flavour or 'default'}' of these models needs a GPU and there is none here ({why})."
                " In a container: start it with --gpus all. Without a GPU: start it without --flavour."
            )
        log.warning(event("no gpu is pinned, triton takes what CUDA shows", why=why))
    for device in found:
        log.info(event("pinned", gpu=device.name, uuid=device.uuid, sm=device.sm, mig=device.mig or "no"))
    return found
