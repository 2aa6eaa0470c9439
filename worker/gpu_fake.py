"""A stand-in for NVML in tests: GPUs that are what the test says. It keeps the contract of tests/contract/gpu."""

from collections.abc import Sequence

from worker.gpu import Device, NvmlAbsent, Vitals


class FakeNvml:
    """Change `gpus`, `state` and `pending` as you like; `absent` makes every call say so."""

    def __init__(self, *gpus: Device, absent: str = "") -> None:
        self.gpus = list(gpus)
        self.state: dict[str, Vitals] = {}
        self.pending: list[int] = []
        """Xids that the next call reports."""
        self.absent = absent
        self._listening = False

    def devices(self) -> Sequence[Device]:
        """The GPUs."""
        self._check()
        return list(self.gpus)

    def vitals(self, uuid: str) -> Vitals:
        """As set, else healthy; a GPU that was taken out of `gpus` is lost."""
        self._check()
        if all(device.uuid != uuid for device in self.gpus):
            return Vitals(lost="Not Found")
        return self.state.get(uuid, Vitals(uncorrected_ecc=0))

    def xids(self, uuids: Sequence[str]) -> Sequence[int]:
        """What came since the last call; the driver tells nobody of what was before the first."""
        self._check()
        told, self.pending = self.pending if self._listening else [], []
        self._listening = True
        return told

    def _check(self) -> None:
        if self.absent:
            raise NvmlAbsent(self.absent)
