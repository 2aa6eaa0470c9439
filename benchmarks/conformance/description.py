"""Reading an OpenAPI description: operations, and schemas as the alternatives that they allow."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

Json = Mapping[str, Any]
METHODS = ("get", "post", "delete")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in Python takes most of a minute for 3 MB
SCALARS = ("string", "integer", "number", "boolean")


@dataclass(frozen=True)
class Alternative:
    """One thing that a value may be."""

    schema: Json
    """Without references, `allOf` and alternatives at its top."""
    name: str
    """Of the component that it is, or "" for one without a name."""

    @cached_property
    def kind(self) -> str:
        """JSON Schema's type; "" for anything."""
        if "properties" in self.schema:
            return "object"
        if "items" in self.schema:
            return "array"
        values = self.values
        if "type" not in self.schema and values:
            return "boolean" if isinstance(values[0], bool) else "string" if isinstance(values[0], str) else "number"
        return str(self.schema.get("type", ""))

    @property
    def values(self) -> Sequence[Any]:
        """Those that it is one of; none where it may be any."""
        return [self.schema["const"]] if "const" in self.schema else self.schema.get("enum", ())

    @property
    def properties(self) -> Json:
        """Of an object."""
        found: Json = self.schema.get("properties", {})
        return found

    @property
    def required(self) -> Sequence[str]:
        """Names of properties."""
        return self.schema.get("required", ())

    @property
    def bounds(self) -> Json:
        """What limits a scalar, a text or a list."""
        names = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems")
        return {name: self.schema[name] for name in names if self.schema.get(name) is not None}


@dataclass(frozen=True)
class Operation:
    """A method of a path. Schemas are None where there is none."""

    method: str
    path: str
    query: Mapping[str, Json] = field(default_factory=dict)
    body: Json | None = None
    answer: Json | None = None


class Description:
    """One description."""

    def __init__(self, document: Json) -> None:
        self._document = document
        self._schemas: Json = document.get("components", {}).get("schemas", {})

    @classmethod
    def read(cls, path: Path) -> "Description":
        """A file of JSON or YAML. Raises OSError, ValueError for what is no description."""
        text = path.read_text("utf-8")
        try:
            document = json.loads(text) if path.suffix == ".json" else yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe one
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from error
        if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
            raise ValueError("it has no paths")
        return cls(document)

    def operations(self) -> Iterator[Operation]:
        """All of them. Paths are told without the version in front, and parameters in them without names."""
        for path, methods in self._document["paths"].items():
            shared = methods.get("parameters", [])
            for method in METHODS:
                if (found := methods.get(method)) is not None:
                    yield self._operation(method, path, found, shared)

    def _operation(self, method: str, path: str, found: Json, shared: Sequence[Json]) -> Operation:
        parameters = [*shared, *found.get("parameters", ())]
        query = {each["name"]: each["schema"] for each in parameters if each.get("in") == "query"}
        answers = found.get("responses", {})
        answer = answers.get("200") or answers.get("201") or {}
        return Operation(method, path, query, _content(found.get("requestBody", {})), _content(answer))

    def alternatives(self, schema: Json, name: str = "") -> list[Alternative]:
        """What a value may be, but for null."""
        while "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            schema = self._schemas[name]
        if (parts := schema.get("allOf")) is not None:
            rest = {key: value for key, value in schema.items() if key != "allOf"}
            merged: list[Alternative] = [Alternative(rest, name)]
            for part in parts:
                found = self.alternatives(part, "")
                merged = [
                    _merged(one, other, name or other.name)
                    for one in merged
                    for other in found or [Alternative({}, "")]
                ]
            return merged
        for key in ("anyOf", "oneOf"):
            if (several := schema.get(key)) is not None:
                around = {k: v for k, v in schema.items() if k in ("properties", "required", "type")}
                made = [each for part in several for each in self.alternatives(part, "")]
                if "properties" in around:
                    return [_merged(Alternative(around, name), each, name) for each in made] or [
                        Alternative(around, name)
                    ]
                return made
        kinds = schema.get("type")
        if isinstance(kinds, list):
            return [Alternative({**schema, "type": kind}, name) for kind in kinds if kind != "null"]
        if kinds == "null" or schema.get("enum") == [None]:
            return []
        return [Alternative(schema, name)]

    def faults(self, schema: Json, value: Any) -> list[str]:
        """Where a value is none of this schema; a null counts as what is not there."""
        whole = {
            **_lenient(schema),
            "components": {"schemas": {name: _lenient(each) for name, each in self._schemas.items()}},
        }
        errors = Draft202012Validator(whole).iter_errors(value)
        return [
            f"{error.json_path}: {error.message[:120]}" for error in (best_match([each]) or each for each in errors)
        ]


def _lenient(schema: Any) -> Any:
    """A schema that takes null everywhere, more than one of the alternatives, and extensions."""
    if isinstance(schema, list):
        return [_lenient(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "properties" in schema and not isinstance(schema["properties"], dict):
        return schema
    made = {
        "anyOf" if name == "oneOf" else name: _lenient(each)
        for name, each in schema.items()
        if name not in ("discriminator", "additionalProperties")
    }
    if isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
    if isinstance(made.get("enum"), list):
        made["enum"] = [*made["enum"], None]
    return made


def _merged(one: Alternative, other: Alternative, name: str) -> Alternative:
    both = one.properties.keys() & other.properties.keys()
    said = {
        name: {"allOf": [one.properties[name], other.properties[name]]}
        for name in both
        if "not" not in other.properties[name]
    }
    properties = {**other.properties, **one.properties, **said}
    schema = {**one.schema, **other.schema, "required": [*one.required, *other.required]}
    return Alternative({**schema, "properties": properties} if properties else schema, name)


def _content(part: Json) -> Json | None:
    content = part.get("content", {})
    for kind in ("application/json", "multipart/form-data"):
        if kind in content:
            found: Json = content[kind]["schema"]
            return _nested(found) if kind.startswith("multipart") else found
    return None


def _nested(form: Json) -> Json:
    """A form whose fields `a[b]` are the object `a`."""
    properties = dict(form.get("properties", {}))
    for name in [each for each in properties if each.endswith("]")]:
        outer, _, inner = name[:-1].partition("[")
        properties.setdefault(outer, {"type": "object", "properties": {}})["properties"][inner] = properties.pop(name)
    return {**form, "properties": properties}
