"""How answers call functions: the guide that makes an engine write calls, and the parser that reads them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.config import Settings
from gateway.serving.decoding_guide import LENIENT, Guide, GuideKind
from gateway.serving.generation_request import GenerationRequest
from gateway.serving.schema_values import is_empty
from gateway.serving.tool_decision import decided
from gateway.serving.tool_parsers import PARSERS, BareJsonParser, ToolCallParser, guess
from gateway.serving.tools import ToolUse
from gateway.setting_values import ToolDecision, ToolFormat

MAX_CALLS = 16
"""Of one answer, under a grammar."""


class ToolCalling:
    """Of the one model family of a fleet. One for the life of the application."""

    def __init__(self, tool_format: ToolFormat, decision: ToolDecision = ToolDecision.MODEL) -> None:
        self._format = tool_format
        self._decision = decision

    @classmethod
    def of(cls, settings: Settings) -> "ToolCalling":
        """As set, or as the tokenizer's chat template looks."""
        if settings.tool_format is not ToolFormat.AUTO:
            return cls(settings.tool_format, settings.tool_decision)
        return cls(guess(chat_template(settings.tokenizer_dir)), settings.tool_decision)

    def decided(self, request: GenerationRequest) -> GenerationRequest:
        """The request with what is known of its calls before the model has said anything."""
        return decided(request) if self._decision is ToolDecision.WORDS else request

    def guide(self, tools: ToolUse, answer: Guide | None) -> Guide | None:
        """What an answer with these tools must be; answer: what it must be where it is no call.

        None: anything, since the model writes calls in a way of its own.
        """
        if tools.required:
            return Guide(GuideKind.JSON_SCHEMA, json.dumps(calls_schema(tools) | LENIENT))
        if answer is not None:
            schema = {"type": "object"} if answer.kind is GuideKind.JSON else json.loads(answer.text)
            return Guide(GuideKind.JSON_SCHEMA, json.dumps(calls_schema(tools, schema) | LENIENT))
        return text_or(calls_schema(tools)) if self._format is ToolFormat.JSON else None

    def parser(self, tools: ToolUse, answer: Guide | None) -> ToolCallParser:
        """Of one answer. See `guide`."""
        if tools.required or answer is not None:
            return BareJsonParser(tools)
        return PARSERS[self._format](tools)


def chat_template(folder: Path) -> str:
    """Of a tokenizer's folder; "" where it has none."""
    path, config = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    if path.is_file():
        return path.read_text("utf-8")
    if not config.is_file():
        return ""
    template = json.loads(config.read_text("utf-8")).get("chat_template")
    return template if isinstance(template, str) else json.dumps(template)


def calls_schema(tools: ToolUse, answer: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """JSON Schema of a call, or where several were asked for, of a list of them; or else of an `answer` that is no call."""
    places = {f"f{index}": _closed(dict(each.followed)) for index, each in enumerate(tools.functions)}
    calls = [_call(each.name, place) for each, place in zip(tools.functions, places, strict=True)]
    arms = [{"type": "array", "items": _any(calls), "minItems": 1, "maxItems": MAX_CALLS}] if tools.parallel else calls
    if answer is not None:
        places["answer"] = dict(answer)
        arms = [*arms, {"$ref": "#/$defs/answer"}]
    return {**_any(arms), "$defs": {name: _moved(schema, f"#/$defs/{name}") for name, schema in places.items()}}


def text_or(schema: Mapping[str, Any]) -> Guide:
    """An instance of a schema, or any text that does not begin like one: the first character decides.

    In llguidance's language, which has both; engines that guide by another backend refuse it.
    """
    options = {"whitespace_flexible": False, "item_separator": ", ?", "key_separator": ": ?", "coerce_one_of": True}
    guided = {**schema, "x-guidance": {**options, "lenient": True}}
    grammar = f"start: TEXT | call\nTEXT: /[^{{\\[\\s](.|\\n)*/\ncall: %json {json.dumps(guided)}\n"
    return Guide(GuideKind.EBNF_GRAMMAR, grammar)


def _call(name: str, place: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"name": {"const": name}, "arguments": {"$ref": f"#/$defs/{place}"}},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


_COMBINING = frozenset({"allOf", "anyOf", "oneOf", "if", "$ref", "patternProperties", "unevaluatedProperties"})


def _closed(part: Any) -> Any:
    """The same schema with no properties but those that it names: a small model would go on inventing some for ever."""
    if isinstance(part, list):
        return [_closed(each) for each in part]
    if not isinstance(part, dict):
        return part
    combines = not _COMBINING.isdisjoint(part)
    closed = {
        name: value if name in _VALUES or (combines and name == "allOf") else _closed(value)
        for name, value in part.items()
    }
    named = isinstance(part.get("properties"), dict) and part.get("type") == "object" and not combines
    if named and not is_empty({"additionalProperties": False} | closed):  # it may require more than it names
        closed.setdefault("additionalProperties", False)
    return closed


def _any(schemas: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}


def _moved(part: Any, place: str) -> Any:
    """A part of a schema whose root is now at `place`: its references follow."""
    if isinstance(part, list):
        return [_moved(each, place) for each in part]
    if not isinstance(part, dict):
        return part
    moved = {name: value if name in _VALUES else _moved(value, place) for name, value in part.items()}
    if isinstance(reference := part.get("$ref"), str) and reference.startswith("#"):
        moved["$ref"] = place + reference[1:]
    return moved


_VALUES = frozenset({"const", "enum", "default", "examples"})
"""Keywords whose values are no schemas."""
