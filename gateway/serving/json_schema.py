"""JSON Schemas that an answer can be held to: which there are, within which bounds, and what of them reaches an engine. No I/O.

Strict schemas keep to the subset and the limits that OpenAI publishes for structured outputs. Of others the keywords that no
engine follows are left out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any
from urllib.parse import unquote

from gateway.serving import patterns
from gateway.serving.schema_values import is_empty

Schema = dict[str, Any]

TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"})
ONE = ("items", "additionalProperties", "additionalItems")
MANY = ("anyOf", "oneOf", "allOf", "prefixItems")
NAMED = ("properties", "patternProperties", "$defs", "definitions")
"""Keywords that hold a schema, a list of schemas, schemas by name."""
COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
FOLLOWED = frozenset(
    {*ONE, *MANY, *NAMED, *COUNTS, *NUMBERS, "$ref", "type", "enum", "const", "required", "pattern", "format"}
)
ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly"}
    | {"$schema", "$id", "$comment", "$anchor", "contentEncoding", "contentMediaType"}
)
NOT_STRICT = frozenset({"oneOf", "allOf", "patternProperties", "minProperties", "maxProperties", "additionalItems"})
BRANCHES = ("anyOf", "oneOf", "allOf")

MAX_DEPTH, MAX_STRICT_DEPTH = 32, 10
MAX_VALUE_DEPTH = 16
MAX_PROPERTIES = 5000
MAX_CHARACTERS = 120_000
"""Of names, and of the values of enumerations, together."""
MAX_ENUM_VALUES = 1000
LONG_ENUM, MAX_LONG_ENUM_CHARACTERS = 250, 15_000
MAX_COUNT = 1_000_000
MAX_NUMBER = 1e15
MAX_PATTERN = 1000
MAX_WORDS = 500
"""Of a place, and of what is wrong there: names and references in it are the client's, and may be long."""


class InvalidSchema(ValueError):
    """No answer can be held to it; `pointer` is the place, as a JSON pointer."""

    def __init__(self, pointer: str, why: str) -> None:
        super().__init__(f"at '{pointer[:MAX_WORDS]}': {why[:MAX_WORDS]}")
        self.pointer = pointer


def checked(schema: Mapping[str, Any], *, strict: bool) -> Schema:
    """What an engine is given of the schema. Raises InvalidSchema."""
    reading = _SchemaReading(strict=strict)
    made = reading.read(schema, "#", 1)
    references = _References(reading.nodes)
    references.check()
    root = reading.nodes[references.target(made)] if "$ref" in made else made
    if strict and (root.get("type") != "object" or "anyOf" in root):
        raise InvalidSchema("#", "a strict schema has the 'type' 'object', and no 'anyOf' beside it")
    return made


