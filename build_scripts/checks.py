"""Checks between the steps of a build: they cost a second and save the hour that the next step would waste."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from build_scripts.architecture import Architecture, UnsupportedArchitecture
from build_scripts.spec import EngineSpec


def model_faults(spec: EngineSpec, model_dir: Path) -> Iterator[str]:
    """Where the downloaded config.json and the spec disagree, a sentence each."""
    try:
        found = Architecture.from_model_dir(model_dir)
    except (OSError, ValueError, KeyError, UnsupportedArchitecture) as error:
        yield f"{model_dir / 'config.json'} cannot be read: {error}."
        return
    for field, wanted in spec.architecture:
        actual = getattr(found, field)
        if actual != wanted:
            yield f"the spec says {field} {wanted} and the model has {actual}: correct the spec's model."


def checkpoint_faults(spec: EngineSpec, config: dict[str, Any]) -> Iterator[str]:
    """Where a TensorRT-LLM checkpoint's config.json is not what the spec asked for, a sentence each."""
    quantization, mapping = config.get("quantization") or {}, config.get("mapping") or {}
    wanted = {
        "architecture": (config.get("architecture"), spec.architecture.name),
        "dtype": (config.get("dtype"), spec.dtype),
        "quant_algo": (quantization.get("quant_algo"), spec.quant_algo),
        "kv_cache_quant_algo": (quantization.get("kv_cache_quant_algo"), spec.kv_quant_algo),
        "tp_size": (mapping.get("tp_size", 1), spec.tp),
        "pp_size": (mapping.get("pp_size", 1), spec.pp),
    }
    for field, (actual, expected) in wanted.items():
        if actual != expected:
            yield f"the checkpoint's {field} is {_said(actual)} and the spec asks for {_said(expected)}."


def settle_checkpoint(spec: EngineSpec, checkpoint_dir: Path) -> list[str]:
    """Check a checkpoint; returns the faults. Where nobody asked for a quantized KV cache, one that the exporter put into
    config.json is taken out, as quantize.py itself does for fp8 and nvfp4: the attention kernels could not read it.
    """
    path = checkpoint_dir / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return [f"{path} cannot be read: {error}."]
    quantization = config.get("quantization") or {}
    if spec.kv_quant_algo is None and quantization.get("kv_cache_quant_algo") is not None:
        quantization["kv_cache_quant_algo"] = None
        path.write_text(json.dumps(config, indent=4), encoding="utf-8")
    return list(checkpoint_faults(spec, config))


def _said(value: object) -> str:
    return "none" if value is None else str(value)
