"""Reads the few lines of Triton's `/metrics` that placement wants (docs/contracts.md), and nothing else.

The page has some hundred lines of which about twelve matter, and it is read four times a second from every instance.
So the lines are found with `bytes.find`, and what a line means is remembered by its text up to the value, because
labels never change while a server runs. `Exposition` holds that memory; one serves any number of instances.
Measured by benchmarks in tests/unit/fleet/test_exposition.py's docstring against prometheus_client's parser.
"""

import math
import re
from collections.abc import Iterator

from gateway.fleet.view import Load

_REQUESTS = b"nv_trt_llm_request_metrics"
_BLOCKS = b"nv_trt_llm_kv_cache_block_metrics"

# Family, the label that tells its series apart, and what the Load calls each. Several series for one field (two versions
# of the model, two GPUs) are added up; a block's size and a utilisation are not quantities, of them the largest counts.
_LABELLED: dict[bytes, tuple[bytes, dict[bytes, str]]] = {
    _REQUESTS: (
        b"request_type",
        {b"waiting": "waiting", b"active": "active", b"scheduled": "scheduled", b"max": "slots"},
    ),
    _BLOCKS: (
        b"kv_cache_block_type",
        {b"used": "kv_used_blocks", b"max": "kv_max_blocks", b"tokens_per": "kv_block_tokens"},
    ),
}
_PLAIN: dict[bytes, str] = {
    b"nv_gpu_memory_used_bytes": "gpu_memory_used_bytes",
    b"nv_gpu_memory_total_bytes": "gpu_memory_total_bytes",
    b"nv_gpu_utilization": "gpu_utilization",
}
_LARGEST = frozenset({"kv_block_tokens", "gpu_utilization"})
_WHOLE = frozenset({"waiting", "active", "scheduled", "slots", "kv_used_blocks", "kv_max_blocks", "kv_block_tokens"})
_LABEL = re.compile(rb'([A-Za-z_][A-Za-z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"')
_REMEMBERED = 4096


class Exposition:
    """A parser for one model's metrics; `model` is the value of the `model` label (its name in the repository)."""

    def __init__(self, model: str = "llm") -> None:
        self._model = model.encode()
        self._fields: dict[bytes, str | None] = {}

    def read(self, text: bytes, at: float) -> Load:
        """The load that an exposition text tells; `at` is when it was answered. What is missing or unreadable is None."""
        found: dict[str, float] = {}
        for head, rest in _wanted(text):
            field = self._fields[head] if head in self._fields else self._remember(head)
            value = _number(rest)
            if field is None or value is None:
                continue
            if field not in found:
                found[field] = value
            elif field in _LARGEST:
                found[field] = max(found[field], value)
            else:
                found[field] += value
        whole = {k: int(v) for k, v in found.items() if k in _WHOLE}
        return Load(at=at, **{**found, **whole})  # type: ignore[arg-type]  # the fields' types follow from _WHOLE

    def _remember(self, head: bytes) -> str | None:
        field = self._meaning(head)
        if len(self._fields) < _REMEMBERED:  # a server with ever new labels must not fill the memory
            self._fields[head] = field
        return field

    def _meaning(self, head: bytes) -> str | None:
        name, _, labels = head.partition(b"{")
        name = name.strip()
        if name in _PLAIN:
            return _PLAIN[name]
        if name not in _LABELLED:
            return None
        values = dict(_LABEL.findall(labels))
        if values.get(b"model", self._model) != self._model:
            return None
        label, fields = _LABELLED[name]
        return fields.get(values.get(label, b""))


def _wanted(text: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The lines that may matter, each cut into name with labels and the rest."""
    for prefix in (b"nv_trt_llm_", b"nv_gpu_"):
        start = 0 if text.startswith(prefix) else text.find(b"\n" + prefix) + 1
        while start > 0 or text.startswith(prefix, start):
            end = text.find(b"\n", start)
            line = text[start : end if end >= 0 else len(text)]
            brace = line.rfind(b"}") + 1
            cut = brace or line.find(b" ")
            if cut > 0:
                yield line[:cut], line[cut:]
            if end < 0:
                break
            start = end + 1 if text.startswith(prefix, end + 1) else text.find(b"\n" + prefix, end) + 1


def _number(rest: bytes) -> float | None:
    """The value after the labels; a timestamp may follow it. NaN, infinities and nonsense are None."""
    parts = rest.split(None, 1)
    try:
        value = float(parts[0])
    except (IndexError, ValueError):
        return None
    return value if math.isfinite(value) else None
