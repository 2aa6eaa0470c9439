"""JSON schemas of the kinds that JSONSchemaBench has, made at random: the same seed gives the same schema."""

import random
from typing import Any

Schema = dict[str, Any]

NAMES = ["id", "name", "größe", "unit price", "tags", 'quo"ted', "a/b", "日本", "x" * 20, "type"]
WORDS = ["red", "green", "blue", "", "né", "with space", 'a "quoted" word', "back\\slash", "日本語", "😀"]
PATTERNS = [r"^[a-z]{2,5}$", r"^[A-Z]{3}-\d{4}$", r"^(\+49|0)\d{3,6}$", r"^[^@\s]{1,8}@[a-z]{1,6}\.(com|org)$"]
FORMATS = ["date", "time", "date-time", "uuid", "ipv4", "hostname"]


def schema(seed: int, *, depth: int = 3) -> Schema:
    """An object with nested objects, lists, enumerations, choices, patterns, bounds and references, some of them recursive."""
    draw = random.Random(seed)
    root = _object(draw, depth)
    if draw.random() < 0.4:
        root["$defs"] = {"node": _node(draw), "leaf": _scalar(draw)}
        for name in draw.sample(("node", "leaf"), k=draw.randint(1, 2)):
            root["properties"][f"{name} ref"] = {"$ref": f"#/$defs/{name}"}
            root["required"].append(f"{name} ref")
    return root


def _any(draw: random.Random, depth: int) -> Schema:
    if depth <= 0:
        return _scalar(draw)
    return draw.choice((_object, _array, _choice, _leaf, _leaf))(draw, depth - 1)


def _leaf(draw: random.Random, _: int) -> Schema:
    return _scalar(draw)


def _object(draw: random.Random, depth: int) -> Schema:
    names = draw.sample(NAMES, k=draw.randint(1, 4))
    required = names if draw.random() < 0.7 else draw.sample(names, k=len(names) // 2)
    return {
        "type": "object",
        "properties": {name: _any(draw, depth) for name in names},
        "required": list(required),
        "additionalProperties": False,
    }


def _array(draw: random.Random, depth: int) -> Schema:
    least = draw.randint(0, 2)
    return {"type": "array", "items": _any(draw, depth), "minItems": least, "maxItems": least + draw.randint(0, 3)}


def _choice(draw: random.Random, depth: int) -> Schema:
    return {"anyOf": [_any(draw, depth), _scalar(draw), {"type": "null"}]}


def _node(draw: random.Random) -> Schema:
    return {
        "type": "object",
        "properties": {
            "value": _scalar(draw),
            "children": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 1},
        },
        "required": ["value", "children"],
        "additionalProperties": False,
    }


def _scalar(draw: random.Random) -> Schema:
    kind = draw.randrange(8)
    if kind == 0:
        least = draw.randint(-50, 50)
        return {"type": "integer", "minimum": least, "maximum": least + draw.randint(0, 1000)}
    if kind == 1:
        return {"type": "number", "minimum": 0, "maximum": draw.choice((1, 2.5, 100))}
    if kind == 2:
        return {"type": "string", "pattern": draw.choice(PATTERNS)}
    if kind == 3:
        return {"type": "string", "format": draw.choice(FORMATS)}
    if kind == 4:
        return {"type": "string", "minLength": draw.randint(0, 3), "maxLength": draw.randint(3, 12)}
    if kind == 5:
        return {"enum": draw.sample([*WORDS, 1, -2.5, None, True], k=draw.randint(1, 4))}
    if kind == 6:
        return {"const": draw.choice([*WORDS, 7, False])}
    return {"type": draw.choice((["string", "null"], "boolean", "string", "integer"))}
