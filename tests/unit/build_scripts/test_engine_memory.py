"""Estimates against figures that others published."""

from __future__ import annotations

import pytest

from build_scripts.architecture import Architecture
from build_scripts.cards import GIB, card
from build_scripts.memory import estimate, weight_bytes
from build_scripts.spec import load, model_named

# `metadata.total_size` of model.safetensors.index.json in each repository at the revision that models/ names.
SAFETENSORS_BYTES = {
    "llama-3.1-8b-instruct": 16_060_522_496,  # 8.03 billion parameters, as the model card says
    "qwen2.5-7b-instruct": 15_231_233_024,  # 7.61 billion
    "mixtral-8x7b-instruct": 93_405_585_408,  # 46.7 billion
}


def architecture(name: str) -> Architecture:
    return Architecture.model_validate(model_named(name)["architecture"])


@pytest.mark.parametrize("name", SAFETENSORS_BYTES)
def test_bf16_weights_are_those_that_the_hub_serves(name: str) -> None:
    assert weight_bytes(architecture(name), "none", 128) == SAFETENSORS_BYTES[name]


def test_parameters_of_the_model_cards() -> None:
    billions = {name: round(architecture(name).parameters / 1e9, 2) for name in SAFETENSORS_BYTES}
    # https://huggingface.co/Qwen/Qwen2.5-7B-Instruct says 7.61B; Mistral's release says 46.7B.
    assert billions == {"llama-3.1-8b-instruct": 8.03, "qwen2.5-7b-instruct": 7.62, "mixtral-8x7b-instruct": 46.7}
    # https://huggingface.co/Qwen/Qwen2.5-14B-Instruct: 14.7B, of which 13.1B are no embeddings.
    large = architecture("qwen2.5-14b-instruct")
    assert round(large.parameters / 1e9, 1) == 14.8
    without = large.parameters - large.embedding_parameters - large.head_parameters
    assert round(without / 1e9, 1) == pytest.approx(13.1, abs=0.15)


@pytest.mark.parametrize(("tokens", "gib"), [(1024, 0.125), (16_000, 1.95), (128_000, 15.62)])
def test_llama_31_kv_cache_as_in_the_hugging_face_blog(tokens: int, gib: float) -> None:
    # https://huggingface.co/blog/llama31#inference-memory-requirements, row 8B
    per_token = architecture("llama-3.1-8b-instruct").kv_bytes_per_token(2)
    assert per_token == 131_072
    assert tokens * per_token / GIB == pytest.approx(gib, abs=0.006)


LLAMA_2_7B = Architecture(
    family="llama", layers=32, hidden=4096, intermediate=11008, heads=32, kv_heads=32, head_dim=128, vocab=32000,
    max_position_embeddings=4096,
)  # fmt: skip


def test_an_fp8_engine_as_in_tensorrt_llms_own_log() -> None:
    # docs/source/reference/memory.md: "Loaded engine size: 6695 MiB", "Allocated 63.44 GiB for max tokens in paged KV
    # cache (259840)". The page does not name the model; 262,144 bytes a token are 32 layers of 32 heads in 8 bits.
    assert weight_bytes(LLAMA_2_7B, "fp8", 128) / 2**20 == pytest.approx(6695, rel=0.01)
    per_token = LLAMA_2_7B.kv_bytes_per_token(1)
    assert 259_840 * per_token / GIB == pytest.approx(63.44, abs=0.005)


def test_an_awq_checkpoint_is_about_as_large_as_qwens_own() -> None:
    # Qwen/Qwen2.5-7B-Instruct-AWQ has 5.57 GB on the hub; TensorRT-LLM widens its 4-bit zero points to 16 bits.
    assert weight_bytes(architecture("qwen2.5-7b-instruct-awq"), "autoawq", 128) / 1e9 == pytest.approx(5.57, rel=0.02)


def test_each_gpu_holds_its_share_and_the_whole_embedding() -> None:
    arch = architecture("mixtral-8x7b-instruct")
    half = weight_bytes(arch, "none", 128, tp=2)
    assert 2 * half - weight_bytes(arch, "none", 128) == 2 * (arch.embedding_parameters + arch.small_parameters)
    assert arch.kv_bytes_per_token(2, tp=2) == arch.kv_bytes_per_token(2) // 2
    # 16 GPUs for 8 KV heads: each keeps one.
    assert arch.kv_bytes_per_token(2, tp=16) == arch.kv_bytes_per_token(2) // 8


def test_what_is_left_for_the_cache_is_a_fraction_of_what_is_free() -> None:
    spec = load("llama-3.1-8b-instruct-fp8-h100")
    figures = estimate(spec)
    free = card("H100").memory_bytes - figures.weights - figures.activations - figures.runtime - figures.reserved
    assert figures.kv_available == int(free * 0.85)
    assert figures.kv_needed == 65_536 * 10_240 * spec.serving.concurrency
    assert figures.fits
    assert figures.kv_tokens * figures.kv_per_token <= figures.kv_available
