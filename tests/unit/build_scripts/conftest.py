"""Engine folders as trtllm-build leaves them, made small: config.json, rank files, and a manifest."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from build_scripts import manifest
from build_scripts.container import PINNED
from build_scripts.manifest import BuiltOn
from build_scripts.spec import EngineSpec, load

SPEC = "llama-3.1-8b-instruct-fp8-h100"
EngineMaker = Callable[..., Path]


@pytest.fixture
def spec() -> EngineSpec:
    return load(SPEC)


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "tokenizer.json").write_text('{"model": {}}')
    (folder / "tokenizer_config.json").write_text("{}")
    return folder


def config_of(spec: EngineSpec) -> dict[str, Any]:
    """config.json in the form of EngineConfig.to_dict (tensorrt_llm/builder.py), for what `spec` asks."""
    limits = spec.limits
    return {
        "version": PINNED.tensorrt_llm,
        "pretrained_config": {
            "architecture": spec.architecture.name,
            "dtype": spec.dtype,
            "logits_dtype": "float32",
            "num_hidden_layers": spec.architecture.layers,
            "max_position_embeddings": spec.architecture.max_position_embeddings,
            "mapping": {"world_size": spec.world_size, "tp_size": spec.tp, "pp_size": spec.pp, "gpus_per_node": 8},
            "quantization": {
                "quant_algo": spec.quant_algo,
                "kv_cache_quant_algo": spec.kv_quant_algo,
                "group_size": 128,
                "exclude_modules": ["lm_head"],
            },
        },
        "build_config": {
            "max_input_len": limits.max_input_len,
            "max_seq_len": limits.max_seq_len,
            "max_batch_size": limits.max_batch_size,
            "max_beam_width": 1,
            "max_num_tokens": limits.max_num_tokens,
            "kv_cache_type": "PAGED",
            "plugin_config": {
                "dtype": spec.dtype,
                "gemm_plugin": None,
                "remove_input_padding": True,
                "paged_kv_cache": True,
                "tokens_per_block": limits.tokens_per_block,
                "use_paged_context_fmha": True,
            },
        },
    }


def built_on(sm: int = 90, **changes: str) -> BuiltOn:
    facts = {
        "gpu": "NVIDIA H100 80GB HBM3",
        "driver": "590.44.01",
        "tensorrt": PINNED.tensorrt,
        "tensorrt_llm": PINNED.tensorrt_llm,
        "image": PINNED.image,
        "image_digest": "sha256:" + "0" * 64,
    }
    return BuiltOn.model_validate({**facts, "sm": sm, **changes})


@pytest.fixture
def make_engine(tmp_path: Path, model_dir: Path, spec: EngineSpec) -> EngineMaker:
    """Makes an engine's folder; `change` edits its config.json, `by` says who built it (None: no manifest)."""

    def make(
        change: Callable[[dict[str, Any]], object] | None = None,
        by: BuiltOn | None = built_on(),  # noqa: B008 - frozen
        of: EngineSpec | None = None,
    ) -> Path:
        made_of = of or spec
        folder = tmp_path / "engine"
        folder.mkdir()
        config = config_of(made_of)
        if change is not None:
            change(config)
        (folder / "config.json").write_text(json.dumps(config))
        for rank in range(made_of.world_size):
            (folder / f"rank{rank}.engine").write_bytes(b"plan of rank %d" % rank)
        if by is not None:
            now = datetime(2026, 8, 1, tzinfo=UTC)
            manifest.write(folder, manifest.make(folder, model_dir, made_of, by, now))
        return folder

    return make