class _SchemaReading:
    """Reads a schema from its root on, and counts."""

    def __init__(self, *, strict: bool) -> None:
        self.nodes: dict[str, Schema] = {}
        """What was made of every schema in it, by its pointer."""
        self._strict = strict
        self._most = MAX_STRICT_DEPTH if strict else MAX_DEPTH
        self._properties = self._characters = self._values = 0
        self._checks: Mapping[str, Callable[[Any, str], None]] = {
            "type": _type,
            "enum": self._enum,
            "const": self._const,
            "required": _required,
            "format": _format,
            "$ref": _reference,
            "multipleOf": _multiple,
        }

    def read(self, schema: Any, pointer: str, depth: int) -> Schema:
        if schema is True or schema is False:
            if self._strict:
                raise InvalidSchema(pointer, "a strict schema is an object")
            schema = {} if schema else {"enum": []}
        if not isinstance(schema, Mapping):
            raise InvalidSchema(pointer, "a schema is an object")
        if depth > self._most:
            raise InvalidSchema(pointer, f"it is nested more than {self._most} levels deep")
        made: Schema = {}
        for name, value in schema.items():
            if name in ANNOTATIONS:
                continue
            if name not in FOLLOWED or (self._strict and name in NOT_STRICT):
                if self._strict:
                    raise InvalidSchema(_under(pointer, name), f"'{name}' is not permitted in a strict schema")
                continue
            self._take(made, name, value, pointer, depth)
        self._consistent(made, pointer)
        self.nodes[pointer] = made
        return made

    def _take(self, made: Schema, name: str, value: Any, pointer: str, depth: int) -> None:
        place = _under(pointer, name)
        if name in ("additionalProperties", "additionalItems") and isinstance(value, bool):
            made[name] = value
        elif name == "items" and isinstance(value, list):
            self._take(made, "prefixItems", value, pointer, depth)  # as older drafts write it
        elif name in ONE:
            made[name] = self.read(value, place, depth + 1)
        elif name in MANY:
            if not isinstance(value, list) or not value:
                raise InvalidSchema(place, "a list of schemas is expected")
            # A choice nests nothing.
            deeper = depth + (name == "prefixItems")
            made[name] = [self.read(part, f"{place}/{index}", deeper) for index, part in enumerate(value)]
        elif name in NAMED:
            if not isinstance(value, Mapping):
                raise InvalidSchema(place, "schemas by name are expected")
            deeper = 1 if name in ("$defs", "definitions") else depth + 1
            self._count(place, properties=len(value), characters=sum(map(len, value)))
            schemas = {key: self.read(part, _under(place, key), deeper) for key, part in value.items()}
            if name == "patternProperties":
                schemas = {_pattern(key, _under(place, key)): part for key, part in schemas.items()}
            made[name] = schemas
        elif name == "pattern":
            made[name] = _pattern(value, place)
        else:
            check = self._checks.get(name) or (_count if name in COUNTS else _number)
            if name == "format" and not self._strict and value not in FORMATS:
                return
            check(value, place)
            made[name] = value

    def _count(self, place: str, *, properties: int = 0, characters: int = 0, values: int = 0) -> None:
        self._properties += properties
        self._characters += characters
        self._values += values
        if self._properties > MAX_PROPERTIES:
            raise InvalidSchema(place, f"there are more than {MAX_PROPERTIES} properties in all")
        if self._characters > MAX_CHARACTERS:
            raise InvalidSchema(place, f"names and values have more than {MAX_CHARACTERS} characters in all")
        if self._values > MAX_ENUM_VALUES:
            raise InvalidSchema(place, f"there are more than {MAX_ENUM_VALUES} values of enumerations in all")

    def _enum(self, value: Any, place: str) -> None:
        if not isinstance(value, list):
            raise InvalidSchema(place, "a list of values is expected")
        size = sum(_size(each, f"{place}/{index}") for index, each in enumerate(value))
        if len(value) > LONG_ENUM and size > MAX_LONG_ENUM_CHARACTERS:
            raise InvalidSchema(
                place, f"more than {LONG_ENUM} values may have {MAX_LONG_ENUM_CHARACTERS} characters, not {size}"
            )
        self._count(place, values=len(value), characters=size)

    def _const(self, value: Any, place: str) -> None:
        self._count(place, characters=_size(value, place))

    def _consistent(self, made: Schema, pointer: str) -> None:
        for low, high in (("minItems", "maxItems"), ("minLength", "maxLength"), ("minimum", "maximum")):
            if low in made and high in made and made[low] > made[high]:
                raise InvalidSchema(_under(pointer, low), f"{low} {made[low]} is more than {high} {made[high]}")
        if not self._strict or not ("properties" in made or made.get("type") == "object"):
            return
        if made.get("additionalProperties") is not False:
            raise InvalidSchema(pointer, "'additionalProperties' must be given and be false in a strict schema")
        if missing := sorted(set(made.get("properties", ())) - set(made.get("required", ()))):
            raise InvalidSchema(
                _under(pointer, "required"), f"in a strict schema it names every property; {missing[0]!r} is missing"
            )


