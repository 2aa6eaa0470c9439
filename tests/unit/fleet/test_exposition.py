"""Load out of an exposition text, checked against prometheus_client's own parser."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from gateway.fleet.exposition import Exposition
from gateway.fleet.view import LoadSample

PAGE = b"""\
# HELP nv_inference_request_success Number of successful inference requests, all batch sizes
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="llm",version="1"} 17.000000
nv_inference_request_success{model="embedding",version="1"} 3.000000
# HELP nv_gpu_utilization GPU utilization rate [0.0 - 1.0)
# TYPE nv_gpu_utilization gauge
nv_gpu_utilization{gpu_uuid="GPU-1"} 0.870000
nv_gpu_memory_total_bytes{gpu_uuid="GPU-1"} 85520809984.000000
nv_gpu_memory_used_bytes{gpu_uuid="GPU-1"} 8.1e+10
# HELP nv_trt_llm_request_metrics TRT LLM request metrics
# TYPE nv_trt_llm_request_metrics gauge
nv_trt_llm_request_metrics{model="llm",request_type="context",version="1"} 1
nv_trt_llm_request_metrics{model="llm",request_type="scheduled",version="1"} 5
nv_trt_llm_request_metrics{model="llm",request_type="max",version="1"} 8
nv_trt_llm_request_metrics{model="llm",request_type="active",version="1"} 6
nv_trt_llm_request_metrics{model="llm",request_type="waiting",version="1"} 1
# HELP nv_trt_llm_kv_cache_block_metrics TRT LLM KV cache block metrics
# TYPE nv_trt_llm_kv_cache_block_metrics gauge
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="llm",version="1"} 0.25
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="tokens_per",model="llm",version="1"} 32
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="used",model="llm",version="1"} 100
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="free",model="llm",version="1"} 300
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max",model="llm",version="1"} 400
"""


H200 = (Path(__file__).parent / "h200_metrics.txt").read_bytes()
"""What Triton 2.51 said on an NVIDIA H200 while the torch flavour answered six requests in four slots (docs/gpu.md)."""


def read(text: bytes) -> LoadSample:
    return Exposition().read(text, 7.0)


def test_a_whole_page() -> None:
    load = read(PAGE)
    assert load == LoadSample(
        at=7.0,
        waiting=1,
        active=6,
        scheduled=5,
        kv_used_blocks=100,
        kv_max_blocks=400,
        kv_block_tokens=32,
        gpu_memory_used_bytes=8.1e10,
        gpu_memory_total_bytes=85520809984.0,
        gpu_utilization=0.87,
        slots=8,
    )
    assert load.kv_fraction == 0.25
    assert isinstance(load.waiting, int)


@pytest.mark.parametrize("text", [b"", b"\n\n", b"nonsense", b"nv_trt_llm_request_metrics", b"# only a comment\n"])
def test_what_is_missing_is_none(text: bytes) -> None:
    assert read(text) == LoadSample(at=7.0)


@pytest.mark.parametrize(
    "line",
    [
        b'nv_trt_llm_request_metrics{request_type="waiting",model="llm",version="1"} 4',
        b'nv_trt_llm_request_metrics{version="1",model="llm",request_type="waiting"} 4.000000',
        b'nv_trt_llm_request_metrics{model="llm",request_type="waiting"} 4e0 1700000000000',
        b'nv_trt_llm_request_metrics{model="llm",request_type="waiting",} 0.4e+1\n',
        b'nv_trt_llm_request_metrics{ model = "llm", request_type = "waiting" }\t4',
        b'nv_trt_llm_request_metrics{note="a } and \\" and, b=\\"c\\"",request_type="waiting"} 4\r\n',
        b'nv_trt_llm_request_metrics{request_type="waiting"} 4',
    ],
)
def test_ways_to_write_the_same(line: bytes) -> None:
    assert read(b"# TYPE x gauge\n" + line).waiting == 4
    assert read(line).waiting == 4


@pytest.mark.parametrize(
    "line",
    [
        b'nv_trt_llm_request_metrics{model="other",request_type="waiting"} 4',
        b'nv_trt_llm_request_metrics{model="llm",request_type="generation"} 4',
        b'nv_trt_llm_request_metrics_total{model="llm",request_type="waiting"} 4',
        b'my_nv_trt_llm_request_metrics{model="llm",request_type="waiting"} 4',
        b'# nv_trt_llm_request_metrics{model="llm",request_type="waiting"} 4',
        b'nv_trt_llm_request_metrics{model="llm",request_type="waiting"} NaN',
        b'nv_trt_llm_request_metrics{model="llm",request_type="waiting"} +Inf',
        b'nv_trt_llm_request_metrics{model="llm",request_type="waiting"} four',
        b'nv_trt_llm_request_metrics{model="llm",request_type="waiting"}',
    ],
)
def test_lines_that_say_nothing_of_it(line: bytes) -> None:
    assert read(line + b"\n").waiting is None


def test_several_gpus_are_one_instance() -> None:
    load = read(
        b'nv_gpu_memory_used_bytes{gpu_uuid="a"} 10\nnv_gpu_memory_used_bytes{gpu_uuid="b"} 30\n'
        b'nv_gpu_utilization{gpu_uuid="a"} 0.9\nnv_gpu_utilization{gpu_uuid="b"} 0.1\n'
    )
    assert load.gpu_memory_used_bytes == 40
    assert load.gpu_utilization == 0.9


def test_two_versions_of_the_model_add_up() -> None:
    line = b'nv_trt_llm_request_metrics{model="llm",request_type="active",version="%d"} 3\n'
    assert read(line % 1 + line % 2).active == 6


def test_memory_does_not_grow_with_ever_new_labels() -> None:
    exposition = Exposition()
    for n in range(10_000):
        exposition.read(b'nv_gpu_utilization{gpu_uuid="%d"} 1\n' % n, 0.0)
    assert len(exposition._fields) <= 4096


_labels = st.permutations(["model", "request_type", "version"])
_values = st.one_of(st.integers(0, 10**9).map(float), st.floats(0, 1e12), st.just(math.nan), st.just(math.inf))


@given(
    st.lists(
        st.tuples(
            _labels, st.sampled_from(["llm", "x"]), st.sampled_from(["waiting", "active", "max", "odd"]), _values
        ),
        max_size=8,
    ),
    st.sampled_from(["%r", "%f", "%e", "%g"]),
)
def test_it_reads_what_prometheus_client_reads(series: list[tuple[list[str], str, str, float]], written: str) -> None:
    lines = []
    for n, (order, model, kind, value) in enumerate(series):
        labels = {"model": model, "request_type": kind, "version": str(n)}
        inner = ",".join(f'{name}="{labels[name]}"' for name in order)
        lines.append(f"nv_trt_llm_request_metrics{{{inner}}} {written % value}")
    text = "\n".join(["# TYPE nv_trt_llm_request_metrics gauge", *lines, ""])

    expected: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.labels["model"] == "llm" and math.isfinite(sample.value):
                kind = sample.labels["request_type"]
                expected[kind] = expected.get(kind, 0.0) + sample.value

    load = read(text.encode())
    found = {"waiting": load.waiting, "active": load.active, "max": load.slots}
    assert found == {k: int(expected[k]) if k in expected else None for k in found}


def test_the_page_of_a_real_gpu() -> None:
    load = read(H200)
    assert (load.waiting, load.active, load.slots) == (2, 4, 4)
    assert load.gpu_memory_total_bytes == 150754820096
    assert load.gpu_memory_used_bytes == 10928259072
    assert load.gpu_utilization == pytest.approx(0.99)
