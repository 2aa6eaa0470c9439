"""What an engine takes on one card, before it is built: weights, activations, runtime, and the KV cache that is left.

Weights and KV bytes are exact for the dimensions given. Activations are an estimate (they depend on TensorRT's fusions;
memory.md says only that they grow with max_num_tokens), the runtime's share is taken from a published log.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from build_scripts.architecture import Architecture
from build_scripts.cards import GIB
from build_scripts.spec import EngineSpec, KvDtype, Quantization

_DTYPE_BYTES = 2.0  # bfloat16 and float16
_KV_BYTES: dict[KvDtype, float] = {"auto": _DTYPE_BYTES, "fp8": 1.0, "int8": 1.0}
_SCALE_BYTES = 2.0

# From the log in TensorRT-LLM's docs/source/reference/memory.md: of 79.10 GiB, 70.48 were free when the cache was sized;
# 6695 MiB engine, 1134 MiB context, 43 MB and 180 MB buffers leave 0.76 GiB for CUDA's context and the libraries.
CUDA_CONTEXT_BYTES = int(0.76 * GIB)
RUNTIME_BUFFER_BYTES = int(0.25 * GIB)
NCCL_BYTES = int(0.5 * GIB)  # all-reduce buffers and communicators; only where several GPUs work together


def linear_bytes(quantization: Quantization, parameters: int, group_size: int) -> int:
    """Bytes of the linear layers' weights with their scales. `group_size` weights share a scale where there are groups."""
    match quantization:
        case "none":
            per_weight = _DTYPE_BYTES
        case "fp8" | "int8_sq" | "int8_wo":
            per_weight = 1.0
        case "int4_awq" | "w4a8_awq":
            per_weight = 0.5 + _SCALE_BYTES / group_size
        case "autoawq" | "gptq":
            per_weight = 0.5 + 2 * _SCALE_BYTES / group_size  # a zero point beside each scale
        case "int4_wo":
            per_weight = 0.5
        case "nvfp4":
            per_weight = 0.5 + 1.0 / 16  # an FP8 scale for each 16
    return int(parameters * per_weight)


def weight_bytes(
    architecture: Architecture, quantization: Quantization, group_size: int, tp: int = 1, pp: int = 1
) -> int:
    """Bytes of the weights on the fullest of tp·pp GPUs. Embedding, output head, norms and routers keep 16 bits.

    The embedding table lies whole on each GPU of a pipeline's first stage (no --use_parallel_embedding); the head is split.
    """
    linear = linear_bytes(quantization, architecture.linear_parameters, group_size) / (tp * pp)
    small = architecture.small_parameters * _DTYPE_BYTES / pp
    embedding = architecture.embedding_parameters * _DTYPE_BYTES
    head = architecture.head_parameters * _DTYPE_BYTES / tp
    ends = embedding + head if pp == 1 else max(embedding, head)
    return int(linear + small + ends)


def activation_bytes(architecture: Architecture, max_num_tokens: int, max_batch_size: int, tp: int = 1) -> int:
    """An estimate of TensorRT's execution context: the widest moment of one layer for max_num_tokens tokens, and logits."""
    attention = (architecture.heads + 2 * architecture.kv_heads) * architecture.head_dim / tp
    mlp = 2 * architecture.intermediate * architecture.experts_per_token / tp
    per_token = 4 * architecture.hidden + attention + mlp
    logits = 4.0 * max_batch_size * architecture.vocab
    return int(max_num_tokens * per_token * _DTYPE_BYTES + logits)


def quantizing_bytes(architecture: Architecture) -> int:
    """GPU memory that quantize.py wants in all: one and a half times the 16-bit weights.

    Source: examples/models/core/llama/README.md, "A LLaMA 70B model with BF16 is about 140GB … peak … more than 210GB".
    """
    return int(1.5 * architecture.parameters * _DTYPE_BYTES)


class Estimate(BaseModel):
    """Bytes on one card of the group that serves the engine."""

    model_config = ConfigDict(frozen=True)

    card_bytes: int
    weights: int
    activations: int
    runtime: int
    reserved: int
    kv_per_token: int
    kv_available: int
    """What kv_cache_free_gpu_mem_fraction of the rest gives."""
    kv_needed: int
    """For `concurrency` requests of max_seq_len tokens."""
    concurrency: int

    @property
    def kv_tokens(self) -> int:
        return max(0, self.kv_available) // self.kv_per_token

    @property
    def fits(self) -> bool:
        return self.kv_available >= self.kv_needed


def estimate(spec: EngineSpec) -> Estimate:
    """What `spec` takes on each of its cards, the fullest one taken where they differ."""
    arch, limits, serving = spec.architecture, spec.limits, spec.serving
    weights = weight_bytes(arch, spec.quantization, spec.group_size, spec.tp, spec.pp)
    activations = activation_bytes(arch, limits.max_num_tokens, limits.max_batch_size, spec.tp)
    runtime = CUDA_CONTEXT_BYTES + RUNTIME_BUFFER_BYTES + (NCCL_BYTES if spec.world_size > 1 else 0)
    reserved = int(serving.reserved_gib * GIB)
    free = spec.card.memory_bytes - weights - activations - runtime - reserved
    per_token = arch.kv_bytes_per_token(_KV_BYTES[spec.kv_cache_dtype], spec.tp, spec.pp)
    return Estimate(
        card_bytes=spec.card.memory_bytes,
        weights=weights,
        activations=activations,
        runtime=runtime,
        reserved=reserved,
        kv_per_token=per_token,
        kv_available=int(free * serving.kv_cache_free_gpu_mem_fraction),
        kv_needed=per_token * limits.max_seq_len * serving.concurrency,
        concurrency=serving.concurrency,
    )