class _References:
    """Where references lead: somewhere in the schema, not straight back, and in the end to values that end."""

    def __init__(self, nodes: dict[str, Schema]) -> None:
        self._nodes = nodes

    def check(self) -> None:
        for pointer, node in self._nodes.items():
            if "$ref" in node and self.target(node) not in self._nodes:
                raise InvalidSchema(_under(pointer, "$ref"), f"there is no schema at {node['$ref']!r}")
        self._no_circle()
        finite = self._finite()
        if "#" not in finite:
            # The first one in the order of reading is the innermost.
            endless = next(pointer for pointer in self._nodes if pointer not in finite)
            if is_empty(self._nodes[endless]):
                raise InvalidSchema(endless, "no value meets it")
            raise InvalidSchema(endless, "no value of it ever ends: what it requires has no finite value")

    def target(self, node: Schema) -> str:
        """The pointer that its `$ref` stands for."""
        reference = str(node["$ref"])
        return "#" + "".join(f"/{part}" for part in unquote(reference.removeprefix("#")).split("/")[1:])

    def _no_circle(self) -> None:
        done: set[str] = set()
        for start in self._nodes:
            if start in done:
                continue
            open_, way = {start}, [(start, self._leads_to(start))]
            while way:
                pointer, more = way[-1]
                following = next(more, None)
                if following is None:
                    way.pop()
                    open_.discard(pointer)
                    done.add(pointer)
                elif following in open_:
                    raise InvalidSchema(pointer, "it refers to itself, with nothing between")
                elif following not in done:
                    open_.add(following)
                    way.append((following, self._leads_to(following)))

    def _leads_to(self, pointer: str) -> Iterator[str]:
        """The schemas that the same value is held to."""
        node = self._nodes[pointer]
        if "$ref" in node:
            yield self.target(node)
        for name in BRANCHES:
            for index in range(len(node.get(name, ()))):
                yield f"{pointer}/{name}/{index}"

    def _finite(self) -> set[str]:
        """The schemas that some finite value meets."""
        finite: set[str] = set()
        waiting: dict[str, list[str]] = {}
        unseen = list(reversed(self._nodes))  # what is inside first
        while unseen:
            pointer = unseen.pop()
            if blocking := self._blocking(pointer, finite):
                for other in blocking:
                    waiting.setdefault(other, []).append(pointer)
            else:
                finite.add(pointer)
                unseen += waiting.pop(pointer, ())
        return finite

    def _blocking(self, pointer: str, finite: Set[str]) -> Sequence[str]:
        """Nothing where some finite value meets it; else schemas of which one has to be met first."""
        node = self._nodes[pointer]
        if is_empty(node):
            return (pointer,)
        if "const" in node or "enum" in node:
            return ()
        needed = [self.target(node)] if "$ref" in node else []
        needed += [f"{pointer}/allOf/{index}" for index in range(len(node.get("allOf", ())))]
        for name in ("anyOf", "oneOf"):
            parts = [f"{pointer}/{name}/{index}" for index in range(len(node.get(name, ())))]
            if parts and finite.isdisjoint(parts):
                return parts
        kinds = node.get("type", ())
        if not set([kinds] if isinstance(kinds, str) else kinds) - {"object", "array"}:
            places = (_under(f"{pointer}/properties", key) for key in node.get("required", ()))
            needed += [place for place in places if place in self._nodes]
            least, first = node.get("minItems", 0), len(node.get("prefixItems", ()))
            needed += [f"{pointer}/prefixItems/{index}" for index in range(min(least, first))]
            if least > first and f"{pointer}/items" in self._nodes:
                needed.append(f"{pointer}/items")
        missing = next((place for place in needed if place not in finite), None)
        return () if missing is None else (missing,)


def _under(pointer: str, name: str) -> str:
    return f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"


def _type(value: Any, place: str) -> None:
    kinds = value if isinstance(value, list) else [value]
    if not kinds or not all(isinstance(kind, str) and kind in TYPES for kind in kinds):
        raise InvalidSchema(place, f"there are the types {', '.join(sorted(TYPES))}")


def _required(value: Any, place: str) -> None:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise InvalidSchema(place, "a list of names is expected")


def _pattern(value: Any, place: str) -> str:
    """As engines read it."""
    if not isinstance(value, str) or len(value) > MAX_PATTERN:
        raise InvalidSchema(place, f"an expression of at most {MAX_PATTERN} characters is expected")
    try:
        return patterns.followed(value)
    except ValueError as error:
        raise InvalidSchema(place, str(error)) from None


def _format(value: Any, place: str) -> None:
    if value not in FORMATS:
        raise InvalidSchema(place, f"there are the formats {', '.join(sorted(FORMATS))}")


def _reference(value: Any, place: str) -> None:
    if not isinstance(value, str) or not (value == "#" or value.startswith("#/")):
        raise InvalidSchema(place, "a reference leads into the schema itself, as '#/$defs/name' does")


def _count(value: Any, place: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_COUNT:
        raise InvalidSchema(place, f"a whole number from 0 to {MAX_COUNT} is expected")


def _number(value: Any, place: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MAX_NUMBER:
        raise InvalidSchema(place, f"a number of at most {MAX_NUMBER:g} either way is expected")


def _multiple(value: Any, place: str) -> None:
    _number(value, place)
    if value <= 0:
        raise InvalidSchema(place, "a number greater than 0 is expected")


def _size(value: Any, place: str, depth: int = 0) -> int:
    """Characters of a value of an enumeration, roughly."""
    if depth > MAX_VALUE_DEPTH:
        raise InvalidSchema(place, f"a value is nested more than {MAX_VALUE_DEPTH} levels deep")
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(len(name) + _size(part, place, depth + 1) for name, part in value.items())
    if isinstance(value, list):
        return sum(_size(part, place, depth + 1) for part in value)
    if (
        isinstance(value, float) and not abs(value) <= MAX_NUMBER
    ):  # engines write its digits out, which is another number
        raise InvalidSchema(place, f"a number of at most {MAX_NUMBER:g} either way is expected")
    return 8
