"""Specs: the shipped ones stand, and each impossible combination is refused with its sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from build_scripts.architecture import Architecture, UnsupportedArchitecture
from build_scripts.cards import UnknownCard, card, card_from_smi
from build_scripts.spec import SpecError, load, model_named, parse, spec_names
from build_scripts.validation import refusals
from tests.unit.build_scripts.trial_spec import spec_with


def sentences(text: str) -> list[str]:
    return list(refusals(parse(text, "trial")))


@pytest.mark.parametrize("name", spec_names())
def test_a_shipped_spec_stands_and_is_named_after_what_it_is(name: str) -> None:
    spec = load(name)
    assert list(refusals(spec)) == []
    quantized = {"none": "bf16", "fp8": "fp8", "int4_awq": "awq-int4", "autoawq": "awq-int4"}[spec.quantization]
    assert name.endswith(f"-{quantized}-{spec.node.card.lower()}")


def test_the_shipped_specs_cover_models_formats_and_cards() -> None:
    specs = [load(name) for name in spec_names()]
    assert {s.architecture.family for s in specs} == {"llama", "qwen2", "mixtral"}
    assert {s.node.card for s in specs} == {"L40S", "A100", "H100", "H200"}
    assert {"none", "fp8", "int4_awq"} <= {s.quantization for s in specs}


REFUSED: dict[str, tuple[str, str]] = {
    "more ranks than GPUs": (
        spec_with(tp=4, pp=2, node={"gpus": 4}),
        "tp 4 × pp 2 wants 8 GPUs but the node gives 4: lower tp or pp, or raise node.gpus.",
    ),
    "heads that tp does not divide": (
        spec_with("qwen2.5-7b-instruct", tp=8),
        "28 attention heads cannot be divided among tp 8: choose a tp that divides 28.",
    ),
    "KV heads that tp does not divide": (
        spec_with("qwen2.5-14b-instruct", tp=5),
        "8 KV heads and tp 5: one must divide the other.",
    ),
    "layers that pp does not divide": (
        spec_with("qwen2.5-7b-instruct", pp=8),
        "28 layers cannot be divided among pp 8: choose a pp that divides 28.",
    ),
    "FP8 on Ampere": (
        spec_with(quantization="fp8", node={"card": "A100"}),
        "fp8 needs compute capability 8.9 and the A100 has 8.0: use int4_awq or no quantization there.",
    ),
    "NVFP4 on Hopper": (
        spec_with(quantization="nvfp4"),
        "nvfp4 needs compute capability 10.0 and the H100 has 9.0: use int4_awq or no quantization there.",
    ),
    "NVFP4 for Qwen": (
        spec_with("qwen2.5-7b-instruct", quantization="nvfp4", node={"card": "B200"}),
        (
            "TensorRT-LLM's qwen2 does not support nvfp4: it knows autoawq, fp8, gptq, int4_awq, int4_wo, int8_sq, int8_wo, "
            "none, w4a8_awq."
        ),
    ),
    "quantize.py's AWQ for a mixture": (
        spec_with("mixtral-8x7b-instruct", quantization="int4_awq"),
        "TensorRT-LLM's mixtral does not support int4_awq: use autoawq with an AutoAWQ checkpoint.",
    ),
    "weight-only on Blackwell": (
        spec_with(quantization="int4_awq", node={"card": "B200"}),
        "int4_awq engines are not supported on the B200: use fp8 or nvfp4 there.",
    ),
    "an AWQ group without a kernel": (
        spec_with(quantization="int4_awq", group_size=32),
        "group_size 32 has no kernel: int4_awq works in groups of 64 or 128.",
    ),
    "AWQ groups cut by tp": (
        spec_with("qwen2.5-14b-instruct", quantization="int4_awq", tp=8),
        "the MLP's 13824 inputs split by tp 8 are no whole groups of 128: choose another tp or group_size.",
    ),
    "an FP8 cache on Ampere": (
        spec_with(quantization="int8_sq", kv_cache_dtype="fp8", node={"card": "A100"}),
        "an fp8 KV cache needs compute capability 8.9 and the A100 has 8.0.",
    ),
    "an FP8 cache beside AWQ": (
        spec_with(quantization="int4_awq", kv_cache_dtype="fp8"),
        "paged context FMHA reads an fp8 KV cache only with fp8 weights, and these are int4_awq: use kv_cache_dtype auto.",
    ),
    "an INT8 cache": (
        spec_with(quantization="int4_awq", kv_cache_dtype="int8"),
        "paged context FMHA does not work with an int8 KV cache: use kv_cache_dtype auto, or fp8 with fp8 weights.",
    ),
    "a quantized cache without calibration": (
        spec_with(
            kv_cache_dtype="fp8", paged_context_fmha=False, serving={"kv_cache_reuse": False, "chunked_context": False}
        ),
        "a fp8 KV cache needs calibrated scales, which none does not make: use kv_cache_dtype auto.",
    ),
    "reuse without paged context": (
        spec_with(paged_context_fmha=False),
        "KV cache reuse needs paged_context_fmha: enable it, or switch the other off.",
    ),
    "chunked context without paged context": (
        spec_with(paged_context_fmha=False, serving={"kv_cache_reuse": False}),
        "chunked context needs paged_context_fmha: enable it, or switch the other off.",
    ),
    "TensorRT-LLM's own max_input_len": (
        spec_with(limits={"max_input_len": 1024}),
        "max_input_len 1024 is too small for RAG prompts of 4096 tokens.",
    ),
    "no room for an answer": (
        spec_with(limits={"max_input_len": 10240}),
        "max_input_len 10240 leaves no room for an answer in max_seq_len 10240.",
    ),
    "more positions than the model has": (
        spec_with("qwen2.5-7b-instruct", limits={"max_seq_len": 65536}),
        "max_seq_len 65536 is more than the model's 32768 positions.",
    ),
    "prompts that no step can take": (
        spec_with(limits={"max_num_tokens": 4096}, serving={"chunked_context": False}),
        "max_num_tokens 4096 is less than max_input_len 8192: such a prompt could never be scheduled without chunked context.",
    ),
    "fewer tokens than slots": (
        spec_with(limits={"max_num_tokens": 32}),
        "max_num_tokens 32 is less than max_batch_size 64: one token each must fit.",
    ),
    "odd blocks": (
        spec_with(limits={"tokens_per_block": 48}),
        "tokens_per_block 48 is not a power of two.",
    ),
    "quantizing a mixture on one card": (
        spec_with("mixtral-8x7b-instruct", quantization="fp8", node={"gpus": 1}),
        "quantizing takes about 140 GB of GPU memory and 1 × H100 have 85 GB: raise node.gpus.",
    ),
    "weights that do not fit": (
        spec_with("mixtral-8x7b-instruct"),
        (
            "weights (93.4 GB), activations and runtime leave no memory for a KV cache on the H100 (84.9 GB): "
            "raise tp, quantize, or take a larger card."
        ),
    ),
    "a cache that does not fit": (
        spec_with(node={"card": "L40S"}, serving={"concurrency": 64}),
        (
            "the KV cache of 64 requests of 10240 tokens takes 85.9 GB and the L40S has 23.9 GB left for it: "
            "lower serving.concurrency or max_seq_len, or raise tp."
        ),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_impossible_combination_is_refused_with_one_sentence(case: str) -> None:
    text, sentence = REFUSED[case]
    assert sentence in sentences(text)


def test_only_the_broken_rule_speaks() -> None:
    assert sentences(spec_with("qwen2.5-7b-instruct", tp=8)) == [REFUSED["heads that tp does not divide"][1]]


def test_gpus_share_heads_when_there_are_more_gpus_than_heads() -> None:
    # 4 KV heads on 28 query heads: tp 4 gives each GPU one; no rule stands against that.
    assert sentences(spec_with("qwen2.5-7b-instruct", tp=4)) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: [", "trial: not YAML"),
        ("- a", "trial: a mapping is expected"),
        (spec_with("gpt-5"), "model 'gpt-5' is not in the catalogue"),
        (spec_with(node={"card": "RTX"}), "unknown card 'RTX'; known are L40S, A100, H100, H200, B200"),
        (spec_with(quantization="fp4"), "trial: quantization: Input should be"),
        (spec_with(limits={"max_batch": 1}), "trial: limits.max_batch: Extra inputs are not permitted"),
        (spec_with(model={**model_named("qwen2.5-7b-instruct"), "revision": "main"}), "trial: model.revision"),
    ],
)
def test_a_spec_of_the_wrong_form_says_which_field(text: str, message: str) -> None:
    with pytest.raises(SpecError) as raised:
        parse(text, "trial")
    assert message in str(raised.value)


def test_a_spec_that_is_nowhere() -> None:
    with pytest.raises(SpecError, match="no shipped spec and no readable file"):
        load("/nowhere/at-all.yaml")


def test_the_architecture_of_a_downloaded_model(tmp_path: Path) -> None:
    # As in https://huggingface.co/Qwen/Qwen2.5-7B-Instruct/blob/main/config.json
    config = {
        "architectures": ["Qwen2ForCausalLM"],
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "max_position_embeddings": 32768,
        "num_attention_heads": 28,
        "num_hidden_layers": 28,
        "num_key_value_heads": 4,
        "tie_word_embeddings": False,
        "vocab_size": 152064,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert Architecture.from_model_dir(tmp_path) == load("qwen2.5-7b-instruct-fp8-h100").architecture
    with pytest.raises(
        UnsupportedArchitecture, match="GPT2LMHeadModel is not supported; supported are LlamaForCausalLM"
    ):
        Architecture.from_hf({**config, "architectures": ["GPT2LMHeadModel"]})


def test_cards_are_found_by_name_and_by_what_nvidia_smi_says() -> None:
    assert card("h200").sm == 90
    assert [
        found.name
        for name in ("NVIDIA L40S", "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB", "NVIDIA H200")
        if (found := card_from_smi(name))
    ] == ["L40S", "H100", "A100", "H200"]
    # 40 GB of memory are another card.
    assert card_from_smi("NVIDIA A100-SXM4-40GB") is None
    with pytest.raises(UnknownCard, match="unknown card 'V100'"):
        card("V100")
