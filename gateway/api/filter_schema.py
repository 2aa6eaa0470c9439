"""What a filter over attributes may be, as JSON Schema; gateway/knowledge/filters.py reads and refuses it."""

from typing import Any

from gateway.knowledge.filters import MAX_DEPTH, MAX_NUMBER, MAX_STRING, MAX_VALUES

_UNQUOTABLE = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
_KEY: dict[str, Any] = {"type": "string", "pattern": rf"^[^{_UNQUOTABLE}\[\]\"'\\]{{1,64}}$"}
_NUMBER: dict[str, Any] = {"type": "number", "minimum": -MAX_NUMBER, "maximum": MAX_NUMBER}
_STRING: dict[str, Any] = {"type": "string", "pattern": rf"^[^{_UNQUOTABLE}]{{0,{MAX_STRING}}}$"}
_VALUE: dict[str, Any] = {"anyOf": [_STRING, _NUMBER, {"type": "boolean"}]}


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_COMPARISONS = (
    _object(type={"enum": ["eq", "ne"]}, key=_KEY, value=_VALUE),
    _object(type={"enum": ["gt", "gte", "lt", "lte"]}, key=_KEY, value={"anyOf": [_STRING, _NUMBER]}),
    _object(
        type={"enum": ["in", "nin"]},
        key=_KEY,
        value={"type": "array", "minItems": 1, "maxItems": MAX_VALUES, "items": _VALUE},
    ),
)


def _filter(compounds: int) -> dict[str, Any]:
    """With so many compound filters within each other at the most."""
    if not compounds:
        return {"anyOf": list(_COMPARISONS)}
    parts = {"type": "array", "minItems": 1, "maxItems": MAX_VALUES, "items": _filter(compounds - 1)}
    return {"anyOf": [*_COMPARISONS, _object(type={"enum": ["and", "or"]}, filters=parts)]}


FILTER = _filter(MAX_DEPTH)
