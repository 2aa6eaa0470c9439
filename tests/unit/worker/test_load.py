"""Triton's metrics become a load, and a load becomes words that hold still."""

import pytest

from worker.load import LoadReport, SteadyWords, level, parse, words

METRICS = """\
# HELP nv_trt_llm_request_metrics TRT LLM request metrics
# TYPE nv_trt_llm_request_metrics gauge
nv_trt_llm_request_metrics{model="llm",request_type="waiting",version="1"} 1.000000
nv_trt_llm_request_metrics{model="llm",request_type="active",version="1"} 3
nv_trt_llm_request_metrics{model="llm",request_type="scheduled",version="1"} 2
nv_trt_llm_request_metrics{model="llm",request_type="max",version="1"} 8
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max",model="llm",version="1"} 200
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="used",model="llm",version="1"} 24
nv_gpu_memory_used_bytes{gpu_uuid="GPU-1"} 6.0e9
nv_gpu_memory_total_bytes{gpu_uuid="GPU-1"} 8e9
nv_gpu_memory_used_bytes{gpu_uuid="GPU-2"} 2e9
nv_gpu_memory_total_bytes{gpu_uuid="GPU-2"} 8e9
nv_inference_count{model="llm",version="1"} 12
nv_cpu_utilization NaN
"""


def test_reads_triton_metrics() -> None:
    load = parse(METRICS)
    assert load == LoadReport(1, 3, 8, 24, 200, 8e9, 16e9)
    assert load.kv_fraction == pytest.approx(0.12)
    assert not load.idle


def test_words_say_queue_slots_and_memory() -> None:
    assert words(parse(METRICS)) == "queue 1, running 3/8, kv 12%, gpu memory 50%"


def test_a_triton_without_llm_metrics_is_just_ready() -> None:
    load = parse("nv_inference_count 3\n")
    assert words(load) == "ready"
    assert load.idle


def test_not_a_number_is_no_number() -> None:
    assert parse('nv_trt_llm_request_metrics{request_type="waiting"} NaN\n').waiting is None


def test_words_hold_while_nothing_new_is_meant() -> None:
    steady = SteadyWords(hold=5.0)
    first = steady.update(LoadReport(0, 3, 8, 24, 200), 0.0)
    assert steady.update(LoadReport(0, 4, 8, 26, 200), 60.0) == first


def test_words_change_with_the_level_but_not_at_every_beat() -> None:
    steady = SteadyWords(hold=5.0)
    idle = steady.update(LoadReport(0, 0, 8, 0, 200), 0.0)
    assert steady.update(LoadReport(9, 8, 8, 190, 200), 1.0) == idle
    assert steady.update(LoadReport(9, 8, 8, 190, 200), 5.0) == "queue 9, running 8/8, kv 95%"


def test_idle_partly_busy_and_full_are_different_levels() -> None:
    ranks = [level(LoadReport(0, running, 8))[1] for running in (0, 1, 4, 7, 8)]
    assert ranks == sorted(set(ranks))
