"""Bounds for what a schema leaves open: a small model that is held to a grammar goes on in a string or a list for ever."""

import json
from typing import Any

from gateway.serving.decoding_guide import Guide, GuideKind

MAX_ITEMS = 16
"""Of a list without a bound."""
_VALUES = frozenset({"const", "enum", "default", "examples"})
"""Keywords whose values are no schemas."""
_SHAPED = frozenset({"const", "enum", "pattern", "format", "maxLength", "$ref"})


def bounded(guide: Guide | None, max_string: int) -> Guide | None:
    """The same guide; strings and lists of a schema that has no bounds for them get some. max_string: characters; 0: nothing is
    bounded. What meets the bounded schema meets the client's, too.
    """
    if guide is None or guide.kind is not GuideKind.JSON_SCHEMA or not max_string:
        return guide
    return Guide(GuideKind.JSON_SCHEMA, json.dumps(bounded_schema(json.loads(guide.text), max_string)))


def bounded_schema(part: Any, max_string: int) -> Any:
    """A schema, or a part of one."""
    if isinstance(part, list):
        return [bounded_schema(each, max_string) for each in part]
    if not isinstance(part, dict):
        return part
    made = {name: value if name in _VALUES else bounded_schema(value, max_string) for name, value in part.items()}
    kinds = part.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if "string" in kinds and _SHAPED.isdisjoint(part):
        made["maxLength"] = max(max_string, _least(part, "minLength"))
    if "array" in kinds and "maxItems" not in part and isinstance(part.get("items"), dict):
        made["maxItems"] = max(MAX_ITEMS, _least(part, "minItems"))
    return made


def _least(part: dict[str, Any], name: str) -> int:
    value = part.get(name)
    return value if isinstance(value, int) else 0
