"""`llm`'s flavours against NVIDIA's field list, against each other, and as emit-config writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from build_scripts.container import PINNED
from build_scripts.engine import read_config
from build_scripts.spec import Serving
from build_scripts.triton_config import TemplateError, render, settings
from tests.unit.build_scripts.conftest import EngineMaker

LLM = Path(__file__).parents[3] / "model_repository" / "llm"
FLAVOURS = [path for path in (LLM / "config.pbtxt", *sorted((LLM / "configs").glob("*.pbtxt"))) if path.exists()]
TENSORRTLLM = LLM / "configs" / "tensorrtllm.pbtxt"
FIELDS = yaml.safe_load((Path(__file__).parent / "tensorrt_llm_fields.yaml").read_text())

# What the gateway sends and asks for (gateway/triton): each flavour must take it.
GATEWAY_INPUTS = {
    "input_ids", "input_lengths", "request_output_len", "streaming", "stop", "end_id", "stop_words_list", "temperature",
    "runtime_top_k", "runtime_top_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "min_tokens", "seed",
    "return_log_probs", "embedding_bias",
}  # fmt: skip
GATEWAY_OUTPUTS = {"output_ids", "sequence_length"}

# Beyond NVIDIA's list, where it has no word for it (docs/contracts.md).
OURS = {"num_top_log_probs", "top_token_ids", "top_log_probs", "guided_decoding_prefix_length", "cache_salt_id"}

# In NVIDIA's list and not in configs/tensorrtllm.pbtxt, on purpose.
LEFT_OUT = {
    "for encoder-decoder models": {
        "encoder_input_features", "encoder_output_lengths", "decoder_input_ids", "decoder_input_lengths",
        "cross_attention_mask", "skip_cross_attn_blocks",
    },
    "for pictures": {"prompt_embedding_table", "prompt_table_extra_ids", "prompt_vocab_size", "mrope_rotary_cos_sin",
                     "mrope_position_deltas"},
    "for speculation and for disaggregated serving": {
        "draft_input_ids", "draft_logits", "draft_acceptance_threshold", "lookahead_window_size", "lookahead_ngram_size",
        "lookahead_verification_set_size", "context_phase_params",
    },
    "engines are built without the LoRA plugin": {"lora_task_id", "lora_weights", "lora_config"},
    "engines are built without gathering logits": {"return_context_logits", "return_generation_logits"},
    "not offered": {
        "num_return_sequences", "runtime_top_p_decay", "runtime_top_p_reset_ids",
        "beam_search_diversity_rate",
    },
    "the backend reads another name, runtime_top_k_min": {"runtime_top_p_min"},
    "the backend reads INT32 where its own configuration says BOOL": {"early_stopping"},
    "the gateway counts": {"return_num_input_tokens", "return_num_output_tokens"},
}  # fmt: skip


def parsed(path: Path) -> Any:
    return text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())


def tensors(declared: Any) -> dict[str, list[Any]]:
    return {t.name: [model_config_pb2.DataType.Name(t.data_type), list(t.dims)] for t in declared}


@pytest.mark.parametrize("path", FLAVOURS, ids=lambda path: path.stem)
def test_every_tensor_of_a_flavour_is_nvidias(path: Path) -> None:
    config = parsed(path)
    for kind, declared in (("inputs", config.input), ("outputs", config.output)):
        for name, form in tensors(declared).items():
            assert name in OURS or form == FIELDS[kind][name][:2], name
    required = {t.name for t in config.input if not t.optional}
    assert required <= {name for name, field in FIELDS["inputs"].items() if field[2]}


@pytest.mark.parametrize("path", FLAVOURS, ids=lambda path: path.stem)
def test_a_flavour_takes_what_the_gateway_sends(path: Path) -> None:
    config = parsed(path)
    assert set(tensors(config.input)) >= GATEWAY_INPUTS
    assert set(tensors(config.output)) >= GATEWAY_OUTPUTS
    assert config.name in {"", "llm"}
    assert config.model_transaction_policy.decoupled
    assert config.max_batch_size >= 1


def test_flavours_agree_about_every_tensor_that_they_share() -> None:
    ours = tensors(parsed(TENSORRTLLM).input)
    for path in FLAVOURS:
        for name, form in tensors(parsed(path).input).items():
            assert ours.get(name, form) == form, f"{path.name}: {name}"


def test_nothing_of_nvidias_list_is_forgotten() -> None:
    config = parsed(TENSORRTLLM)
    assert set(FIELDS["inputs"]) - set(tensors(config.input)) == set().union(*LEFT_OUT.values())


def test_the_backend_finds_its_parameters() -> None:
    config = parsed(TENSORRTLLM)
    assert config.backend == "tensorrtllm"
    given = {key: value.string_value for key, value in config.parameters.items()}
    assert set(FIELDS["parameters"]["required"]) <= set(given)
    assert set(given) <= {*FIELDS["parameters"]["required"], *FIELDS["parameters"]["known"]}
    assert given["gpt_model_type"] == "inflight_fused_batching"
    assert given["exclude_input_in_output"] == "true"
    assert given["executor_worker_path"] == PINNED.executor_worker
    assert config.dynamic_batching.default_queue_policy.max_queue_size > 0


def test_scalars_have_no_dimension_of_their_own() -> None:
    # The backend wants [batch] for them: dims [1] with an empty reshape, as NVIDIA's configuration has it.
    ragged = {t.name for t in parsed(TENSORRTLLM).input if t.allow_ragged_batch}
    for tensor in parsed(TENSORRTLLM).input:
        if list(tensor.dims) == [1] and tensor.name not in ragged:
            assert tensor.HasField("reshape"), tensor.name
            assert list(tensor.reshape.shape) == [], tensor.name


def test_the_limits_come_from_the_engine(make_engine: EngineMaker) -> None:
    folder = make_engine(lambda c: c["build_config"].update(max_batch_size=48, max_beam_width=1))
    serving = Serving(concurrency=8, kv_cache_free_gpu_mem_fraction=0.6, kv_cache_host_gib=2, chunked_context=False)
    text = render(TENSORRTLLM.read_text(), *settings(read_config(folder), "/engines/mine", serving))
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    given = {key: value.string_value for key, value in config.parameters.items()}
    assert config.max_batch_size == 48
    assert config.dynamic_batching.default_queue_policy.max_queue_size == 96
    assert given["gpt_model_path"] == "/engines/mine"
    assert given["kv_cache_free_gpu_mem_fraction"] == "0.6"
    assert given["kv_cache_host_memory_bytes"] == str(2 * 1024**3)
    assert (given["enable_kv_cache_reuse"], given["enable_chunked_context"]) == ("true", "false")
    # Everything else, comments too, is as it was.
    changed = [a for a, b in zip(TENSORRTLLM.read_text().splitlines(), text.splitlines(), strict=True) if a != b]
    assert len(changed) == 6


def test_an_engine_without_paged_context_switches_off_what_needs_it(make_engine: EngineMaker) -> None:
    folder = make_engine(lambda c: c["build_config"]["plugin_config"].update(use_paged_context_fmha=False))
    _, parameters = settings(read_config(folder), "/engines/mine", Serving(concurrency=1))
    assert parameters["enable_kv_cache_reuse"] == parameters["enable_chunked_context"] == "false"


@pytest.mark.parametrize(
    ("template", "path", "message"),
    [
        ("max_batch_size: 4", "/engines/mine", "max_queue_size must be on one line of the template and is on 0"),
        (None, '/engines/"mine"', "gpt_model_path cannot be"),
    ],
)
def test_a_template_or_a_value_that_cannot_be_set(
    template: str | None, path: str, message: str, make_engine: EngineMaker
) -> None:
    numbers, parameters = settings(read_config(make_engine()), path, Serving(concurrency=1))
    with pytest.raises(TemplateError, match=message):
        render(template or TENSORRTLLM.read_text(), numbers, parameters)
