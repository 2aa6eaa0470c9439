"""From a model's configuration to the engine that it asks for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_engine import parameters
from llm_engine.engine import Engine
from llm_engine.faults import FaultFile, Faults
from llm_engine.llama_model import LlamaOptions, find_gguf
from llm_engine.llamacpp import LlamaEngine
from llm_engine.llmapi import LlmApiEngine
from llm_engine.llmapi_model import LlmApiOptions
from llm_engine.scheduler import Spec
from llm_engine.service import Periods
from llm_engine.simulated import SimulatedEngine
from llm_engine.torch_engine import TorchEngine, TorchOptions
from tokens.vocabulary import TokenTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavour:
    """Which engine, and what only one of them reads."""

    engine: str = "llamacpp"
    faults_file: str = ""
    """JSON with the simulated engine's faults; it may come, change and go at run time."""
    tokenizer_dir: str = ""
    """For guided answers of the simulated engine; empty: RAGFLEET_TOKENIZER_DIR."""
    senders: int = 4


KNOWN = frozenset[str]().union(
    *map(parameters.names, (Flavour, Periods, LlamaOptions, LlmApiOptions, TorchOptions, Spec, Faults))
)
"""Every setting of either flavour: one RAGFLEET_LLM_PARAMS may serve both."""


def open_engine(
    config: Mapping[str, Any], environment: Mapping[str, str], log: Callable[[str], None]
) -> tuple[Engine, Periods]:
    """The engine, ready to work. Raises BadParameter, or what the engine raises when its model cannot be loaded."""
    values = parameters.merged(config, environment)
    parameters.check_names(values, KNOWN)
    flavour = parameters.build(Flavour, values)
    engine: Engine
    if flavour.engine == "simulated":
        spec = parameters.build(Spec, values)
        file = Path(flavour.faults_file) if flavour.faults_file else None
        faults = FaultFile(file, parameters.build(Faults, values), log)
        vocabulary = _vocabulary(flavour.tokenizer_dir or environment.get("RAGFLEET_TOKENIZER_DIR", ""))
        engine = SimulatedEngine(spec, faults, vocabulary=vocabulary, senders=flavour.senders, log=log)
        log(f"llm: simulated, {spec.slots} slots, context {spec.max_context}, {spec.kv_blocks} KV blocks")
    elif flavour.engine == "llamacpp":
        options = parameters.build(LlamaOptions, values)
        model = find_gguf(options.gguf, environment)
        engine = LlamaEngine(options, model, log=log)
        log(f"llm: llama.cpp, {options.slots} slots, context {options.max_context} each, {model.name}")
    elif flavour.engine == "llmapi":
        gpu = parameters.build(LlmApiOptions, values)
        engine = LlmApiEngine(gpu, log=log)
        log(f"llm: TensorRT-LLM's LLM API, {gpu.slots} slots, context {gpu.max_context}, {gpu.model_dir}")
    elif flavour.engine == "torch":
        torch = parameters.build(TorchOptions, values)
        engine = on_torch = TorchEngine(torch, log=log)
        where = f"{on_torch.model.device} in {on_torch.model.dtype}"
        log(f"llm: torch on {where}, {torch.slots} slots, context {torch.max_context} each, {torch.model_dir}")
    else:
        raise parameters.BadParameter(
            f"llm: engine {flavour.engine!r}; there are llamacpp, llmapi, simulated and torch"
        )
    return engine, parameters.build(Periods, values)


def _vocabulary(folder: str) -> Callable[[], Sequence[bytes]] | None:
    """Reads what each id spells from a folder's tokenizer.json; None without a folder."""
    return (lambda: TokenTable.load(Path(folder)).bytes_of) if folder else None
