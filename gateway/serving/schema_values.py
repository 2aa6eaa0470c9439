"""Whether any value at all meets a schema by itself, as far as its numbers, names, lengths and listed values tell. No I/O."""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

_KINDS: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def is_empty(schema: Mapping[str, Any]) -> bool:
    """schema: one that was checked keyword by keyword. What it says of the values inside of it is not looked at."""
    listed = [schema["const"]] if "const" in schema else schema.get("enum")
    if listed is not None:
        return not any(_meets(schema, value) for value in listed)
    kinds = _types(schema)
    return bool(kinds) and not any(_has_any(schema, kind, kinds) for kind in kinds)


def _has_any(schema: Mapping[str, Any], kind: str, kinds: Sequence[str]) -> bool:
    """Whether it has values of this kind, one of its `kinds`."""
    if kind in ("number", "integer"):
        return _has_numbers(schema, whole="number" not in kinds)
    if kind == "object":
        return _has_objects(schema)
    return kind != "array" or _has_lists(schema)


def _has_objects(schema: Mapping[str, Any]) -> bool:
    required, named = set(schema.get("required", ())), set(schema.get("properties", ()))
    if len(required) > schema.get("maxProperties", math.inf):
        return False
    is_open = schema.get("additionalProperties", True) is not False or bool(schema.get("patternProperties"))
    return is_open or (required <= named and schema.get("minProperties", 0) <= len(named))


def _has_lists(schema: Mapping[str, Any]) -> bool:
    first = schema.get("prefixItems")
    return not first or schema.get("additionalItems", True) is not False or schema.get("minItems", 0) <= len(first)


def _types(schema: Mapping[str, Any]) -> Sequence[str]:
    kinds = schema.get("type", ())
    return (kinds,) if isinstance(kinds, str) else kinds


def _meets(schema: Mapping[str, Any], value: Any) -> bool:
    kinds = _types(schema)
    if kinds and not any(_is(kind, value) for kind in kinds):
        return False
    if isinstance(value, str | list):
        least, most = ("minLength", "maxLength") if isinstance(value, str) else ("minItems", "maxItems")
        return bool(schema.get(least, 0) <= len(value) <= schema.get(most, math.inf))
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high, open_below, open_above = _bounds(schema)
        inside = low <= value <= high and not (open_below and value == low) and not (open_above and value == high)
        return inside and ("multipleOf" not in schema or not _exactly(value) % _exactly(schema["multipleOf"]))
    return True


def _is(kind: str, value: Any) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _KINDS[kind]) and not (
        kind == "integer" and isinstance(value, float) and not value.is_integer()
    )


def _has_numbers(schema: Mapping[str, Any], *, whole: bool) -> bool:
    """Whether a number is between the bounds. whole: it has to be an integer."""
    least, most, open_below, open_above = _bounds(schema)
    if math.inf in (-least, most):
        return True
    step = _exactly(schema.get("multipleOf", 1 if whole else 0))
    if whole and step.denominator != 1:
        step = Fraction(step.numerator)  # of its multiples those that are whole
    if not step:
        return least < most or (least == most and not (open_below or open_above))
    first, last = math.ceil(_exactly(least) / step), math.floor(_exactly(most) / step)
    first += open_below and first * step == _exactly(least)
    last -= open_above and last * step == _exactly(most)
    return first <= last


def _bounds(schema: Mapping[str, Any]) -> tuple[float, float, bool, bool]:
    """The least and the most that it allows, and whether each of them is not allowed itself."""
    least, above = schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf)
    most, below = schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf)
    return (
        max(least, above),
        min(most, below),
        above >= least and above != -math.inf,
        below <= most and below != math.inf,
    )


def _exactly(number: float) -> Fraction:
    """As it is written: 0.1 is a tenth."""
    return Fraction(repr(number))
