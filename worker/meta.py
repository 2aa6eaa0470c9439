"""What Consul tells the gateways of an instance beside its address: constants of the engine, read from Triton itself."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from worker import gpu
from worker.gpu import Device
from worker.load import LoadReport
from worker.settings import WorkerSettings

CONTEXT_PARAMETERS = ("max_context", "max_seq_len", "n_ctx", "max_tokens_in_paged_kv_cache")
"""Where the flavours of `llm` state how many tokens prompt and answer may have together; the first that is a number."""
SLOT_PARAMETERS = ("slots", "max_batch_size", "n_parallel")
ONE_PROMPT_A_SLOT = frozenset({"llamacpp", "torch"})
"""Engines whose prefix cache is what each slot last computed; the others have a pool of blocks."""
DEFAULT_CONTEXT = 2048
DEFAULT_EMBEDDING = "all-MiniLM-L6-v2"


def describe(
    settings: WorkerSettings,
    llm: Mapping[str, Any],
    embedding: Mapping[str, Any],
    load: LoadReport | None,
    *,
    gpus: Sequence[Device] = (),
) -> dict[str, str]:
    """The meta of docs/contracts.md, all strings. `llm` and `embedding` are the models' configs as Triton shows them."""
    slots = (load.slots if load else None) or number(llm, SLOT_PARAMETERS) or int(llm.get("max_batch_size", 0)) or 1
    backend = str(llm.get("backend", ""))
    engine = parameter(llm, "engine") or ("tensorrt_llm" if backend == "tensorrtllm" else backend)
    return {
        "grpc_port": str(settings.grpc_port),
        "metrics_port": str(settings.metrics_port),
        "model": settings.model,
        "engine": engine,
        "flavour": settings.flavour or "default",
        "device": "gpu" if gpus or (load and load.gpu_memory_total) else "cpu",
        "slots": str(slots),
        "max_context": str(number(llm, CONTEXT_PARAMETERS) or DEFAULT_CONTEXT),
        "version": settings.version,
        "embedding_model": Path(parameter(embedding, "model_dir") or settings.embedding_dir).name or DEFAULT_EMBEDDING,
        **({"cached_prompts": str(slots)} if engine in ONE_PROMPT_A_SLOT else {}),
        **({"loras": loras} if (loras := settings.loras or adapters(llm)) else {}),
        **({"tenant_classes": settings.tenant_classes} if settings.tenant_classes else {}),
        **({"tenant_classes": settings.tenants} if settings.tenants else {}),
        **gpu.describe(gpus),
    }


def parameter(config: Mapping[str, Any], name: str) -> str:
    """One of a model's parameters; empty where it has none of that name."""
    entry = config.get("parameters", {}).get(name, {})
    return str(entry.get("string_value", "")) if isinstance(entry, Mapping) else ""


def adapters(llm: Mapping[str, Any]) -> str:
    """Names of the LoRA adapters that the engine is given as `name=file`, with commas."""
    given = filter(None, parameter(llm, "loras").split(","))
    return ",".join(each.partition("=")[0].strip() for each in given)


def number(config: Mapping[str, Any], names: tuple[str, ...]) -> int:
    """The first of these parameters that is a positive number, else 0."""
    values = (parameter(config, name) for name in names)
    return next((int(value) for value in values if value.isdecimal() and int(value) > 0), 0)


def with_parameters(config: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    """`config` with these parameters in place of its own."""
    own = config.get("parameters") or {}
    return {**config, "parameters": {**own, **{name: {"string_value": value} for name, value in values.items()}}}


def overrides(variable: str) -> dict[str, str]:
    """What RAGFLEET_LLM_PARAMS sets, as the model reads it. Raises ValueError where it is no JSON object."""
    if not variable:
        return {}
    values = json.loads(variable)
    if not isinstance(values, dict):
        raise ValueError("RAGFLEET_LLM_PARAMS is not a JSON object")
    return {str(name): str(value) for name, value in values.items()}


def engine_limits(config: Mapping[str, Any]) -> dict[str, str]:
    """The longest sequence of a TensorRT engine, from its own config.json; empty for other engines.

    Raises ValueError where that file is none.
    """
    folder = parameter(config, "gpt_model_path")
    file = Path(folder) / "config.json"
    if not folder or not file.is_file():
        return {}
    build = json.loads(file.read_text(encoding="utf-8")).get("build_config", {})
    return {"max_seq_len": str(build["max_seq_len"])} if "max_seq_len" in build else {}
