"""Every config in model_repository is what Triton can read, and states how it is scheduled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

REPOSITORY = Path(__file__).parents[2] / "model_repository"
CONFIGS = sorted([*REPOSITORY.glob("*/config.pbtxt"), *REPOSITORY.glob("*/configs/*.pbtxt")])


def parsed(path: Path) -> Any:
    return text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())


def model_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).parts[0]


def ids(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def test_all_models_of_the_design_are_there() -> None:
    assert {model_of(path) for path in CONFIGS} >= {
        "embedding",
        "retrieval",
        "prompt",
        "rerank",
        "context",
        "detokenize",
        "rag",
        "llm",
    }


@pytest.mark.parametrize("path", CONFIGS, ids=ids)
def test_config_parses_and_names_its_folder(path: Path) -> None:
    config = parsed(path)
    assert config.name == model_of(path)
    assert config.backend or config.platform == "ensemble"
    assert all(tensor.data_type for tensor in [*config.input, *config.output])


@pytest.mark.parametrize("path", [path for path in CONFIGS if parsed(path).platform != "ensemble"], ids=ids)
def test_instances_are_counted_and_the_queue_is_bounded(path: Path) -> None:
    config = parsed(path)
    assert config.instance_group
    assert all(group.count >= 1 for group in config.instance_group)
    # The batcher that has the bound makes single prompts wait for each other (the file says more).
    assert config.name == "prompt" or config.dynamic_batching.default_queue_policy.max_queue_size > 0


@pytest.mark.parametrize("path", [path for path in CONFIGS if parsed(path).platform == "ensemble"], ids=ids)
def test_ensembles_fit_the_models_they_name(path: Path) -> None:
    """Types and names: what Triton would say at load, said here without Triton."""
    ensemble = parsed(path)
    tensors = {tensor.name: tensor.data_type for tensor in ensemble.input}
    for step in ensemble.ensemble_scheduling.step:
        model = parsed(REPOSITORY / step.model_name / "config.pbtxt")
        inputs = {tensor.name: tensor for tensor in model.input}
        outputs = {tensor.name: tensor for tensor in model.output}
        for name, tensor in step.input_map.items():
            assert tensors[tensor] == inputs[name].data_type, f"{step.model_name}.{name}"
        assert {name for name, tensor in inputs.items() if not tensor.optional} <= set(step.input_map)
        tensors.update({tensor: outputs[name].data_type for name, tensor in step.output_map.items()})
    assert all(tensors[output.name] == output.data_type for output in ensemble.output)
