"""A stand-in for the driver's libnvidia-ml.so.1 under NVIDIA's own Python binding.

pynvml calls C functions with pointers to the values that they fill in. These are Python functions that fill them in, so
that the binding and `SystemNvml` run as they do on a GPU. Names, arguments and codes are those of nvml.h.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pynvml
import pytest

SUCCESS, NOT_SUPPORTED, NOT_FOUND, TIMEOUT, GPU_IS_LOST = 0, 3, 6, 10, 15


@dataclass
class Card:
    """One handle: a GPU or a slice. None: the card does not support the question."""

    uuid: bytes
    name: bytes
    memory: int = 85_520_809_984
    capability: tuple[int, int] = (9, 0)
    ecc: int | None = 0
    remapped: tuple[int, int, int, int] | None = (0, 0, 0, 0)
    clocks: int = 0
    mig: tuple[int, int] | None = (0, 0)
    slices: list["Card | None"] = field(default_factory=list)
    parent: "Card | None" = None
    lost: bool = False


class Driver:
    """What pynvml takes for the loaded library: its attributes are the functions that a driver has."""

    def __init__(self, *cards: Card) -> None:
        self.cards = list(cards)
        self.xids: list[int] = []
        self.registered: set[bytes] = set()
        self._handles: dict[int, Card] = {}
        for card in cards:
            for part in card.slices:
                if part:
                    part.parent = card

    def __getattr__(self, name: str) -> Callable[..., int]:
        if name.startswith("nvml") and (function := getattr(type(self), f"_{name}", None)):
            return lambda *arguments: function(self, *arguments)
        raise AttributeError(name)  # pynvml says "Function Not Found" then, as with an older driver

    def _give(self, card: Card | None, pointer: object) -> int:
        if card is None:
            return NOT_FOUND
        self._handles[id(card)] = card
        ctypes.cast(pointer, ctypes.POINTER(ctypes.c_void_p))[0] = id(card)  # type: ignore[call-overload]
        return SUCCESS

    def _card(self, handle: object) -> Card:
        return self._handles[ctypes.cast(handle, ctypes.c_void_p).value or 0]  # type: ignore[arg-type]

    def _all(self) -> list[Card]:
        return [*self.cards, *(part for card in self.cards for part in card.slices if part)]

    def _nvmlInitWithFlags(self, flags: int) -> int:
        return SUCCESS

    def _nvmlDeviceGetCount_v2(self, count: object) -> int:
        _set(count, len(self.cards))
        return SUCCESS

    def _nvmlDeviceGetHandleByIndex_v2(self, index: ctypes.c_uint, handle: object) -> int:
        return self._give(self.cards[index.value], handle)

    def _nvmlDeviceGetHandleByUUID(self, uuid: ctypes.c_char_p, handle: object) -> int:
        return self._give(next((card for card in self._all() if card.uuid == uuid.value), None), handle)

    def _nvmlDeviceGetName(self, handle: object, buffer: ctypes.Array[ctypes.c_char], size: object) -> int:
        buffer.value = self._card(handle).name
        return SUCCESS

    def _nvmlDeviceGetUUID(self, handle: object, buffer: ctypes.Array[ctypes.c_char], size: object) -> int:
        buffer.value = self._card(handle).uuid
        return SUCCESS

    def _nvmlDeviceGetMemoryInfo(self, handle: object, memory: object) -> int:
        memory._obj.total = self._card(handle).memory  # type: ignore[attr-defined]
        return SUCCESS

    def _nvmlDeviceGetCudaComputeCapability(self, handle: object, major: object, minor: object) -> int:
        card = self._card(handle)
        _set(major, card.capability[0])
        _set(minor, card.capability[1])
        return SUCCESS

    def _nvmlDeviceGetMigMode(self, handle: object, current: object, pending: object) -> int:
        if (mode := self._card(handle).mig) is None:
            return NOT_SUPPORTED
        _set(current, mode[0])
        _set(pending, mode[1])
        return SUCCESS

    def _nvmlDeviceGetMaxMigDeviceCount(self, handle: object, count: object) -> int:
        _set(count, len(self._card(handle).slices))
        return SUCCESS

    def _nvmlDeviceGetMigDeviceHandleByIndex(self, handle: object, index: ctypes.c_uint, part: object) -> int:
        return self._give(self._card(handle).slices[index.value], part)

    def _nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, part: object, handle: object) -> int:
        return self._give(self._card(part).parent, handle)

    def _nvmlDeviceGetTotalEccErrors(
        self, handle: object, kind: ctypes.c_uint, counter: ctypes.c_uint, to: object
    ) -> int:
        card = self._card(handle)
        if card.lost:
            return GPU_IS_LOST
        if card.ecc is None:
            return NOT_SUPPORTED
        assert (kind.value, counter.value) == (1, 0), "uncorrected, volatile"
        _set(to, card.ecc)
        return SUCCESS

    def _nvmlDeviceGetCurrentClocksEventReasons(self, handle: object, reasons: object) -> int:
        _set(reasons, self._card(handle).clocks)
        return SUCCESS

    def _nvmlDeviceGetRemappedRows(self, handle: object, *to: object) -> int:
        rows = self._card(handle).remapped
        if rows is None:
            return NOT_SUPPORTED
        for pointer, value in zip(to, rows, strict=True):
            _set(pointer, value)
        return SUCCESS

    def _nvmlEventSetCreate(self, events: object) -> int:
        return SUCCESS

    def _nvmlDeviceRegisterEvents(self, handle: object, kinds: ctypes.c_ulonglong, events: object) -> int:
        self.registered.add(self._card(handle).uuid)
        return SUCCESS

    def _nvmlEventSetWait_v2(self, events: object, data: object, wait: object) -> int:
        if not self.xids:
            return TIMEOUT
        data._obj.eventType, data._obj.eventData = pynvml.nvmlEventTypeXidCriticalError, self.xids.pop(0)  # type: ignore[attr-defined]
        return SUCCESS


def _set(pointer: object, value: int) -> None:
    pointer._obj.value = value  # type: ignore[attr-defined]


@contextmanager
def loaded(driver: object) -> Iterator[None]:
    """pynvml with `driver` as its library, and as it was afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pynvml, "nvmlLib", driver)
        patch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        yield
