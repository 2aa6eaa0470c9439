"""The GPUs that engines are built for: compute capability and the memory that CUDA reports."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

GIB = 1024**3


class UnknownCard(ValueError):
    """No card of that name is in the table; the message lists those that are."""


class Card(BaseModel):
    """One GPU. `sm` is the compute capability as one number (90 is 9.0); `memory_gib` is cudaMemGetInfo's total, which is
    what TensorRT-LLM divides, a little less than nvidia-smi's figure."""

    model_config = ConfigDict(frozen=True)

    name: str
    sm: int
    memory_gib: float
    smi_names: tuple[str, ...]
    """What nvidia-smi's `name` contains for this card."""

    @property
    def memory_bytes(self) -> int:
        return int(self.memory_gib * GIB)

    @property
    def compute_capability(self) -> str:
        return dotted(self.sm)


def dotted(sm: int) -> str:
    """90 → "9.0", as CUDA and TensorRT print it."""
    return f"{sm // 10}.{sm % 10}"


# memory_gib as PyTorch's out-of-memory messages state it ("has a total capacity of … GiB"); H100's is also in
# TensorRT-LLM's docs/source/reference/memory.md ("total: 79.10 GiB").
_CARDS = (
    Card(name="L40S", sm=89, memory_gib=44.52, smi_names=("L40S",)),
    Card(name="A100", sm=80, memory_gib=79.15, smi_names=("A100-SXM4-80GB", "A100 80GB", "A100-PCIE-80GB")),
    Card(name="H100", sm=90, memory_gib=79.10, smi_names=("H100",)),
    Card(name="H200", sm=90, memory_gib=139.80, smi_names=("H200",)),
    Card(name="B200", sm=100, memory_gib=178.35, smi_names=("B200",)),
)


def card_names() -> tuple[str, ...]:
    return tuple(card.name for card in _CARDS)


def card(name: str) -> Card:
    """The card of that name, case ignored. Raises UnknownCard."""
    for known in _CARDS:
        if known.name.lower() == name.lower():
            return known
    raise UnknownCard(f"unknown card {name!r}; known are {', '.join(card_names())}")


def card_from_smi(smi_name: str) -> Card | None:
    """The card that nvidia-smi calls `smi_name` ("NVIDIA H100 80GB HBM3"), or None for one that is not in the table."""
    # H100's name must not be found inside H100 NVL's cousins of another memory size: longest match wins.
    found = [(len(part), known) for known in _CARDS for part in known.smi_names if part in smi_name]
    return max(found, key=lambda pair: pair[0])[1] if found else None
