"""Writes what an engine can hold into `llm`'s configuration for the C++ backend.

The file keeps its comments: values are replaced on their lines, and the result is parsed as Triton would.
"""

from __future__ import annotations

import re
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from build_scripts.container import PINNED, BuildContainer
from build_scripts.engine import EngineConfig
from build_scripts.spec import Serving

# A queue of twice the batch: a client waits for one batch of others at the most, then goes to another instance.
_QUEUE_PER_SLOT = 2


class TemplateError(ValueError):
    """The template lacks a line that must be set, or is no model configuration."""


def settings(
    config: EngineConfig, engine_dir: str, serving: Serving, container: BuildContainer = PINNED
) -> tuple[dict[str, int], dict[str, str]]:
    """(numbers of the configuration itself, its parameters), with the limits of the engine."""
    build = config.build_config
    paged = build.plugin_config.use_paged_context_fmha
    numbers = {
        "max_batch_size": build.max_batch_size,
        "max_queue_size": build.max_batch_size * _QUEUE_PER_SLOT,
    }
    parameters = {
        "gpt_model_path": engine_dir,
        "max_beam_width": str(build.max_beam_width),
        "decoding_mode": "top_k_top_p" if build.max_beam_width == 1 else "beam_search",
        "batch_scheduler_policy": serving.scheduler_policy,
        "kv_cache_free_gpu_mem_fraction": f"{serving.kv_cache_free_gpu_mem_fraction:g}",
        "kv_cache_host_memory_bytes": str(int(serving.kv_cache_host_gib * 1024**3)),
        # Both read the paged cache while a prompt is computed.
        "enable_kv_cache_reuse": _flag(serving.kv_cache_reuse and paged),
        "enable_chunked_context": _flag(serving.chunked_context and paged),
        "executor_worker_path": container.executor_worker,
    }
    return numbers, parameters


def render(template: str, numbers: dict[str, int], parameters: dict[str, str]) -> str:
    """`template` with those values. Raises TemplateError."""
    text = template
    for key, number in numbers.items():
        text = _set(text, key, rf"^[^#\n]*\b{key}: (\d+)", str(number))
    for key, value in parameters.items():
        if any(character in value for character in '"\\\n'):
            raise TemplateError(f"{key} cannot be {value!r}: quotes, backslashes and line ends are not possible there")
        text = _set(text, key, rf'^parameters \{{ key: "{key}" value \{{ string_value: "([^"\n]*)" \}} \}}', value)
    try:
        text_format.Parse(text, model_config_pb2.ModelConfig())
    except text_format.ParseError as error:
        raise TemplateError(f"the result is no model configuration: {error}") from None
    return text


def _set(text: str, key: str, pattern: str, value: str) -> str:
    """`text` with `value` in place of the pattern's one group."""
    found = list(re.finditer(pattern, text, flags=re.MULTILINE))
    if len(found) != 1:
        raise TemplateError(f"{key} must be on one line of the template and is on {len(found)}")
    start, end = found[0].span(1)
    return text[:start] + value + text[end:]


def write(path: Path, text: str) -> None:
    """Whole or not at all: a Triton may be reading the folder."""
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _flag(on: bool) -> str:
    return "true" if on else "false"
