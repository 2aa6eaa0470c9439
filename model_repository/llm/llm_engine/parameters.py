"""The model's settings: `parameters` of its config.pbtxt, overridden one by one by the JSON in RAGFLEET_LLM_PARAMS."""

import json
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any, TypeVar

T = TypeVar("T")
Values = Mapping[str, Any]


class BadParameter(ValueError):
    """A setting that cannot be; the model is not loaded."""


def merged(config: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """All settings that are given: name → text, number or truth value.

    `config` is the model's configuration as Triton hands it to the Python backend. The bound of the queue is that of its
    queue policy, as in TensorRT-LLM's backend. `{home}` and `{instance}` in texts stand for RAGFLEET_HOME and RAGFLEET_INSTANCE.
    """
    values: dict[str, Any] = {}
    policy = config.get("dynamic_batching", {}).get("default_queue_policy", {})
    if policy.get("max_queue_size"):
        values["max_queue_size"] = policy["max_queue_size"]
    for name, parameter in config.get("parameters", {}).items():
        if parameter.get("string_value", "") != "":
            values[name] = parameter["string_value"]
    try:
        override = json.loads(environment.get("RAGFLEET_LLM_PARAMS") or "{}")
    except ValueError as error:
        raise BadParameter(f"llm: RAGFLEET_LLM_PARAMS is not JSON: {error}") from error
    if not isinstance(override, dict):
        raise BadParameter('llm: RAGFLEET_LLM_PARAMS must be a JSON object like {"slots": 8}')
    values |= override
    places = {"{home}": environment.get("RAGFLEET_HOME", ""), "{instance}": environment.get("RAGFLEET_INSTANCE", "")}
    return {name: _filled(value, places) for name, value in values.items()}


def check_names(values: Values, known: Collection[str]) -> None:
    """Raises BadParameter for a name that nothing reads."""
    for name in values:
        if name not in known:
            raise BadParameter(f"llm: unknown parameter {name!r}; there are: {', '.join(sorted(known))}")


def names(kind: type[Any]) -> set[str]:
    """The settings that a dataclass reads."""
    return {entry.name for entry in fields(kind)}


def build(kind: type[T], values: Values) -> T:
    """An instance of a dataclass of bool, int, float and str fields from the settings of the same names."""
    given = {}
    for entry in fields(kind):  # type: ignore[arg-type]
        if entry.name in values:
            assert isinstance(entry.type, type), "annotations of settings are plain types"
            given[entry.name] = _converted(entry.name, entry.type, values[entry.name])
    return kind(**given)


def _converted(name: str, wanted: type[Any], value: Any) -> Any:
    text = str(value).strip()
    if wanted is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        if wanted is int and not isinstance(value, bool):
            return int(text)
        if wanted is float and not isinstance(value, bool):
            return float(text)
    except ValueError:
        pass
    if wanted is str:
        return str(value)
    raise BadParameter(f"llm: parameter {name}: {value!r} is not of type {wanted.__name__}")


def _filled(value: Any, places: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for place, text in places.items():
            value = value.replace(place, text)
    return value
