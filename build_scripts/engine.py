"""What a built engine says about itself: the config.json that TensorRT-LLM writes beside the rank files.

Format: tensorrt_llm/builder.py (EngineConfig.to_dict) and plugin/plugin.py (PluginConfig).
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class NotAnEngine(ValueError):
    """The folder has no readable engine configuration; the message says what is missing."""


class _Read(BaseModel):
    # Other keys are TensorRT-LLM's own business.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Mapping(_Read):
    tp_size: int = 1
    pp_size: int = 1
    world_size: int = 1


class Quantized(_Read):
    quant_algo: str | None = None
    kv_cache_quant_algo: str | None = None


class Pretrained(_Read):
    architecture: str
    dtype: str
    num_hidden_layers: int = 0
    max_position_embeddings: int | None = None
    mapping: Mapping = Mapping()
    quantization: Quantized = Quantized()


class Plugins(_Read):
    use_paged_context_fmha: bool = False
    remove_input_padding: bool = True
    paged_kv_cache: bool | None = None
    tokens_per_block: int = 32


class Build(_Read):
    max_batch_size: int
    max_input_len: int
    max_seq_len: int
    max_num_tokens: int
    max_beam_width: int = 1
    kv_cache_type: str | None = None
    plugin_config: Plugins = Plugins()


class EngineConfig(_Read):
    version: str
    pretrained_config: Pretrained
    build_config: Build = Field()

    def rank_files(self) -> list[str]:
        return [f"rank{rank}.engine" for rank in range(self.pretrained_config.mapping.world_size)]


def read_config(engine_dir: Path) -> EngineConfig:
    """Raises NotAnEngine."""
    path = engine_dir / "config.json"
    if not path.is_file():
        raise NotAnEngine(f"{engine_dir} has no config.json: it is not an engine's folder")
    try:
        return EngineConfig.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        raise NotAnEngine(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (OSError, ValueError) as error:
        raise NotAnEngine(f"{path} cannot be read: {error}") from None
