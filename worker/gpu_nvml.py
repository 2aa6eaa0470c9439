"""NVML, through NVIDIA's own binding (PyPI: nvidia-ml-py, module pynvml). It needs the driver's libnvidia-ml.so.1.

The library is opened at the first call and stays open; what a card or a driver cannot tell is None, not an error.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from worker.gpu import Device, NvmlAbsent, Vitals

SLICE = re.compile(r"MIG (\S+)")
XID_WAIT_MS = 1
"""NVML waits for an event; what has happened already is answered at once."""
MOST_XIDS = 64


class SystemNvml:
    """The NVML of this machine. For one thread at a time."""

    def __init__(self) -> None:
        self._library: Any = None
        self._events: Any = None

    def devices(self) -> Sequence[Device]:
        """See `Nvml`."""
        nvml = self._open()
        try:
            return [
                device
                for index in range(nvml.nvmlDeviceGetCount())
                for device in self._shown(nvml, nvml.nvmlDeviceGetHandleByIndex(index), index)
            ]
        except nvml.NVMLError as error:
            raise NvmlAbsent(f"NVML fails: {error}") from error

    def vitals(self, uuid: str) -> Vitals:
        """See `Nvml`."""
        nvml = self._open()
        try:
            handle = self._whole(nvml, uuid)
            reasons = self._optional(lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(handle)) or 0
            ecc = self._optional(
                lambda: nvml.nvmlDeviceGetTotalEccErrors(
                    handle, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC
                )
            )
            _, _, pending, failed = self._optional(lambda: nvml.nvmlDeviceGetRemappedRows(handle)) or (0, 0, 0, 0)
        except nvml.NVMLError as error:
            return Vitals(lost=str(error))
        return Vitals(
            uncorrected_ecc=ecc,
            remap_pending=bool(pending),
            remap_failed=bool(failed),
            thermal_slowdown=bool(
                reasons & (nvml.nvmlClocksEventReasonSwThermalSlowdown | nvml.nvmlClocksEventReasonHwThermalSlowdown)
            ),
            power_brake=bool(reasons & nvml.nvmlClocksEventReasonHwPowerBrakeSlowdown),
        )

    def xids(self, uuids: Sequence[str]) -> Sequence[int]:
        """See `Nvml`. Empty where the card reports none (GeForce, some virtual GPUs)."""
        nvml = self._open()
        try:
            if self._events is None:
                self._events = nvml.nvmlEventSetCreate()
                for uuid in dict.fromkeys(uuids):
                    handle = self._whole(nvml, uuid)
                    self._optional(
                        lambda handle=handle: nvml.nvmlDeviceRegisterEvents(  # type: ignore[misc]
                            handle, nvml.nvmlEventTypeXidCriticalError, self._events
                        )
                    )
            seen: list[int] = []
            while len(seen) < MOST_XIDS:
                try:
                    event = nvml.nvmlEventSetWait_v2(self._events, XID_WAIT_MS)
                except nvml.NVMLError_Timeout:
                    break
                if event.eventType & nvml.nvmlEventTypeXidCriticalError:
                    seen.append(int(event.eventData))
            return seen
        except nvml.NVMLError:
            return []  # `vitals` says what is wrong with the GPU

    def _open(self) -> Any:
        if self._library is None:
            try:
                import pynvml
            except ImportError as error:
                raise NvmlAbsent(f"the package nvidia-ml-py is not installed ({error})") from error
            try:
                pynvml.nvmlInit()
            except (pynvml.NVMLError, OSError) as error:
                raise NvmlAbsent(f"NVML is absent: {error}") from error
            self._library = pynvml
        return self._library

    def _shown(self, nvml: Any, handle: Any, index: int) -> list[Device]:
        """The GPU, or its slices where it is in MIG mode."""
        major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
        sm = 10 * major + minor
        mode = self._optional(lambda: nvml.nvmlDeviceGetMigMode(handle))
        if not mode or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
            return [self._device(nvml, handle, index, sm)]
        slices = []
        for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
            try:
                slices.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number))
            except nvml.NVMLError_NotFound:  # a place that no slice was made in
                continue
        return [self._device(nvml, part, index, sm) for part in slices]

    @staticmethod
    def _device(nvml: Any, handle: Any, index: int, sm: int) -> Device:
        name = str(nvml.nvmlDeviceGetName(handle))
        profile = SLICE.search(name)
        return Device(
            uuid=str(nvml.nvmlDeviceGetUUID(handle)),
            index=index,
            name=name,
            memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
            sm=sm,
            mig=profile[1] if profile else "",
        )

    @staticmethod
    def _whole(nvml: Any, uuid: str) -> Any:
        """The handle of the GPU itself: a slice has no clocks and no ECC counters of its own."""
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
        return nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle) if uuid.startswith("MIG-") else handle

    def _optional(self, ask: Callable[[], Any]) -> Any:
        """The answer, or None where this card or driver has none."""
        unsupported = (self._library.NVMLError_NotSupported, self._library.NVMLError_FunctionNotFound)
        try:
            return ask()
        except unsupported:
            return None
