"""What an answer must be, from each parameter that can say so to the engine."""

import json
from typing import Any

import pytest

from gateway.triton.fake_answers import Script
from tests.support.running import MODEL, Fleet

SCHEMA = {
    "type": "object",
    "properties": {"days": {"type": "integer"}},
    "required": ["days"],
    "additionalProperties": False,
}
NAMED = {"name": "answer", "schema": SCHEMA, "strict": True}
WAYS: list[tuple[dict[str, Any], tuple[str | None, Any]]] = [
    ({}, (None, None)),
    ({"response_format": {"type": "text"}}, (None, None)),
    ({"response_format": {"type": "json_object"}}, ("json", "")),
    ({"response_format": {"type": "json_schema", "json_schema": NAMED}}, ("json_schema", SCHEMA)),
    ({"guided_json": SCHEMA}, ("json_schema", SCHEMA)),
    ({"guided_json": json.dumps(SCHEMA)}, ("json_schema", SCHEMA)),
    ({"guided_regex": "[0-9]+"}, ("regex", "[0-9]+")),
    ({"guided_grammar": 'root ::= "a"'}, ("ebnf_grammar", 'root ::= "a"')),
    ({"guided_choice": ["yes", 'say "no?"']}, ("regex", 'yes|say "no\\?"')),
    ({"structured_outputs": {"json": SCHEMA}}, ("json_schema", SCHEMA)),
    ({"structured_outputs": {"regex": "a+"}}, ("regex", "a+")),
    ({"structured_outputs": {"choice": ["a"]}}, ("regex", "a")),
    ({"structured_outputs": {"json_object": True}}, ("json", "")),
]


@pytest.mark.parametrize("path", ["chat/completions", "completions", "responses"])
async def test_each_way_reaches_the_engine(fleet: Fleet, path: str) -> None:
    asked = {
        "chat/completions": {"messages": [{"role": "user", "content": "?"}]},
        "completions": {"prompt": "?"},
        "responses": {"input": "?"},
    }[path]
    for fields, (kind, text) in WAYS:
        given = dict(fields)
        if path == "responses" and "response_format" in given:
            form = given.pop("response_format")
            given["text"] = {"format": {"type": form["type"], **form.get("json_schema", {})}}
        reply = await fleet.post({"model": MODEL, **asked, **given}, path=f"/v1/{path}")
        assert reply.status == 200, (given, reply.raw)
        body = fleet.calls()[-1].body
        found = body.get("guided_decoding_guide")
        assert body.get("guided_decoding_guide_type") == kind
        assert (_schema(found) if kind == "json_schema" else found) == text


def _schema(guide: str) -> Any:
    """Without what is for the engine alone."""
    return {name: value for name, value in json.loads(guide).items() if name != "x-guidance"}


@pytest.mark.parametrize("path", ["chat/completions", "responses"])
async def test_a_schema_that_cannot_be_followed_is_refused_with_its_place(fleet: Fleet, path: str) -> None:
    loose = {"type": "object", "properties": {"a/b": {"type": "object"}}, "required": ["a/b"]}
    for schema, strict, place in (
        (loose | {"additionalProperties": False}, True, "#/properties/a~1b"),
        ({"type": "object", "properties": {}}, True, "#"),
        ({"type": "array", "items": {"$ref": "#/nowhere"}}, False, "#/items/$ref"),
        ({"$ref": "#"}, False, "#"),
        ({"properties": {"a": {"$ref": "#"}}, "required": ["a"], "type": "object"}, False, "#/properties/a"),
    ):
        named = {"name": "it", "schema": schema, "strict": strict}
        asked: dict[str, Any] = {"input": "?", "text": {"format": {"type": "json_schema", **named}}}
        if path == "chat/completions":
            form = {"type": "json_schema", "json_schema": named}
            asked = {"messages": [{"role": "user", "content": "?"}], "response_format": form}
        reply = await fleet.post({"model": MODEL, **asked}, path=f"/v1/{path}")
        assert (reply.status, reply.error["code"]) == (400, "invalid_json_schema")
        assert reply.error["param"] in ("response_format.json_schema.schema", "text.format.schema")
        assert f"at '{place}':" in reply.error["message"]
    assert not fleet.calls()


@pytest.mark.parametrize("stream", [False, True])
async def test_an_engine_that_cannot_says_so_by_the_clients_name(fleet: Fleet, stream: bool) -> None:
    refusal = Script(status=400, error="llm: bad request: guided_decoding_guide: this engine has no guidance")
    for fields, param in (
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"guided_regex": "a"}, "guided_regex"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "required"}, "tools"),
    ):
        fleet.answers.script("llm", refusal)
        reply = await fleet.chat(stream=stream, **fields)
        assert (reply.status, reply.error["param"]) == (400, param)
        assert "no guidance" in reply.error["message"]


async def test_a_format_leaves_room_for_calls(fleet: Fleet) -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    form = {"type": "json_schema", "json_schema": NAMED}
    fleet.says('{"days": 30}')
    reply = await fleet.chat(tools=[tool], response_format=form)
    assert reply.json["choices"][0]["message"]["content"] == '{"days": 30}'
    fleet.says('{"name": "f", "arguments": {}}')
    reply = await fleet.chat(tools=[tool], response_format=form, max_tokens=100)
    assert reply.json["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "f"
    schema = _schema(fleet.calls()[-1].body["guided_decoding_guide"])
    assert schema["$defs"]["answer"] == SCHEMA
    assert schema["anyOf"][1] == {"$ref": "#/$defs/answer"}


async def test_a_responses_format_is_told_back(fleet: Fleet) -> None:
    form = {"type": "json_schema", **NAMED}
    reply = await fleet.post({"model": MODEL, "input": "?", "text": {"format": form}}, path="/v1/responses")
    assert reply.json["text"]["format"] == form
