"""What is refused before an hour of GPU time is spent: each rule answers with one sentence, or with None.

Sources (NVIDIA/TensorRT-LLM): docs/source/reference/support-matrix.md and precision.md, docs/source/advanced/
gpt-attention.md and kv-cache-reuse.md, examples/models/core/{llama,qwen,mixtral}/README.md, cpp/tensorrt_llm/common/
attentionOp.cpp (paged context FMHA and KV types), tests/unittest/llmapi/test_llm_quant.py (no weight-only on Blackwell).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from build_scripts.architecture import Family
from build_scripts.cards import dotted
from build_scripts.memory import estimate, quantizing_bytes
from build_scripts.spec import EngineSpec, Quantization

_GB = 1e9

_CALIBRATED: frozenset[Quantization] = frozenset({"fp8", "int4_awq", "w4a8_awq", "int8_sq", "nvfp4"})
_GROUPED: frozenset[Quantization] = frozenset({"int4_awq", "w4a8_awq", "autoawq", "gptq"})
_WEIGHT_ONLY: frozenset[Quantization] = frozenset({"int4_awq", "int8_wo", "int4_wo", "autoawq", "gptq"})

# The least compute capability of each format (support-matrix.md, "Precision").
_LEAST_SM: dict[Quantization, int] = {"fp8": 89, "w4a8_awq": 89, "nvfp4": 100}

_SUPPORTED: dict[Family, frozenset[Quantization]] = {
    "llama": frozenset(
        {"none", "fp8", "int4_awq", "w4a8_awq", "int8_sq", "int8_wo", "int4_wo", "nvfp4", "autoawq", "gptq"}
    ),
    # The qwen table lists Qwen2.5 with FP8, WO, AWQ, GPTQ and SQ, and a dash for nvfp4.
    "qwen2": frozenset({"none", "fp8", "int4_awq", "w4a8_awq", "int8_sq", "int8_wo", "int4_wo", "autoawq", "gptq"}),
    # Mixtral's AWQ goes by AutoAWQ's checkpoints only; SmoothQuant and GPTQ do not know experts.
    "mixtral": frozenset({"none", "fp8", "int8_wo", "int4_wo", "nvfp4", "autoawq"}),
}


def _gpus(spec: EngineSpec) -> str | None:
    if spec.world_size <= spec.node.gpus:
        return None
    return (
        f"tp {spec.tp} × pp {spec.pp} wants {spec.world_size} GPUs but the node gives {spec.node.gpus}: "
        "lower tp or pp, or raise node.gpus."
    )


def _heads(spec: EngineSpec) -> str | None:
    heads = spec.architecture.heads
    if heads % spec.tp == 0:
        return None
    return f"{heads} attention heads cannot be divided among tp {spec.tp}: choose a tp that divides {heads}."


def _kv_heads(spec: EngineSpec) -> str | None:
    heads = spec.architecture.kv_heads
    if heads % spec.tp == 0 or spec.tp % heads == 0:
        return None
    return f"{heads} KV heads and tp {spec.tp}: one must divide the other."


def _layers(spec: EngineSpec) -> str | None:
    layers = spec.architecture.layers
    if layers % spec.pp == 0:
        return None
    return f"{layers} layers cannot be divided among pp {spec.pp}: choose a pp that divides {layers}."


def _architecture(spec: EngineSpec) -> str | None:
    family, quantization = spec.architecture.family, spec.quantization
    if quantization in _SUPPORTED[family]:
        return None
    hint = "use autoawq with an AutoAWQ checkpoint" if (family, quantization) == ("mixtral", "int4_awq") else ""
    hint = hint or f"it knows {', '.join(sorted(_SUPPORTED[family]))}"
    return f"TensorRT-LLM's {family} does not support {quantization}: {hint}."


def _least_sm(spec: EngineSpec) -> str | None:
    least = _LEAST_SM.get(spec.quantization, 0)
    if spec.card.sm >= least:
        return None
    return (
        f"{spec.quantization} needs compute capability {dotted(least)} and the {spec.card.name} has "
        f"{spec.card.compute_capability}: use int4_awq or no quantization there."
    )


def _blackwell(spec: EngineSpec) -> str | None:
    if spec.quantization not in _WEIGHT_ONLY or spec.card.sm < 100:
        return None
    return f"{spec.quantization} engines are not supported on the {spec.card.name}: use fp8 or nvfp4 there."


def _group_size(spec: EngineSpec) -> str | None:
    if spec.quantization not in _GROUPED or spec.group_size in {64, 128}:
        return None
    return f"group_size {spec.group_size} has no kernel: {spec.quantization} works in groups of 64 or 128."


def _group_split(spec: EngineSpec) -> str | None:
    if spec.quantization not in _GROUPED:
        return None
    arch = spec.architecture
    for what, width in (("MLP", arch.intermediate), ("attention", arch.heads * arch.head_dim)):
        if width % (spec.tp * spec.group_size):
            return (
                f"the {what}'s {width} inputs split by tp {spec.tp} are no whole groups of {spec.group_size}: "
                "choose another tp or group_size."
            )
    return None


def _kv_sm(spec: EngineSpec) -> str | None:
    if spec.kv_cache_dtype != "fp8" or spec.card.sm >= 89:
        return None
    return f"an fp8 KV cache needs compute capability 8.9 and the {spec.card.name} has {spec.card.compute_capability}."


def _kv_paged(spec: EngineSpec) -> str | None:
    if not spec.paged_context_fmha or spec.kv_cache_dtype == "auto":
        return None
    if spec.kv_cache_dtype == "int8":
        return (
            "paged context FMHA does not work with an int8 KV cache: use kv_cache_dtype auto, or fp8 with fp8 weights."
        )
    if spec.quantization != "fp8":
        return (
            f"paged context FMHA reads an fp8 KV cache only with fp8 weights, and these are {spec.quantization}: "
            "use kv_cache_dtype auto."
        )
    return None


def _kv_converted(spec: EngineSpec) -> str | None:
    if spec.kv_cache_dtype == "auto" or spec.quantization in _CALIBRATED:
        return None
    return (
        f"a {spec.kv_cache_dtype} KV cache needs calibrated scales, which {spec.quantization} does not make: "
        "use kv_cache_dtype auto."
    )


def _reuse(spec: EngineSpec) -> str | None:
    if spec.paged_context_fmha or not (spec.serving.kv_cache_reuse or spec.serving.chunked_context):
        return None
    what = "KV cache reuse" if spec.serving.kv_cache_reuse else "chunked context"
    return f"{what} needs paged_context_fmha: enable it, or switch the other off."


def _rag(spec: EngineSpec) -> str | None:
    wanted, limit = spec.serving.rag_prompt_tokens, spec.limits.max_input_len
    if limit >= wanted:
        return None
    return f"max_input_len {limit} is too small for RAG prompts of {wanted} tokens."


def _answer(spec: EngineSpec) -> str | None:
    if spec.limits.max_input_len < spec.limits.max_seq_len:
        return None
    return f"max_input_len {spec.limits.max_input_len} leaves no room for an answer in max_seq_len {spec.limits.max_seq_len}."


def _positions(spec: EngineSpec) -> str | None:
    limit = spec.architecture.max_position_embeddings
    if spec.limits.max_seq_len <= limit:
        return None
    return f"max_seq_len {spec.limits.max_seq_len} is more than the model's {limit} positions."


def _num_tokens(spec: EngineSpec) -> str | None:
    tokens = spec.limits.max_num_tokens
    if tokens < spec.limits.max_batch_size:
        return f"max_num_tokens {tokens} is less than max_batch_size {spec.limits.max_batch_size}: one token each must fit."
    if not spec.serving.chunked_context and tokens < spec.limits.max_input_len:
        return (
            f"max_num_tokens {tokens} is less than max_input_len {spec.limits.max_input_len}: "
            "such a prompt could never be scheduled without chunked context."
        )
    return None


def _blocks(spec: EngineSpec) -> str | None:
    size = spec.limits.tokens_per_block
    return None if size & (size - 1) == 0 else f"tokens_per_block {size} is not a power of two."


def _quantizing(spec: EngineSpec) -> str | None:
    if spec.quantization not in _CALIBRATED:
        return None
    wanted, given = quantizing_bytes(spec.architecture), spec.node.gpus * spec.card.memory_bytes
    if given >= wanted:
        return None
    return (
        f"quantizing takes about {wanted / _GB:.0f} GB of GPU memory and {spec.node.gpus} × {spec.card.name} have "
        f"{given / _GB:.0f} GB: raise node.gpus."
    )


def _memory(spec: EngineSpec) -> str | None:
    need = estimate(spec)
    if need.fits:
        return None
    if need.kv_available <= 0:
        return (
            f"weights ({need.weights / _GB:.1f} GB), activations and runtime leave no memory for a KV cache on the "
            f"{spec.card.name} ({need.card_bytes / _GB:.1f} GB): raise tp, quantize, or take a larger card."
        )
    return (
        f"the KV cache of {need.concurrency} requests of {spec.limits.max_seq_len} tokens takes "
        f"{need.kv_needed / _GB:.1f} GB and the {spec.card.name} has {need.kv_available / _GB:.1f} GB left for it: "
        "lower serving.concurrency or max_seq_len, or raise tp."
    )


_RULES: tuple[Callable[[EngineSpec], str | None], ...] = (
    _gpus,
    _heads,
    _kv_heads,
    _layers,
    _architecture,
    _least_sm,
    _blackwell,
    _group_size,
    _group_split,
    _kv_sm,
    _kv_paged,
    _kv_converted,
    _reuse,
    _rag,
    _answer,
    _positions,
    _num_tokens,
    _blocks,
    _quantizing,
    _memory,
)


def refusals(spec: EngineSpec) -> Iterator[str]:
    """Why `spec` must not be built: a sentence for each rule that it breaks, in the order of the rules."""
    for rule in _RULES:
        sentence = rule(spec)
        if sentence:
            yield sentence
