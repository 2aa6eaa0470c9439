"""An engine's specification: one small YAML file, typed and checked for form. `refusals` checks it for sense."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from build_scripts.architecture import Architecture
from build_scripts.cards import Card, UnknownCard, card

Dtype = Literal["bfloat16", "float16"]
# "none" keeps the model's own dtype; "autoawq" and "gptq" convert a checkpoint that is quantized already.
Quantization = Literal[
    "none", "fp8", "int4_awq", "w4a8_awq", "int8_sq", "int8_wo", "int4_wo", "nvfp4", "autoawq", "gptq"
]
KvDtype = Literal["auto", "fp8", "int8"]
SchedulerPolicy = Literal["guaranteed_no_evict", "max_utilization"]


class SpecError(ValueError):
    """A spec that cannot be read or is not of the right form; the message says which field and why."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Model(_Strict):
    """Which weights: a Hugging Face repository at one commit, and the dimensions that estimates need."""

    repo: str
    revision: str = Field(pattern=r"^[0-9a-f]{40}$", description="a commit, so that two builds get the same weights")
    exclude: str | None = Field(default=None, description="a pattern of files that nobody needs")
    architecture: Architecture


class Node(_Strict):
    """The machine that builds: its card, and how many of them quantization and building may use."""

    card: str
    gpus: int = Field(default=1, gt=0, le=8)

    @model_validator(mode="after")
    def _known_card(self) -> Self:
        try:
            card(self.card)
        except UnknownCard as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def gpu(self) -> Card:
        return card(self.card)


class Calibration(_Strict):
    """What quantize.py calibrates with. `dataset` is a name it knows or a folder with a train split and a text column;
    a folder of your own RAG prompts gives the best scales."""

    dataset: str = "cnn_dailymail"
    samples: int = Field(default=512, gt=0)
    max_seq_len: int = Field(default=2048, gt=0)


class EngineLimits(_Strict):
    """What the engine can hold. They are fixed when it is built."""

    max_batch_size: int = Field(gt=0)
    max_input_len: int = Field(gt=0)
    max_seq_len: int = Field(gt=0)
    max_num_tokens: int = Field(gt=0)
    tokens_per_block: int = Field(default=32, gt=0)


class Serving(_Strict):
    """What the C++ backend is told at run time, and the load that must fit into memory."""

    concurrency: int = Field(gt=0, description="requests of full length that must fit into the KV cache at once")
    kv_cache_free_gpu_mem_fraction: float = Field(default=0.85, gt=0, lt=1)
    reserved_gib: float = Field(default=1.5, ge=0, description="for the embedder and other processes on the card")
    kv_cache_reuse: bool = True
    chunked_context: bool = True
    kv_cache_host_gib: float = Field(default=0, ge=0)
    scheduler_policy: SchedulerPolicy = "guaranteed_no_evict"
    rag_prompt_tokens: int = Field(default=4096, gt=0, description="the longest prompt that retrieval makes")


class EngineSpec(_Strict):
    """One engine: a model, how its weights are stored, the card, the limits and how it is served."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.\-]*$")
    model: Model
    dtype: Dtype = "bfloat16"
    quantization: Quantization = "none"
    group_size: int = 128
    kv_cache_dtype: KvDtype = "auto"
    tp: int = Field(default=1, gt=0)
    pp: int = Field(default=1, gt=0)
    paged_context_fmha: bool = True
    node: Node
    calibration: Calibration = Calibration()
    limits: EngineLimits
    serving: Serving

    @property
    def architecture(self) -> Architecture:
        return self.model.architecture

    @property
    def card(self) -> Card:
        return self.node.gpu

    @property
    def world_size(self) -> int:
        return self.tp * self.pp

    @property
    def fp8_context_fmha(self) -> bool:
        """FP8 attention over the paged cache: both the weights and the cache must be FP8 (gpt-attention.md)."""
        return self.quantization == "fp8" and self.kv_cache_dtype == "fp8"

    @property
    def quant_algo(self) -> str | None:
        """`quantization.quant_algo` in the checkpoint's and the engine's config.json (tensorrt_llm/quantization/mode.py)."""
        return _QUANT_ALGO[self.quantization]

    @property
    def kv_quant_algo(self) -> str | None:
        return None if self.kv_cache_dtype == "auto" else self.kv_cache_dtype.upper()


_QUANT_ALGO: dict[Quantization, str | None] = {
    "none": None,
    "fp8": "FP8",
    "int4_awq": "W4A16_AWQ",
    "w4a8_awq": "W4A8_AWQ",
    "int8_sq": "W8A8_SQ_PER_CHANNEL",
    "int8_wo": "W8A16",
    "int4_wo": "W4A16",
    "nvfp4": "NVFP4",
    # convert_checkpoint.py loads AutoAWQ's weights with GPTQ's layout, and says so in the checkpoint.
    "autoawq": "W4A16_GPTQ",
    "gptq": "W4A16_GPTQ",
}


def _yaml(text: str, where: str) -> dict[str, Any]:
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SpecError(f"{where}: not YAML: {error}") from None
    if not isinstance(data, dict):
        raise SpecError(f"{where}: a mapping is expected")
    return data


def model_named(name: str) -> dict[str, Any]:
    """The catalogue's entry (build_scripts/models/<name>.yaml). Raises SpecError."""
    folder = resources.files("build_scripts") / "models"
    entry = folder / f"{name}.yaml"
    if not entry.is_file():
        known = sorted(Path(item.name).stem for item in folder.iterdir() if item.name.endswith(".yaml"))
        raise SpecError(
            f"model {name!r} is not in the catalogue ({', '.join(known)}); write its repo and dimensions out"
        )
    return _yaml(entry.read_text(encoding="utf-8"), f"models/{name}.yaml")


def parse(text: str, name: str) -> EngineSpec:
    """A spec from YAML. `model` is a name in the catalogue or a mapping; the spec's name is its file's. Raises SpecError."""
    data = _yaml(text, name)
    if isinstance(data.get("model"), str):
        data["model"] = model_named(data["model"])
    try:
        return EngineSpec.model_validate({**data, "name": name})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "spec"
        raise SpecError(f"{name}: {field}: {first['msg']}") from None


def spec_names() -> list[str]:
    """The specs that ship with these scripts."""
    folder = resources.files("build_scripts") / "specs"
    return sorted(Path(item.name).stem for item in folder.iterdir() if item.name.endswith(".yaml"))


def load(which: str) -> EngineSpec:
    """A shipped spec by its name, or a YAML file by its path. Raises SpecError."""
    if which in spec_names():
        return parse((resources.files("build_scripts") / "specs" / f"{which}.yaml").read_text(encoding="utf-8"), which)
    path = Path(which)
    try:
        return parse(path.read_text(encoding="utf-8"), path.stem)
    except OSError as error:
        raise SpecError(f"{which}: no shipped spec and no readable file ({error.strerror}); see `list`") from None
