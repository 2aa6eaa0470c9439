"""The model of TensorRT-LLM's LLM API: its options, how it is loaded."""

from dataclasses import dataclass
from typing import Any

from llm_engine.parameters import BadParameter

GUIDED_BACKENDS = ("", "xgrammar", "llguidance")


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmApiOptions:
    """The engine's settings. Lengths in tokens; names are those of the other flavours and of TensorRT-LLM's backend."""

    model_dir: str = ""
    """A Hugging Face folder: config.json, weights, generation_config.json."""
    slots: int = 64
    max_context: int = 10240
    max_num_tokens: int = 8192
    max_queue_size: int = 128
    tensor_parallel_size: int = 1
    kv_cache_free_gpu_mem_fraction: float = 0.85
    kv_cache_host_memory_bytes: int = 0
    enable_kv_cache_reuse: bool = True
    enable_chunked_context: bool = True
    sampler_type: str = "TRTLLMSampler"
    """The one of TensorRT-LLM's samplers that knows penalties and min_tokens."""
    guided_decoding_backend: str = ""
    """`xgrammar` or `llguidance`; empty: none, and TensorRT-LLM would ignore guides without a word, so they are refused. It reads
    the tokenizer in model_dir."""
    start_deadline_s: float = 120.0
    """For the first answer, once the weights are loaded."""


def load_model(options: LlmApiOptions) -> tuple[Any, Any, Any]:
    """(the LLM, its SamplingParams, its GuidedDecodingParams)"""
    if options.guided_decoding_backend not in GUIDED_BACKENDS:
        raise BadParameter(
            f"llm: guided_decoding_backend {options.guided_decoding_backend!r}; there are xgrammar and llguidance"
        )
    try:
        from tensorrt_llm import LLM, SamplingParams
        from tensorrt_llm.llmapi import GuidedDecodingParams, KvCacheConfig
    except ImportError as error:
        raise BadParameter(
            f"llm: the flavour llmapi needs the package tensorrt-llm ({error}): run it in the container that has it"
        ) from error
    llm = LLM(
        model=options.model_dir,
        # Ids in, ids out; but a backend for guides reads what they spell.
        skip_tokenizer_init=not options.guided_decoding_backend,
        guided_decoding_backend=options.guided_decoding_backend or None,
        tensor_parallel_size=options.tensor_parallel_size,
        max_batch_size=options.slots,
        max_seq_len=options.max_context,
        max_num_tokens=options.max_num_tokens,
        enable_chunked_prefill=options.enable_chunked_context,
        enable_iter_perf_stats=True,
        sampler_type=options.sampler_type,
        kv_cache_config=KvCacheConfig(
            enable_block_reuse=options.enable_kv_cache_reuse,
            free_gpu_memory_fraction=options.kv_cache_free_gpu_mem_fraction,
            host_cache_size=options.kv_cache_host_memory_bytes or None,
        ),
    )
    return llm, SamplingParams, GuidedDecodingParams
