"""What makes an engine write calls: their schema, who decides whether there is one, and bounds for small models."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gateway.serving.decoding_guide import Guide, GuideKind
from gateway.serving.generation_request import GenerationRequest, SamplingParameters
from gateway.serving.guide_bounds import MAX_ITEMS, bounded
from gateway.serving.json_schema import InvalidSchema, checked
from gateway.serving.tool_calling import ToolCalling, calls_schema
from gateway.serving.tool_decision import decided
from gateway.serving.tools import FunctionTool, ToolUse
from gateway.setting_values import ToolDecision, ToolFormat


def function(name: str, schema: dict[str, Any] | None = None, about: str = "") -> FunctionTool:
    schema = schema or {"type": "object", "properties": {}}
    return FunctionTool(name=name, description=about, parameters=schema, followed=schema)


NODE = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}}
LIST = {
    "type": "object",
    "properties": {"head": {"$ref": "#/$defs/node"}},
    "$defs": {"node": NODE},
    "required": ["head"],
}
TREE = {"type": "object", "properties": {"left": {"$ref": "#"}, "value": {"type": "integer"}}, "required": ["value"]}
REFERENCE = {"type": "object", "properties": {"v": {"const": {"$ref": "#/x"}}}}
TOOLS = ToolUse(
    functions=(function("walk", LIST), function("grow", TREE), function("mark", REFERENCE), function("stop"))
)


@pytest.mark.parametrize(
    ("call", "valid"),
    [
        ({"name": "walk", "arguments": {"head": {"next": {"next": None}}}}, True),
        ({"name": "walk", "arguments": {}}, False),
        ({"name": "walk", "arguments": {"head": {"next": 7}}}, False),
        ({"name": "grow", "arguments": {"value": 1, "left": {"value": 2}}}, True),
        ({"name": "grow", "arguments": {"value": 1, "left": {"value": "2"}}}, False),
        ({"name": "mark", "arguments": {"v": {"$ref": "#/x"}}}, True),
        ({"name": "stop", "arguments": {}}, True),
        ({"name": "stop", "arguments": {"more": 1}}, False),
        ({"name": "other", "arguments": {}}, False),
        ({"name": "stop"}, False),
        ({"name": "stop", "arguments": {}, "more": 1}, False),
    ],
)
def test_a_call_is_held_to_its_own_functions_schema(call: dict[str, Any], valid: bool) -> None:
    """References of each schema find what they mean, though it stands within a larger one now."""
    schema = calls_schema(TOOLS)
    Draft202012Validator.check_schema(schema)
    assert Draft202012Validator(schema).is_valid(call) == valid


def test_several_calls_and_an_answer_beside_them() -> None:
    several = ToolUse(functions=TOOLS.functions, parallel=True)
    answer = {"type": "object", "properties": {"days": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}}
    validator = Draft202012Validator(calls_schema(several, answer))
    call = {"name": "stop", "arguments": {}}
    assert validator.is_valid([call, call])
    assert validator.is_valid({"days": 3})
    assert not validator.is_valid([])
    assert not validator.is_valid({"days": "3"})


def test_a_model_without_a_way_of_its_own_has_text_or_a_call_under_one_grammar() -> None:
    guide = ToolCalling(ToolFormat.JSON).guide(TOOLS, None)
    assert guide is not None
    assert guide.kind is GuideKind.EBNF_GRAMMAR
    assert ToolCalling(ToolFormat.HERMES).guide(TOOLS, None) is None


def asked(*messages: tuple[str, str], required: bool = False) -> GenerationRequest:
    functions = (
        function("get_weather", about="Get the weather in a city."),
        function("searchOrders", about="Find the orders of a customer."),
    )
    return GenerationRequest(
        id="r",
        route="chat",
        model="m",
        text_param="messages",
        messages=[{"role": role, "content": content} for role, content in messages],
        sampling=SamplingParameters(),
        tools=ToolUse(functions=functions, required=required),
    )


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("What is the weather in Bonn?", ["get_weather"]),
        ("Which orders has the customer Miller?", ["searchOrders"]),
        ("How do I get to the station?", []),
        ("Hello!", []),
    ],
)
def test_words_decide_for_a_model_that_cannot(question: str, names: list[str]) -> None:
    tools = decided(asked(("user", question))).tools
    assert [each.name for each in (tools.functions if tools else ())] == names
    assert tools is None or tools.required


def test_what_a_function_gave_is_answered_in_words() -> None:
    request = asked(("user", "What is the weather in Bonn?"), ("assistant", ""), ("tool", "Rain."))
    assert decided(request).tools is None
    again = asked(*[(m["role"], m["content"]) for m in request.messages], ("user", "And the weather in Rome?"))
    assert decided(again).tools is not None


def test_what_the_client_demands_is_not_decided_anew() -> None:
    request = asked(("user", "Hello!"), required=True)
    assert decided(request) is request
    model = ToolCalling(ToolFormat.JSON, ToolDecision.MODEL)
    open_choice = asked(("user", "Hello!"))
    assert model.decided(open_choice) is open_choice


SCHEMAS: list[tuple[Any, Any]] = [
    ({"type": "string"}, {"type": "string", "maxLength": 9}),
    ({"type": ["string", "null"]}, {"type": ["string", "null"], "maxLength": 9}),
    ({"type": "string", "minLength": 20}, {"type": "string", "minLength": 20, "maxLength": 20}),
    ({"type": "string", "maxLength": 99}, {"type": "string", "maxLength": 99}),
    ({"type": "string", "enum": ["a"]}, {"type": "string", "enum": ["a"]}),
    ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
    ({"const": {"type": "string"}}, {"const": {"type": "string"}}),
    (
        {"type": "array", "items": {"type": "string"}},
        {"type": "array", "items": {"type": "string", "maxLength": 9}, "maxItems": MAX_ITEMS},
    ),
    ({"properties": {"type": {"type": "string"}}}, {"properties": {"type": {"type": "string", "maxLength": 9}}}),
    ({"type": "integer"}, {"type": "integer", "minimum": -(10**15), "maximum": 10**15}),
    ({"type": "integer", "minimum": 3}, {"type": "integer", "minimum": 3, "maximum": 10**15}),
    ({"type": "integer", "exclusiveMaximum": 3}, {"type": "integer", "exclusiveMaximum": 3, "minimum": -(10**15)}),
    ({"type": "number"}, {"type": "number", "minimum": -(10**15), "maximum": 10**15, "multipleOf": 1e-6}),
    (
        {"type": "number", "minimum": 0, "maximum": 1},
        {"type": "number", "minimum": 0, "maximum": 1, "multipleOf": 1e-6},
    ),
    ({"type": "integer", "minimum": 10**16}, {"type": "integer", "minimum": 10**16}),
    ({"type": "integer", "exclusiveMaximum": -(10**15)}, {"type": "integer", "exclusiveMaximum": -(10**15)}),
    ({"type": "number", "minimum": 1e-9, "maximum": 2e-9}, {"type": "number", "minimum": 1e-9, "maximum": 2e-9}),
    ({"type": "integer", "enum": [1]}, {"type": "integer", "enum": [1]}),
    ({"properties": {"type": {"const": 1}}}, {"properties": {"type": {"const": 1}}}),
]


@pytest.mark.parametrize(("schema", "expected"), SCHEMAS)
def test_what_has_no_end_gets_one(schema: Any, expected: Any) -> None:
    guide = Guide(GuideKind.JSON_SCHEMA, json.dumps(schema))
    made = bounded(guide, 9)
    assert made is not None
    assert json.loads(made.text) == expected
    assert bounded(guide, 0) is guide
    assert bounded(None, 9) is None


NAMES = st.sampled_from("abc")
LOOSE = st.recursive(
    st.just({"type": "boolean"}),
    lambda inner: st.fixed_dictionaries(
        {"type": st.just("object"), "properties": st.dictionaries(NAMES, inner, max_size=2)},
        optional={
            "required": st.lists(NAMES, unique=True, max_size=2),
            "minProperties": st.integers(0, 3),
            "maxProperties": st.integers(0, 3),
        },
    ),
    max_leaves=4,
)


@given(st.dictionaries(NAMES, LOOSE, max_size=2), st.lists(NAMES, unique=True, max_size=2))
def test_a_function_that_can_be_called_can_be_under_a_grammar(places: dict[str, Any], required: list[str]) -> None:
    """Clients require what they do not describe: such an object stays open, since nothing would meet it closed."""
    try:
        followed = checked({"type": "object", "properties": places, "required": required}, strict=False)
    except InvalidSchema:
        return
    assert checked(calls_schema(ToolUse(functions=(function("f", dict(followed)),))), strict=False)
