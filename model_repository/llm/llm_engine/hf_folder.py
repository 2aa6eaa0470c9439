"""A folder with a Hugging Face model: what of it an engine must know before a request comes."""

import json
from dataclasses import dataclass
from pathlib import Path

from llm_engine.parameters import BadParameter


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What requests are checked against."""

    vocab_size: int
    max_positions: int
    end_ids: tuple[int, ...]
    """Every id that ends an answer when a request names none; TensorRT-LLM is told the first."""

    @classmethod
    def read(cls, folder: Path) -> "ModelFacts":
        """From config.json and generation_config.json. Raises BadParameter."""
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            generation_file = folder / "generation_config.json"
            generation = json.loads(generation_file.read_text(encoding="utf-8")) if generation_file.exists() else {}
            ends = generation.get("eos_token_id", config.get("eos_token_id"))
            facts = cls(
                vocab_size=int(config["vocab_size"]),
                max_positions=int(config["max_position_embeddings"]),
                end_ids=tuple(ends) if isinstance(ends, list) else () if ends is None else (int(ends),),
            )
        except (OSError, ValueError, KeyError) as error:
            raise BadParameter(f"llm: {folder} is no Hugging Face folder that can be served: {error}") from None
        if not facts.end_ids:
            raise BadParameter(f"llm: {folder} names no eos_token_id in generation_config.json or config.json")
        return facts
