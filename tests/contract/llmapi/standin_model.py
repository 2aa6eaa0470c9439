"""What the LLM-API flavour needs beside the stand-in's code: a model's folder, and an `llm` that finds the stand-in."""

from __future__ import annotations

import json
from pathlib import Path

STAND_IN = Path(__file__).parent / "standin"
LLM = Path(__file__).parents[3] / "model_repository" / "llm"
VOCABULARY, POSITIONS = 49152, 4096


def write_model(folder: Path, eos: object = (2, 7)) -> Path:
    """What an engine reads of a Hugging Face folder before it loads the weights."""
    folder.mkdir(exist_ok=True)
    config = {"architectures": ["LlamaForCausalLM"], "vocab_size": VOCABULARY, "max_position_embeddings": POSITIONS}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": eos}))
    return folder


def with_stand_in(root: Path) -> Path:
    """A model repository of our `llm` with the stand-in beside it: a model's folder is where its Python looks first."""
    (root / "llm").mkdir(parents=True)
    for part in [*LLM.iterdir(), STAND_IN / "tensorrt_llm"]:
        (root / "llm" / part.name).symlink_to(part)
    return root
