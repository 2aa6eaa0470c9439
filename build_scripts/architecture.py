"""The shape of a model: what a config.json of Hugging Face says, and how many parameters that makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Family = Literal["llama", "qwen2", "mixtral"]

# `architectures` in a Hugging Face config.json, and the same name in an engine's config.json.
_FAMILIES: dict[str, Family] = {
    "LlamaForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen2",
    "MixtralForCausalLM": "mixtral",
}


class UnsupportedArchitecture(ValueError):
    """The model is of a kind that these scripts cannot build; the message names those they can."""


class Architecture(BaseModel):
    """A decoder's dimensions. Counts are exact for the three families: see `parameters`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: Family
    layers: int = Field(gt=0)
    hidden: int = Field(gt=0)
    intermediate: int = Field(gt=0)
    heads: int = Field(gt=0)
    kv_heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    vocab: int = Field(gt=0)
    max_position_embeddings: int = Field(gt=0)
    experts: int = Field(default=1, gt=0)
    experts_per_token: int = Field(default=1, gt=0)
    tied_embeddings: bool = False

    @property
    def name(self) -> str:
        """As in `architectures` of config.json."""
        return next(name for name, family in _FAMILIES.items() if family == self.family)

    @property
    def embedding_parameters(self) -> int:
        return self.vocab * self.hidden

    @property
    def head_parameters(self) -> int:
        """The output projection's own weights: none where it shares the embedding's."""
        return 0 if self.tied_embeddings else self.vocab * self.hidden

    @property
    def attention_parameters(self) -> int:
        """Weights of one layer's four projections, without biases."""
        return self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)

    @property
    def mlp_parameters(self) -> int:
        """Weights of one layer's gated MLP, all experts together, without the router."""
        return 3 * self.hidden * self.intermediate * self.experts

    @property
    def small_parameters(self) -> int:
        """What quantization leaves alone: norms, Qwen's QKV biases, the router of a mixture."""
        bias = (self.heads + 2 * self.kv_heads) * self.head_dim if self.family == "qwen2" else 0
        router = self.hidden * self.experts if self.experts > 1 else 0
        return self.layers * (2 * self.hidden + bias + router) + self.hidden

    @property
    def linear_parameters(self) -> int:
        """The weights that quantization shrinks."""
        return self.layers * (self.attention_parameters + self.mlp_parameters)

    @property
    def parameters(self) -> int:
        return self.embedding_parameters + self.head_parameters + self.linear_parameters + self.small_parameters

    def kv_bytes_per_token(self, element_bytes: float, tp: int = 1, pp: int = 1) -> int:
        """Bytes that one token takes in one GPU's KV cache: K and V, each layer, each head of that GPU.

        A GPU keeps at least one KV head, so more GPUs than heads do not shrink it further.
        """
        layers = -(-self.layers // pp)
        heads = -(-self.kv_heads // tp)
        return int(2 * layers * heads * self.head_dim * element_bytes)

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> Architecture:
        """Read a Hugging Face config.json. Raises UnsupportedArchitecture, KeyError for a field that is missing."""
        names = config.get("architectures") or ["?"]
        family = _FAMILIES.get(names[0])
        if family is None:
            raise UnsupportedArchitecture(f"{names[0]} is not supported; supported are {', '.join(_FAMILIES)}")
        heads = int(config["num_attention_heads"])
        return cls(
            family=family,
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            intermediate=config["intermediate_size"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or int(config["hidden_size"]) // heads,
            vocab=config["vocab_size"],
            max_position_embeddings=config["max_position_embeddings"],
            experts=config.get("num_local_experts", 1),
            experts_per_token=config.get("num_experts_per_tok", 1),
            tied_embeddings=config.get("tie_word_embeddings", False),
        )

    @classmethod
    def from_model_dir(cls, model_dir: Path) -> Architecture:
        """The architecture of a downloaded model. Raises as from_hf, and OSError without a config.json."""
        return cls.from_hf(json.loads((model_dir / "config.json").read_text(encoding="utf-8")))
