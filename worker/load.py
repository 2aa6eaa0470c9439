"""An instance's load: read from Triton's metrics, told in words that change only when they mean something new."""

import math
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

REQUESTS = "nv_trt_llm_request_metrics"
BLOCKS = "nv_trt_llm_kv_cache_block_metrics"
MEMORY = "nv_gpu_memory_"


@dataclass(frozen=True, slots=True)
class LoadReport:
    """One scrape. Counts are requests or KV blocks; None where Triton does not export the metric."""

    waiting: int | None = None
    running: int | None = None
    slots: int | None = None
    kv_used: int | None = None
    kv_max: int | None = None
    gpu_memory_used: float | None = None
    """Bytes, summed over this Triton's GPUs."""
    gpu_memory_total: float | None = None

    @property
    def kv_fraction(self) -> float | None:
        """KV blocks in use, 0–1."""
        return self.kv_used / self.kv_max if self.kv_used is not None and self.kv_max else None

    @property
    def gpu_memory_fraction(self) -> float | None:
        """GPU memory in use, 0–1."""
        if self.gpu_memory_used is None or not self.gpu_memory_total:
            return None
        return self.gpu_memory_used / self.gpu_memory_total

    @property
    def idle(self) -> bool:
        """Nothing waits or runs, as far as the metrics tell."""
        return not self.waiting and not self.running


def parse(text: str) -> LoadReport:
    """Reads Triton's Prometheus text. Of some 200 lines a dozen are parsed: the parser takes 5 ms for all."""
    wanted = "".join(f"{line}\n" for line in text.splitlines() if line.startswith((REQUESTS, BLOCKS, MEMORY)))
    requests: dict[str, int] = {}
    blocks: dict[str, int] = {}
    gpu: dict[str, float] = {}
    for sample in (each for family in text_string_to_metric_families(wanted) for each in family.samples):
        if not math.isfinite(sample.value):
            continue
        if sample.name == REQUESTS:
            requests[sample.labels.get("request_type", "")] = int(sample.value)
        elif sample.name == BLOCKS:
            blocks[sample.labels.get("kv_cache_block_type", "")] = int(sample.value)
        else:
            gpu[sample.name] = gpu.get(sample.name, 0.0) + sample.value
    return LoadReport(
        waiting=requests.get("waiting"),
        running=requests.get("active", requests.get("scheduled")),
        slots=requests.get("max"),
        kv_used=blocks.get("used"),
        kv_max=blocks.get("max"),
        gpu_memory_used=gpu.get("nv_gpu_memory_used_bytes"),
        gpu_memory_total=gpu.get("nv_gpu_memory_total_bytes"),
    )


def words(load: LoadReport) -> str:
    """E.g. `queue 1, running 3/8, kv 12%`; `ready` where Triton exports none of it."""
    parts = []
    if load.waiting is not None:
        parts.append(f"queue {load.waiting}")
    if load.running is not None:
        parts.append(f"running {load.running}/{load.slots}" if load.slots else f"running {load.running}")
    if load.kv_fraction is not None:
        parts.append(f"kv {load.kv_fraction:.0%}")
    if load.gpu_memory_fraction is not None:
        parts.append(f"gpu memory {load.gpu_memory_fraction:.0%}")
    return ", ".join(parts) or "ready"


def level(load: LoadReport) -> tuple[int, ...]:
    """A coarse rank of each figure; two loads of the same level mean the same to a reader.

    The queue counts in powers of two, the slots in quarters (none and all apart), memory in tenths.
    """
    running, slots = load.running or 0, load.slots or 0
    quarters = (5 if running >= slots else math.ceil(4 * running / slots)) if slots else running
    return (
        (load.waiting or 0).bit_length(),
        quarters,
        round(10 * (load.kv_fraction or 0.0)),
        round(10 * (load.gpu_memory_fraction or 0.0)),
    )


@dataclass(slots=True)
class SteadyWords:
    """Holds the words while the level stays, and for at least `hold` seconds: each change wakes every gateway's watch."""

    hold: float = 5.0
    _level: tuple[int, ...] | None = None
    _words: str = ""
    _since: float = 0.0

    def update(self, load: LoadReport, now: float) -> str:
        """The words to report at `now` (monotonic seconds)."""
        rank = level(load)
        if self._level is None or (rank != self._level and now - self._since >= self.hold):
            self._level, self._words, self._since = rank, words(load), now
        return self._words
