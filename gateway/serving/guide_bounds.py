"""Bounds for what a schema leaves open: a small model under a grammar goes on with a string, a list or a number for ever."""

import json
from typing import Any

from gateway.serving.decoding_guide import Guide, GuideKind

MAX_ITEMS = 16
"""Of a list without a bound."""
MAX_NUMBER = 10**15
"""Of a number without a bound, either way; up to there each whole number is one to JavaScript, too."""
STEP = 1e-6
"""Of a number that need not be whole."""
_VALUES = frozenset({"const", "enum", "default", "examples"})
"""Keywords whose values are no schemas."""
_SHAPED = frozenset({"const", "enum", "pattern", "format", "maxLength", "$ref"})
_LOW, _HIGH = ("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")


def bounded(guide: Guide | None, max_string: int) -> Guide | None:
    """The same guide; strings, lists and numbers get bounds where its schema has none. max_string: characters; 0: nothing is
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
    if ("integer" in kinds or "number" in kinds) and _SHAPED.isdisjoint(part):
        made |= _number(part, whole="number" not in kinds)
    return made


def _number(part: dict[str, Any], *, whole: bool) -> dict[str, Any]:
    """What is missing in the schema of a number, so that it has a last digit."""
    low = [part[name] for name in _LOW if name in part]
    high = [part[name] for name in _HIGH if name in part]
    made: dict[str, Any] = {}
    # None that leaves no number: of one from 10^16 on nothing is bounded.
    if not low and all(bound > -MAX_NUMBER for bound in high):
        made["minimum"] = -MAX_NUMBER
    if not high and all(bound < MAX_NUMBER for bound in low):
        made["maximum"] = MAX_NUMBER
    # Where bounds lie between two steps there may be no step between the bounds.
    on_steps = all(round(bound, 6) == bound for bound in (*low, *high))
    wide = not (low and high) or min(high) - max(low) > 2 * STEP
    if not whole and "multipleOf" not in part and on_steps and wide:
        made["multipleOf"] = STEP
    return made


def _least(part: dict[str, Any], name: str) -> int:
    value = part.get(name)
    return value if isinstance(value, int) else 0
