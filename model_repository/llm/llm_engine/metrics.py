"""The load in Triton's metrics, under the names and labels of TensorRT-LLM's backend."""

from typing import Any

from llm_engine.engine import Stats


class Gauges:
    """`nv_trt_llm_request_metrics`, `…_kv_cache_block_metrics`, `…_general_metrics`; told to Triton only where they change."""

    def __init__(self, backend: Any, *, model: str, version: str) -> None:
        """`backend` is the module triton_python_backend_utils."""
        self._families: list[Any] = []
        self._gauges: dict[tuple[str, str], Any] = {}
        self._shown: dict[tuple[str, str], float] = {}
        wanted = {
            "nv_trt_llm_request_metrics": ("request_type", "LLM request metrics", _requests(EMPTY)),
            "nv_trt_llm_kv_cache_block_metrics": ("kv_cache_block_type", "LLM KV cache block metrics", _blocks(EMPTY)),
            "nv_trt_llm_general_metrics": ("general_type", "General LLM metrics", _general(EMPTY)),
        }
        for name, (label, text, values) in wanted.items():
            family = backend.MetricFamily(name=name, description=text, kind=backend.MetricFamily.GAUGE)
            self._families.append(family)  # a family that is collected takes its metrics along
            for kind in values:
                labels = {"model": model, "version": version, label: kind}
                self._gauges[name, kind] = family.Metric(labels=labels)

    def show(self, stats: Stats) -> None:
        """Make the metrics tell `stats`."""
        values = {("nv_trt_llm_request_metrics", kind): value for kind, value in _requests(stats).items()}
        values |= {("nv_trt_llm_kv_cache_block_metrics", kind): value for kind, value in _blocks(stats).items()}
        values |= {("nv_trt_llm_general_metrics", kind): value for kind, value in _general(stats).items()}
        for name, value in values.items():
            if self._shown.get(name) != value:
                self._gauges[name].set(value)
                self._shown[name] = value


EMPTY = Stats(waiting=0, active=0, scheduled=0, context=0, max=0, kv_max=0, kv_used=0, kv_tokens_per=0, kv_reused=0)


def _requests(stats: Stats) -> dict[str, float]:
    return {
        "waiting": stats.waiting,
        "active": stats.active,
        "scheduled": stats.scheduled,
        "context": stats.context,
        "max": stats.max,
    }


def _blocks(stats: Stats) -> dict[str, float]:
    return {
        "max": stats.kv_max,
        "free": stats.kv_free,
        "used": stats.kv_used,
        "tokens_per": stats.kv_tokens_per,
        "reused": stats.kv_reused,
        "fraction": round(stats.kv_used / stats.kv_max, 6) if stats.kv_max else 0.0,
    }


def _general(stats: Stats) -> dict[str, float]:
    return {"iteration_counter": stats.iterations}
