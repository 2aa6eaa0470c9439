"""Looks after the pinned GPUs from a thread of its own.

NVML's calls block, and one to a GPU that has fallen off the bus may never return. So they are made in a daemon thread: the
heartbeat reads what it saw last, a call that hangs shows as silence, and the worker can always end.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from worker.gpu import Device, Health, Nvml, NvmlAbsent, Vitals, judge

PERIOD = 5.0


@dataclass(slots=True)
class GpuWatch:
    """`health()` is the latest judgement; before the first look, and with nothing pinned, it has no words."""

    nvml: Nvml
    devices: Sequence[Device]
    clock: Callable[[], float] = time.monotonic
    _vitals: list[Vitals] = field(default_factory=list)
    _xids: list[int] = field(default_factory=list)
    _absent: str = ""
    _answered: float | None = None
    _ended: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Begins to look, each PERIOD seconds, until `stop`."""
        self._answered = self.clock()
        if self.devices:
            threading.Thread(target=self._run, name="gpu-watch", daemon=True).start()

    def stop(self) -> None:
        """No further look is begun; one that hangs is left to hang."""
        self._ended.set()

    def look(self) -> None:
        """One look at every pinned GPU. Blocks as long as NVML does."""
        uuids = [device.uuid for device in self.devices]
        try:
            vitals = [self.nvml.vitals(uuid) for uuid in uuids]
            self._xids = list(dict.fromkeys([*self._xids, *self.nvml.xids(uuids)]))
        except NvmlAbsent as absent:
            self._absent = str(absent)
        else:
            self._vitals, self._absent = vitals, ""
        self._answered = self.clock()

    def health(self) -> Health:
        """Of all pinned GPUs together: the words of each that has some, and sound only if all are."""
        if not self.devices or self._answered is None:
            return Health()
        if self._absent:
            return Health(words=f"its health is unknown: {self._absent}")
        silence = self.clock() - self._answered
        found = [judge(vitals, (), silence) for vitals in self._vitals or [Vitals()]]
        found.append(judge(Vitals(), self._xids))
        words = dict.fromkeys(health.words for health in found if health.words)
        return Health(sound=all(health.sound for health in found), words="; ".join(words))

    def _run(self) -> None:
        while not self._ended.is_set():
            self.look()
            self._ended.wait(PERIOD)
