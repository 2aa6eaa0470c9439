"""Settings: the config, overridden one by one by the environment."""

from dataclasses import dataclass
from typing import Any

import pytest

from llm_engine import parameters
from llm_engine.flavours import open_engine
from llm_engine.parameters import BadParameter


@dataclass(frozen=True, kw_only=True)
class Example:
    name: str = "x"
    count: int = 1
    share: float = 0.5
    on: bool = False


def config(**values: str) -> dict[str, Any]:
    return {
        "parameters": {name: {"string_value": value} for name, value in values.items()},
        "dynamic_batching": {"default_queue_policy": {"max_queue_size": 7}},
    }


def test_the_environment_overrides_the_config_one_by_one() -> None:
    values = parameters.merged(
        config(slots="4", gguf="", faults_file="{home}/f/{instance}.json"),
        {"RAGFLEET_LLM_PARAMS": '{"slots": 9}', "RAGFLEET_HOME": "/h", "RAGFLEET_INSTANCE": "triton-1"},
    )
    assert values == {"max_queue_size": 7, "slots": 9, "faults_file": "/h/f/triton-1.json"}


def test_values_become_what_the_dataclass_wants() -> None:
    text = {"name": "n", "count": "3", "share": "0.25", "on": "True"}
    assert parameters.build(Example, text) == Example(name="n", count=3, share=0.25, on=True)
    assert parameters.build(Example, {"count": 3, "share": 1, "on": False}) == Example(count=3, share=1.0)


@pytest.mark.parametrize(
    ("name", "value"), [("count", "3.5"), ("count", True), ("share", "a"), ("on", "yes"), ("on", 1)]
)
def test_wrong_values_are_told(name: str, value: object) -> None:
    with pytest.raises(BadParameter, match=f"parameter {name}: .* is not of type"):
        parameters.build(Example, {name: value})


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_an_override_that_is_no_json_object_is_told(text: str) -> None:
    with pytest.raises(BadParameter, match="RAGFLEET_LLM_PARAMS"):
        parameters.merged({}, {"RAGFLEET_LLM_PARAMS": text})


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ('{"decode_speed": 1}', "unknown parameter 'decode_speed'; there are: .*decode_step_ms"),
        ('{"engine": "magic"}', "engine 'magic'; there are llamacpp and simulated|magic"),
        ('{"engine": "llamacpp", "gguf": "nowhere.gguf"}', "nowhere.gguf is not a file. Set the parameter gguf"),
    ],
)
def test_an_engine_that_cannot_be_is_told(override: str, why: str) -> None:
    with pytest.raises(BadParameter, match=why):
        open_engine(config(), {"RAGFLEET_LLM_PARAMS": override}, print)
