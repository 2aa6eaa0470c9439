"""Every shipped spec plans to the commands in golden/, which were held against the upstream sources by hand.

Sources, all NVIDIA/TensorRT-LLM where nothing else is said:
- examples/models/core/{llama,qwen}/convert_checkpoint.py and examples/quantization/quantize.py (their argparse options),
- examples/models/core/{llama,qwen,mixtral}/README.md (FP8, AWQ and mixture commands; Mixtral uses llama's converter),
- tensorrt_llm/commands/build.py and plugin/plugin.py (trtllm-build's options),
- docs/source/performance/performance-tuning-guide/{useful-build-time-flags,fp8-quantization}.md (multiple profiles always,
  no GEMM plugin for FP8), docs/source/advanced/gpt-attention.md (FP8 paged context FMHA),
- huggingface_hub's guide to its command line (`hf download`).

After a change that is meant: RAGFLEET_WRITE_GOLDEN=1 pytest tests/unit/build_scripts/test_engine_plan.py
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from build_scripts.plan import BuildStep, PlanError, make_plan
from build_scripts.spec import EngineSpec, load, parse, spec_names
from tests.unit.build_scripts.trial_spec import spec_with

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", spec_names())
def test_a_spec_plans_to_its_golden_commands(name: str) -> None:
    text = make_plan(load(name), "/engines").text()
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("RAGFLEET_WRITE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_no_golden_file_is_left_over() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.txt")) == spec_names()


# Options that the tools of 1.2.1 know: what the plans use must be among them.
KNOWN_OPTIONS = {
    "convert_checkpoint.py": {
        "--model_dir", "--output_dir", "--dtype", "--tp_size", "--pp_size", "--moe_tp_size", "--moe_ep_size",
        "--use_weight_only", "--weight_only_precision", "--per_group", "--group_size", "--workers",
    },
    "quantize.py": {
        "--model_dir", "--output_dir", "--dtype", "--qformat", "--awq_block_size", "--kv_cache_dtype", "--calib_dataset",
        "--calib_size", "--calib_max_seq_length", "--tokenizer_max_seq_length", "--tp_size", "--pp_size", "--batch_size",
    },
    "trtllm-build": {
        "--checkpoint_dir", "--output_dir", "--gpt_attention_plugin", "--gemm_plugin", "--remove_input_padding",
        "--kv_cache_type", "--tokens_per_block", "--use_paged_context_fmha", "--use_fp8_context_fmha",
        "--multiple_profiles", "--max_batch_size", "--max_input_len", "--max_seq_len", "--max_num_tokens",
        "--max_beam_width", "--workers", "--input_timing_cache", "--output_timing_cache",
    },
    "hf": {"--revision", "--local-dir", "--exclude"},
    "build_scripts": set[str](),
}  # fmt: skip


def tool(step: BuildStep) -> str:
    words = step.argv[1:] if step.argv[0] == "python3" else step.argv
    return "build_scripts" if words[0] == "-m" else Path(words[0]).name


@pytest.mark.parametrize("name", spec_names())
def test_only_documented_options_are_used(name: str) -> None:
    for step in make_plan(load(name), "/engines").steps:
        assert {word for word in step.argv if word.startswith("--")} <= KNOWN_OPTIONS[tool(step)]


def test_the_text_is_a_script_with_the_very_commands() -> None:
    plan = make_plan(load("mixtral-8x7b-instruct-fp8-h100"), "/engines")
    script = "\n".join(line for line in plan.text().splitlines() if not line.startswith("#"))
    words = shlex.split(script.replace("\\\n", " "))
    assert words == ["mkdir", "-p", "/engines/timing", *(word for step in plan.steps for word in step.argv)]


def changed(spec: EngineSpec, **limits: int) -> EngineSpec:
    return spec.model_copy(update={"limits": spec.limits.model_copy(update=limits)})


def test_a_larger_batch_builds_again_and_quantizes_not() -> None:
    spec = load("llama-3.1-8b-instruct-fp8-h100")
    before, after = make_plan(spec, "/engines"), make_plan(changed(spec, max_batch_size=64), "/engines")
    same = [a.fingerprint == b.fingerprint for a, b in zip(before.steps, after.steps, strict=True)]
    assert same == [True, True, True, True, False]


def test_other_weights_make_everything_again() -> None:
    spec = load("llama-3.1-8b-instruct-fp8-h100")
    other = spec.model_copy(update={"model": spec.model.model_copy(update={"revision": "0" * 40})})
    before, after = make_plan(spec, "/engines"), make_plan(other, "/engines")
    assert not any(a.fingerprint == b.fingerprint for a, b in zip(before.steps, after.steps, strict=True))


def test_formats_that_no_shipped_spec_uses() -> None:
    gptq = make_plan(parse(spec_with("qwen2.5-7b-instruct", quantization="gptq"), "t"), "/engines").steps[2]
    assert "--use_weight_only --weight_only_precision int4_gptq --per_group --group_size 128" in shlex.join(gptq.argv)
    int8 = make_plan(parse(spec_with("mixtral-8x7b-instruct", quantization="int8_wo", tp=2), "t"), "/engines").steps[2]
    assert "--use_weight_only --weight_only_precision int8" in shlex.join(int8.argv)
    assert "/core/llama/convert_checkpoint.py" in int8.argv[1]


def test_a_folder_that_quantize_would_take_for_another_model() -> None:
    with pytest.raises(PlanError, match="'mpt'"):
        make_plan(load("llama-3.1-8b-instruct-fp8-h100"), "/data/prompts")
