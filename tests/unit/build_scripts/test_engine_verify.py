"""A good engine folder has no faults; each damage is found and said in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from build_scripts import manifest, verify
from build_scripts.cards import card
from build_scripts.checks import model_faults, settle_checkpoint
from build_scripts.engine import NotAnEngine
from build_scripts.spec import EngineSpec, load
from tests.unit.build_scripts.conftest import EngineMaker, built_on

Change = Callable[[dict[str, Any]], object]


def test_a_good_engine_has_no_faults(make_engine: EngineMaker) -> None:
    assert list(verify.faults(make_engine(), card=card("H100"))) == []


def test_two_ranks(make_engine: EngineMaker) -> None:
    folder = make_engine(of=load("mixtral-8x7b-instruct-bf16-a100"), by=built_on(80))
    assert list(verify.faults(folder, card=card("A100"))) == []
    (folder / "rank1.engine").unlink()
    assert list(verify.faults(folder, card=card("A100"))) == ["rank1.engine is missing: 2 ranks were built."]


CONFIG_FAULTS: dict[str, tuple[Change, str]] = {
    "another release": (
        lambda c: c.update(version="1.0.0"),
        (
            "config.json is of TensorRT-LLM 1.0.0 and the 26.07 container has 1.2.1: "
            'it would refuse with "Version tag does not match".'
        ),
    ),
    "no paged context attention": (
        lambda c: c["build_config"]["plugin_config"].update(use_paged_context_fmha=False),
        "use_paged_context_fmha is off: KV cache reuse and chunked context would not work.",
    ),
    "padded input": (
        lambda c: c["build_config"]["plugin_config"].update(remove_input_padding=False),
        "remove_input_padding is off: in-flight batching would not work.",
    ),
    "a contiguous cache": (
        lambda c: c["build_config"].update(kv_cache_type="CONTINUOUS"),
        "the KV cache is not paged: in-flight batching would not work.",
    ),
    "no room for an answer": (
        lambda c: c["build_config"].update(max_seq_len=8192),
        "max_input_len 8192 leaves no room for an answer in max_seq_len 8192.",
    ),
    "a mapping that does not add up": (
        lambda c: c["pretrained_config"]["mapping"].update(tp_size=2),
        "tp 2 × pp 1 is not the world size 1.",
    ),
    "other weights": (
        lambda c: c["pretrained_config"].update(architecture="Qwen2ForCausalLM"),
        "architecture is Qwen2ForCausalLM and the spec llama-3.1-8b-instruct-fp8-h100 asks for LlamaForCausalLM.",
    ),
    "another type": (
        lambda c: c["pretrained_config"].update(dtype="float16"),
        "dtype is float16 and the spec llama-3.1-8b-instruct-fp8-h100 asks for bfloat16.",
    ),
    "not quantized": (
        lambda c: c["pretrained_config"].update(quantization={}),
        "quant_algo is none and the spec llama-3.1-8b-instruct-fp8-h100 asks for FP8.",
    ),
    "a smaller batch": (
        lambda c: c["build_config"].update(max_batch_size=8),
        "max_batch_size is 8 and the spec llama-3.1-8b-instruct-fp8-h100 asks for 128.",
    ),
}


@pytest.mark.parametrize("case", CONFIG_FAULTS)
def test_a_configuration_that_is_not_what_was_asked(case: str, make_engine: EngineMaker) -> None:
    change, sentence = CONFIG_FAULTS[case]
    assert sentence in list(verify.faults(make_engine(change), hashes=False))


def test_an_engine_of_another_gpu(make_engine: EngineMaker) -> None:
    folder = make_engine(by=built_on(89, gpu="NVIDIA L40S"))
    assert list(verify.faults(folder, card=card("H100"))) == [
        (
            "built on compute capability 8.9 (NVIDIA L40S) and the H100 has 9.0: it would refuse with "
            '"incompatible device".'
        )
    ]


def test_an_engine_of_another_tensorrt(make_engine: EngineMaker) -> None:
    folder = make_engine(by=built_on(tensorrt="10.13.3.9"))
    assert list(verify.faults(folder)) == [
        "built with TensorRT 10.13.3.9 and the 26.07 container has 10.14.1.48: build it again there."
    ]


def test_nobody_knows_where_it_comes_from(make_engine: EngineMaker) -> None:
    folder = make_engine(by=None)
    assert list(verify.faults(folder)) == [
        "ragfleet-manifest.json is missing: which GPU and which weights made this engine is not known. Build it again."
    ]
    assert list(verify.faults(folder, needs_manifest=False)) == []


def test_files_that_were_damaged_on_the_way(make_engine: EngineMaker) -> None:
    folder = make_engine()
    rank = folder / "rank0.engine"
    whole = rank.read_bytes()

    rank.write_bytes(whole[:-1])
    assert list(verify.faults(folder)) == [
        f"rank0.engine has {len(whole) - 1} bytes and had {len(whole)} when it was built: copy it again."
    ]
    rank.write_bytes(whole[:-1] + b"!")
    changed = "rank0.engine was changed after it was built (its SHA-256 is not the manifest's): copy it again."
    assert list(verify.faults(folder)) == [changed]
    assert list(verify.faults(folder, hashes=False)) == []  # what a quick look cannot see
    rank.write_bytes(b"")
    assert "rank0.engine is empty: the build did not finish." in list(verify.faults(folder))


def test_files_that_do_not_belong(make_engine: EngineMaker) -> None:
    folder = make_engine()
    (folder / "rank1.engine").write_bytes(b"of an older build")
    assert list(verify.faults(folder)) == [
        "rank1.engine belong to another build: config.json names 1 ranks.",
        "rank1.engine is in the folder and not in the manifest.",
    ]


def test_a_manifest_that_cannot_be_read(make_engine: EngineMaker) -> None:
    folder = make_engine()
    (folder / manifest.FILE_NAME).write_text("{}")
    (sentence,) = verify.faults(folder)
    assert "cannot be read" in sentence


def test_weights_that_are_larger_than_the_card(make_engine: EngineMaker) -> None:
    folder = make_engine(by=built_on(89, gpu="NVIDIA L40S"))
    with (folder / "rank0.engine").open("wb") as file:
        file.truncate(50_000_000_000)  # a hole: no disk is used
    found = list(verify.faults(folder, card=card("L40S"), hashes=False))
    assert "a rank's weights take 50.0 GB and the L40S has 47.8 GB." in found


@pytest.mark.parametrize(
    ("text", "message"), [(None, "has no config.json"), ("{", "cannot be read"), ("{}", "version")]
)
def test_a_folder_that_is_no_engine(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(NotAnEngine, match=message):
        list(verify.faults(tmp_path))


def test_the_manifest_names_everything_that_config_json_does_not(make_engine: EngineMaker, spec: EngineSpec) -> None:
    found = manifest.read(make_engine())
    assert found is not None
    assert found.built_on.sm == 90
    assert found.model_revision == spec.model.revision
    assert len(found.tokenizer_sha256) == 64
    assert set(found.files) == {"config.json", "rank0.engine"}
    assert found.spec == spec


CHECKPOINT = """{"architecture": "LlamaForCausalLM", "dtype": "bfloat16", "mapping": {"tp_size": 1, "pp_size": 1},
 "quantization": {"quant_algo": "%s", "kv_cache_quant_algo": %s}}"""


def test_a_checkpoint_that_was_quantized_otherwise(tmp_path: Path, spec: EngineSpec) -> None:
    (tmp_path / "config.json").write_text(CHECKPOINT % ("W4A16_AWQ", '"FP8"'))
    assert settle_checkpoint(spec, tmp_path) == ["the checkpoint's quant_algo is W4A16_AWQ and the spec asks for FP8."]


def test_a_cache_that_nobody_asked_to_quantize(tmp_path: Path) -> None:
    # The exporter marks AWQ checkpoints with an FP8 cache, which paged context attention refuses to read.
    path = tmp_path / "config.json"
    path.write_text(CHECKPOINT % ("W4A16_AWQ", '"FP8"'))
    assert settle_checkpoint(load("llama-3.1-8b-instruct-awq-int4-l40s"), tmp_path) == []
    assert '"kv_cache_quant_algo": null' in path.read_text()


def test_a_checkpoint_that_is_not_there(tmp_path: Path, spec: EngineSpec) -> None:
    (sentence,) = settle_checkpoint(spec, tmp_path)
    assert "cannot be read" in sentence


def test_a_model_that_is_not_the_specs(tmp_path: Path, spec: EngineSpec) -> None:
    (tmp_path / "config.json").write_text(
        '{"architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 40,'
        ' "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072}'
    )
    assert list(model_faults(spec, tmp_path)) == [
        "the spec says layers 32 and the model has 40: correct the spec's model."
    ]
