"""The steps that make an engine: the exact commands of the pinned container, in order, with where each one is documented.

A step's fingerprint covers its command, the container and the step before it: what did not change is not done again.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import PurePosixPath

from pydantic import BaseModel, ConfigDict

from build_scripts.container import PINNED, BuildContainer
from build_scripts.spec import EngineSpec

_CONVERTED = frozenset({"none", "int8_wo", "int4_wo", "autoawq", "gptq"})
# AWQ's calibration uses 32 samples at most, whatever is asked (tensorrt_llm/quantization/quantize_by_modelopt.py).
_AWQ_SAMPLES = 32
# quantize.py takes a path with one of these in it for a model of that name (get_hf_config, get_model).
_MISREAD_IN_PATHS = ("mpt", "vila")
_EXAMPLE_FOLDER = {"llama": "llama", "mixtral": "llama", "qwen2": "qwen"}


class PlanError(ValueError):
    """No plan can be made for this work folder; the message says why."""


class BuildStep(BaseModel):
    """One command. `makes` are the files in `folder` that must be there when it has succeeded. `fresh`: the folder is
    emptied first, for the command cannot go on where it stopped."""

    model_config = ConfigDict(frozen=True)

    name: str
    argv: tuple[str, ...]
    source: str
    folder: str
    makes: tuple[str, ...]
    fresh: bool
    fingerprint: str

    @property
    def command(self) -> str:
        """For a shell, one option a line."""
        lines: list[str] = []
        for word in map(shlex.quote, self.argv):
            if lines and not word.startswith("--"):
                lines[-1] += f" {word}"
            else:
                lines.append(word)
        return " \\\n    ".join(lines)


class BuildPlan(BaseModel):
    """The steps for one spec under one work folder, and where their results lie."""

    model_config = ConfigDict(frozen=True)

    spec: str
    image: str
    steps: tuple[BuildStep, ...]
    model_dir: str
    checkpoint_dir: str
    engine_dir: str
    log_dir: str
    state_dir: str
    timing_dir: str

    def text(self) -> str:
        """What `plan` prints: a shell script that does the same by hand."""
        lines = [f"# {self.spec}", f"# inside {self.image}", "", f"mkdir -p {shlex.quote(self.timing_dir)}"]
        for number, step in enumerate(self.steps, 1):
            lines += ["", f"# {number}/{len(self.steps)} {step.name} ({step.source})", step.command]
        return "\n".join(lines) + "\n"


class _Draft(BaseModel):
    name: str
    argv: list[str]
    source: str
    folder: PurePosixPath
    makes: list[str] = []
    fresh: bool = True
    inputs: str = ""
    """What the result depends on beside the command."""


def _download(spec: EngineSpec, model_dir: PurePosixPath) -> _Draft:
    argv = ["hf", "download", spec.model.repo, "--revision", spec.model.revision, "--local-dir", str(model_dir)]
    if spec.model.exclude:
        argv += ["--exclude", spec.model.exclude]
    return _Draft(
        name="download",
        argv=argv,
        source="huggingface_hub, guides/cli",
        folder=model_dir,
        makes=["config.json", "tokenizer_config.json"],
        fresh=False,  # it goes on with the files that are there
    )


def _check(what: str, ref: str, folder: PurePosixPath, inputs: str) -> _Draft:
    argv = ["python3", "-m", "build_scripts", what, ref, str(folder)]
    return _Draft(name=what, argv=argv, source="this project", folder=folder, fresh=False, inputs=inputs)


def _convert(spec: EngineSpec, container: BuildContainer, model_dir: PurePosixPath, out: PurePosixPath) -> _Draft:
    folder = _EXAMPLE_FOLDER[spec.architecture.family]
    argv = ["python3", f"{container.examples}/models/core/{folder}/convert_checkpoint.py"]
    argv += ["--model_dir", str(model_dir), "--output_dir", str(out), "--dtype", spec.dtype]
    argv += ["--tp_size", str(spec.tp), "--pp_size", str(spec.pp)]
    if spec.architecture.experts > 1:
        argv += ["--moe_tp_size", str(spec.tp), "--moe_ep_size", "1"]
    if spec.quantization in {"int8_wo", "int4_wo"}:
        argv += ["--use_weight_only", "--weight_only_precision", spec.quantization.removesuffix("_wo")]
    if spec.quantization == "gptq":
        argv += ["--use_weight_only", "--weight_only_precision", "int4_gptq", "--per_group"]
        argv += ["--group_size", str(spec.group_size)]
    return _Draft(
        name="convert",
        argv=argv,
        source=f"TensorRT-LLM examples/models/core/{folder}/convert_checkpoint.py",
        folder=out,
        makes=_checkpoint_files(spec),
    )


def _quantize(spec: EngineSpec, container: BuildContainer, model_dir: PurePosixPath, out: PurePosixPath) -> _Draft:
    awq = "awq" in spec.quantization
    samples = min(spec.calibration.samples, _AWQ_SAMPLES) if awq else spec.calibration.samples
    argv = ["python3", f"{container.examples}/quantization/quantize.py"]
    argv += ["--model_dir", str(model_dir), "--output_dir", str(out), "--dtype", spec.dtype]
    argv += ["--qformat", spec.quantization]
    if awq:
        argv += ["--awq_block_size", str(spec.group_size)]
    if spec.kv_cache_dtype != "auto":
        argv += ["--kv_cache_dtype", spec.kv_cache_dtype]
    argv += ["--calib_dataset", spec.calibration.dataset, "--calib_size", str(samples)]
    argv += ["--calib_max_seq_length", str(spec.calibration.max_seq_len)]
    argv += ["--tokenizer_max_seq_length", str(spec.calibration.max_seq_len)]
    argv += ["--tp_size", str(spec.tp), "--pp_size", str(spec.pp)]
    return _Draft(
        name="quantize",
        argv=argv,
        source="TensorRT-LLM examples/quantization/quantize.py",
        folder=out,
        makes=_checkpoint_files(spec),
    )


def _checkpoint_files(spec: EngineSpec) -> list[str]:
    return ["config.json", *(f"rank{rank}.safetensors" for rank in range(spec.world_size))]


def _build(spec: EngineSpec, checkpoint: PurePosixPath, out: PurePosixPath, timing: PurePosixPath) -> _Draft:
    limits = spec.limits
    # The GEMM plugin is for 16-bit matrices; NVIDIA advises against it for quantized engines (fp8-quantization.md).
    gemm = "disable" if spec.quantization in {"fp8", "nvfp4"} else "auto"
    argv = ["trtllm-build", "--checkpoint_dir", str(checkpoint), "--output_dir", str(out)]
    argv += ["--gpt_attention_plugin", "auto", "--gemm_plugin", gemm]
    argv += ["--remove_input_padding", "enable", "--kv_cache_type", "paged"]
    argv += ["--tokens_per_block", str(limits.tokens_per_block)]
    argv += ["--use_paged_context_fmha", _switch(spec.paged_context_fmha)]
    argv += ["--use_fp8_context_fmha", _switch(spec.fp8_context_fmha)]
    argv += ["--multiple_profiles", "enable"]  # "always enable" (useful-build-time-flags.md): no cost but build time
    argv += ["--max_batch_size", str(limits.max_batch_size), "--max_input_len", str(limits.max_input_len)]
    argv += ["--max_seq_len", str(limits.max_seq_len), "--max_num_tokens", str(limits.max_num_tokens)]
    argv += ["--max_beam_width", "1", "--workers", str(min(spec.node.gpus, spec.world_size))]
    argv += ["--input_timing_cache", str(timing), "--output_timing_cache", str(timing)]
    return _Draft(
        name="build",
        argv=argv,
        source="TensorRT-LLM tensorrt_llm/commands/build.py",
        folder=out,
        makes=["config.json", *(f"rank{rank}.engine" for rank in range(spec.world_size))],
    )


def _switch(on: bool) -> str:
    return "enable" if on else "disable"


def make_plan(spec: EngineSpec, work: str, ref: str | None = None, container: BuildContainer = PINNED) -> BuildPlan:
    """The steps for `spec`. `work` is the folder inside the container that holds models, checkpoints, engines and logs;
    `ref` is how the checks find the spec again (a shipped spec's name, or a path). Raises PlanError."""
    ref = ref or spec.name
    root = PurePosixPath(work)
    model_dir = root / "models" / f"{spec.model.repo.replace('/', '--')}@{spec.model.revision[:12]}"
    for part in _MISREAD_IN_PATHS:
        if part in str(model_dir):
            raise PlanError(
                f"{model_dir}: quantize.py takes a path with {part!r} in it for such a model; choose another work folder"
            )
    checkpoint, engine = root / "checkpoints" / spec.name, root / "engines" / spec.name
    timing = root / "timing" / f"{spec.node.card.lower()}-{container.release}.cache"
    convert = _convert if spec.quantization in _CONVERTED else _quantize
    drafts = [
        _download(spec, model_dir),
        _check("check-model", ref, model_dir, spec.architecture.model_dump_json()),
        convert(spec, container, model_dir, checkpoint),
        _check("check-checkpoint", ref, checkpoint, f"{spec.quant_algo} {spec.kv_quant_algo} {spec.group_size}"),
        _build(spec, checkpoint, engine, timing),
    ]
    steps: list[BuildStep] = []
    before = container.image
    for draft in drafts:
        before = hashlib.sha256(json.dumps([before, draft.argv, draft.inputs]).encode()).hexdigest()[:16]
        steps.append(
            BuildStep(
                name=draft.name,
                argv=tuple(draft.argv),
                source=draft.source,
                folder=str(draft.folder),
                makes=tuple(draft.makes),
                fresh=draft.fresh,
                fingerprint=before,
            )
        )
    return BuildPlan(
        spec=spec.name,
        image=container.image,
        steps=tuple(steps),
        model_dir=str(model_dir),
        checkpoint_dir=str(checkpoint),
        engine_dir=str(engine),
        log_dir=str(root / "logs" / spec.name),
        state_dir=str(root / "state" / spec.name),
        timing_dir=str(timing.parent),
    )
