"""Schemas that an answer can be held to: what is refused, where, and what reaches an engine."""

import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gateway.errors import BadRequest
from gateway.serving.decoding_guide import Guide, GuideKind
from gateway.serving.json_schema import MAX_WORDS, InvalidSchema, checked
from tests.support.json_schemas import schema as generated

NAME = {"type": "string"}


def an_object(**properties: Any) -> dict[str, Any]:
    """A strict one."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def nested(levels: int) -> dict[str, Any]:
    made: dict[str, Any] = NAME
    for _ in range(levels):
        made = an_object(a=made)
    return made


@pytest.mark.parametrize(
    ("schema", "pointer", "why"),
    [
        ({"type": "string"}, "#", "'type' 'object'"),
        ({"anyOf": [an_object(a=NAME)]}, "#", "'type' 'object'"),
        ({"type": "object", "properties": {"a": NAME}, "required": ["a"]}, "#", "'additionalProperties'"),
        (an_object(a=NAME) | {"required": []}, "#/required", "'a' is missing"),
        (an_object(a={"type": "object"}), "#/properties/a", "'additionalProperties'"),
        (an_object(a={"not": NAME}), "#/properties/a/not", "'not' is not permitted"),
        (an_object(a={"oneOf": [NAME]}), "#/properties/a/oneOf", "'oneOf' is not permitted"),
        (an_object(a={"if": NAME}), "#/properties/a/if", "not permitted"),
        (an_object(**{"a/b~": {"foo": 1}}), "#/properties/a~1b~0/foo", "not permitted"),
        (an_object(a={"type": "string", "format": "colour"}), "#/properties/a/format", "there are the formats"),
        (nested(11), "#" + "/properties/a" * 10, "10 levels"),
        (an_object(**{f"n{i}": NAME for i in range(5001)}), "#/properties", "5000 properties"),
        (an_object(a={"enum": list(range(1001))}), "#/properties/a/enum", "1000 values"),
        (an_object(a={"enum": [str(i) * 20 for i in range(300)]}), "#/properties/a/enum", "15000 characters"),
        (an_object(a={"enum": ["x" * 120_001]}), "#/properties/a/enum", "120000 characters"),
    ],
)
def test_strict_schemas_keep_to_openais_subset(schema: dict[str, Any], pointer: str, why: str) -> None:
    with pytest.raises(InvalidSchema) as caught:
        checked(schema, strict=True)
    assert caught.value.pointer == pointer
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("schema", "pointer"),
    [
        ([], "#"),
        ({"type": "strin"}, "#/type"),
        ({"type": []}, "#/type"),
        ({"properties": []}, "#/properties"),
        ({"properties": {"a": 3}}, "#/properties/a"),
        ({"anyOf": []}, "#/anyOf"),
        ({"anyOf": [{"type": 3}]}, "#/anyOf/0/type"),
        ({"enum": "abc"}, "#/enum"),
        ({"required": "abc"}, "#/required"),
        ({"required": [3]}, "#/required"),
        ({"pattern": "a(?=b)"}, "#/pattern"),
        ({"pattern": r"(a)\1"}, "#/pattern"),
        ({"pattern": "a" * 1001}, "#/pattern"),
        ({"minItems": -1}, "#/minItems"),
        ({"maxLength": 10**9}, "#/maxLength"),
        ({"minLength": True}, "#/minLength"),
        ({"minimum": 1e300}, "#/minimum"),
        ({"maximum": "3"}, "#/maximum"),
        ({"multipleOf": 0}, "#/multipleOf"),
        ({"minItems": 3, "maxItems": 2}, "#/minItems"),
        ({"$ref": "http://example.org/a"}, "#/$ref"),
        ({"$ref": "#/$defs/a"}, "#/$ref"),
        ({"$ref": "#"}, "#"),
        ({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, NAME]}}, "$ref": "#/$defs/a"}, "#/$defs/a"),
        ({"properties": {"a": {"$ref": "#"}}, "required": ["a"], "type": "object"}, "#/properties/a"),
        ({"type": "array", "items": {"$ref": "#"}, "minItems": 1}, "#/items"),
        ({"enum": []}, "#"),
        (nested(33), "#" + "/properties/a" * 32),
        ({"const": [[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]}, "#/const"),
    ],
)
def test_what_no_answer_can_be_held_to_is_refused_with_its_place(schema: Any, pointer: str) -> None:
    with pytest.raises(InvalidSchema) as caught:
        checked(schema, strict=False)
    assert caught.value.pointer == pointer


@pytest.mark.parametrize(
    "schema",
    [
        an_object(),
        an_object(a=NAME, b={"type": ["integer", "null"]}, c={"anyOf": [NAME, {"type": "null"}]}),
        an_object(a={"enum": ["x", 1, None]}, b={"const": "y"}, c={"type": "array", "items": NAME, "maxItems": 3}),
        an_object(next={"anyOf": [{"$ref": "#"}, {"type": "null"}]}),
        {"$ref": "#/$defs/n", "$defs": {"n": an_object(v=NAME, c={"type": "array", "items": {"$ref": "#/$defs/n"}})}},
        nested(9),
    ],
)
def test_good_strict_schemas_go_to_the_engine_as_they_are(schema: dict[str, Any]) -> None:
    assert checked(schema, strict=True) == schema


def test_annotations_go_and_so_does_what_no_engine_follows_unless_it_is_strict() -> None:
    schema = {"title": "T", "$schema": "s", "type": "object", "properties": {"title": NAME | {"default": ""}}}
    assert checked(schema | {"not": {}, "foo": 1}, strict=False) == {"type": "object", "properties": {"title": NAME}}
    assert checked({"type": "string", "format": "colour"}, strict=False) == NAME
    assert checked({"type": "array", "items": [NAME]}, strict=False) == {"type": "array", "prefixItems": [NAME]}


def test_generated_schemas_are_taken_and_mean_what_they_meant() -> None:
    for seed in range(60):
        schema = generated(seed)
        assert Draft202012Validator(checked(schema, strict=False)).check_schema(schema) is None
        assert checked(schema, strict=False) == schema


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "properties",
                    "items",
                    "anyOf",
                    "$ref",
                    "required",
                    "enum",
                    "minItems",
                    "$defs",
                    "a",
                    "pattern",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values, st.booleans())
def test_whatever_comes_is_taken_or_refused(schema: Any, strict: bool) -> None:
    refused = ""
    try:
        checked(schema, strict=strict)
    except InvalidSchema as error:
        refused = error.pointer
    assert not refused or refused.startswith("#")


def test_a_chain_of_references_in_any_order_is_followed() -> None:
    names = [f"n{i}" for i in range(3000)]
    following = dict(itertools.pairwise(names))
    random.Random(1).shuffle(names)
    defs = {name: {"$ref": f"#/$defs/{following[name]}"} if name in following else NAME for name in names}
    schema = {"$defs": defs, "$ref": "#/$defs/n0"}
    assert checked(schema, strict=False) == schema


def test_a_schema_is_refused_in_the_clients_words() -> None:
    with pytest.raises(BadRequest) as caught:
        Guide.json_schema(an_object(a={"not": {}}), strict=True, param="response_format")
    assert caught.value.message.startswith("Invalid schema at '#/properties/a/not': 'not' is not permitted")
    assert (caught.value.param, caught.value.code) == ("response_format", "invalid_json_schema")


def test_the_guides_of_the_other_kinds() -> None:
    assert Guide.json_object() == Guide(GuideKind.JSON, "")
    assert Guide.choice(["a.b", "c|d", "é\n"]) == Guide(GuideKind.REGEX, "a\\.b|c\\|d|é\n")
    assert Guide.grammar('root ::= "a"').kind is GuideKind.EBNF_GRAMMAR
    for wrong in ("", "x" * 200_000):
        with pytest.raises(BadRequest) as caught:
            Guide.regex(wrong, param="guided_regex")
        assert caught.value.param == "guided_regex"


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": f"#/{'a/' * 5000}"},
        {"properties": {"n" * 10_000: {"type": "nothing"}}},
        {"properties": {"n" * 10_000: {"$ref": f"#/{'b' * 10_000}"}}},
        {"type": "object", "n" * 10_000: 1},
    ],
    ids=["a reference", "a name", "both", "a keyword"],
)
def test_what_a_client_named_is_repeated_up_to_a_bound(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidSchema) as refused:
        checked(schema, strict=True)
    assert len(str(refused.value)) <= 2 * MAX_WORDS + 10


EMPTY = [
    {"type": "integer", "minimum": 1.5, "maximum": 1.7},
    {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    {"type": "number", "exclusiveMinimum": 5, "maximum": 5},
    {"type": "number", "minimum": 5, "exclusiveMaximum": 2},
    {"type": "integer", "multipleOf": 7, "minimum": 1, "maximum": 5},
    {"type": "integer", "multipleOf": 1.5, "minimum": 1, "maximum": 2},
    {"type": "string", "enum": [1]},
    {"type": "integer", "const": 2.5},
    {"type": "boolean", "enum": [0, 1]},
    {"type": "integer", "enum": [1, 2], "minimum": 3},
    {"type": "string", "const": "abc", "maxLength": 2},
    {"enum": []},
]
FULL = [
    {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 2},
    {"type": "number", "minimum": 5, "maximum": 5},
    {"type": "number", "multipleOf": 0.1, "minimum": 0.25, "maximum": 0.3},
    {"type": "integer", "multipleOf": 1.5, "minimum": 1, "maximum": 3},
    {"type": ["integer", "null"], "minimum": 1.5, "maximum": 1.7},
    {"type": "integer", "enum": [1, 2.0, 3.5], "minimum": 2},
    {"minimum": 3, "exclusiveMaximum": 3},
]


@pytest.mark.parametrize("strict", [True, False])
def test_what_no_value_meets_is_named(strict: bool) -> None:
    for part in EMPTY:
        with pytest.raises(InvalidSchema, match="#/properties/a'"):
            checked(an_object(a=part), strict=strict)
        choice = {"anyOf": [part, {"type": "null"}]}
        assert checked(an_object(a=choice), strict=strict), "another one can be met"
    for part in FULL:
        assert checked(an_object(a=part), strict=strict)


EMPTY_OBJECTS_AND_LISTS = [
    {"type": "object", "properties": {"a": NAME}, "required": ["b"], "additionalProperties": False},
    {"type": "object", "properties": {"a": NAME}, "minProperties": 2, "additionalProperties": False},
    {"type": "object", "required": ["a", "b"], "maxProperties": 1},
    {"type": "array", "items": [NAME], "additionalItems": False, "minItems": 2},
    {"type": ["integer", "object"], "minimum": 2.1, "maximum": 2.9, "required": ["b"], "additionalProperties": False},
]
FULL_OBJECTS_AND_LISTS = [
    {"type": "object", "properties": {"a": NAME}, "required": ["b"]},
    {"type": "object", "properties": {"a": NAME}, "minProperties": 2},
    {"type": "object", "required": ["b"], "additionalProperties": NAME},
    {"type": "object", "patternProperties": {"b": NAME}, "required": ["b"], "additionalProperties": False},
    {"type": ["object", "null"], "required": ["b"], "additionalProperties": False},
    {"type": "array", "items": [NAME], "additionalItems": False, "minItems": 1},
    {"type": "array", "items": [NAME], "minItems": 2},
]


def test_objects_and_lists_that_cannot_be_are_named() -> None:
    for part in EMPTY_OBJECTS_AND_LISTS:
        with pytest.raises(InvalidSchema, match="#/properties/a'"):
            checked(an_object(a=part), strict=False)
    for part in FULL_OBJECTS_AND_LISTS:
        assert checked(an_object(a=part), strict=False)


def test_numbers_that_engines_would_write_otherwise_are_refused() -> None:
    for part in ({"const": 1e300}, {"enum": [1, -1e17]}, {"const": {"a": [1e16]}}):
        with pytest.raises(InvalidSchema, match="at most"):
            checked(an_object(a=part), strict=True)
    assert checked(an_object(a={"const": 12345678901234567}), strict=True), "to the last digit"
