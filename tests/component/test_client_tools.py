"""Tools of the client's that are no functions to it: custom tools; patches and shell commands in responses."""

import json
from typing import Any

import pytest

from tests.component.test_tools import events, guide
from tests.support.running import MODEL, Fleet

TEXT = 'select "a"\nfrom t'
CUSTOM = {"type": "custom", "name": "sql", "description": "Runs SQL."}
CHAT_CUSTOM = {"type": "custom", "custom": {"name": "sql"}}
FUNCTION = {"type": "function", "function": {"name": "time"}}
OPERATION = {"type": "update_file", "path": "a.py", "diff": "@@\n-a\n+b"}
ACTION = {"type": "exec", "command": ["ls", "-l"], "env": {}}
ARGUMENTS: dict[str, Any] = {
    "sql": {"input": TEXT},
    "apply_patch": {"operation": OPERATION},
    "local_shell": {"command": ACTION["command"]},
}
SHOWN: dict[str, Any] = {
    "sql": {"type": "custom_tool_call", "name": "sql", "input": TEXT},
    "apply_patch": {"type": "apply_patch_call", "operation": OPERATION},
    "local_shell": {"type": "local_shell_call", "action": ACTION},
}
TOOLS: dict[str, dict[str, Any]] = {
    "sql": CUSTOM,
    "apply_patch": {"type": "apply_patch"},
    "local_shell": {"type": "local_shell"},
}
OUTPUTS: dict[str, dict[str, Any]] = {
    "sql": {"type": "custom_tool_call_output", "output": "one row"},
    "apply_patch": {"type": "apply_patch_call_output", "status": "failed", "output": "one row"},
    "local_shell": {"type": "local_shell_call_output", "output": "one row"},
}
ASKED = [{"role": "user", "content": "?"}]
WIDE = {"max_tokens": 300}


def written(name: str) -> str:
    return json.dumps({"name": name, "arguments": ARGUMENTS[name]})


async def test_a_chat_calls_a_custom_tool_with_a_text(fleet: Fleet) -> None:
    fleet.says(written("sql"))
    choice = (await fleet.chat(tools=[CHAT_CUSTOM, FUNCTION], tool_choice=CHAT_CUSTOM, **WIDE)).json["choices"][0]
    (call,) = choice["message"]["tool_calls"]
    assert (call["type"], call["custom"], choice["finish_reason"]) == (
        "custom",
        {"name": "sql", "input": TEXT},
        "tool_calls",
    )
    assert call["id"].startswith("call_")
    result = {"role": "tool", "tool_call_id": call["id"], "content": "one row"}
    fleet.says("One row.")
    reply = await fleet.chat(messages=[*ASKED, choice["message"], result], tools=[CHAT_CUSTOM])
    assert reply.json["choices"][0]["message"]["content"] == "One row."


async def test_a_chat_streams_it_whole_beside_functions_in_pieces(fleet: Fleet) -> None:
    fleet.says(f'[{written("sql")}, {{"name": "time", "arguments": {{"a": 1}}}}, {written("sql")}]')
    body = {"messages": ASKED, "tools": [CHAT_CUSTOM, FUNCTION], "parallel_tool_calls": True, **WIDE}
    found = await events(fleet, "/v1/chat/completions", {**body, "tool_choice": "required"})
    pieces = [call for each in found for call in each["choices"][0]["delta"].get("tool_calls", [])]
    custom = [each for each in pieces if each["index"] != 1]
    assert [(each["index"], each["custom"]) for each in custom] == [
        (0, {"name": "sql", "input": TEXT}),
        (2, {"name": "sql", "input": TEXT}),
    ]
    assert "".join(each["function"]["arguments"] for each in pieces if each["index"] == 1) == '{"a": 1}'
    assert found[-1]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("name", TOOLS)
async def test_a_response_calls_it_and_its_result_is_told(fleet: Fleet, name: str) -> None:
    fleet.says(written(name))
    body = {"model": MODEL, "input": "?", "tools": [TOOLS[name]], "tool_choice": "required", "max_output_tokens": 300}
    made = (await fleet.post(body, path="/v1/responses")).json
    (item,) = made["output"]
    assert item.items() >= {**SHOWN[name], "status": "completed"}.items()
    assert made["tools"] == [TOOLS[name]]
    result = {**OUTPUTS[name], "call_id": item["call_id"]}
    if name == "local_shell":
        result = {**OUTPUTS[name], "id": item["id"]}
    fleet.says("Done.")
    second = {**body, "tool_choice": "auto", "previous_response_id": made["id"], "input": [result]}
    reply = (await fleet.post(second, path="/v1/responses")).json
    assert reply["output"][0]["content"][0]["text"] == "Done."
    listed = (await fleet.get(f"/v1/responses/{reply['id']}/input_items")).json["data"]
    assert listed[0]["type"] == OUTPUTS[name]["type"]


@pytest.mark.parametrize("name", TOOLS)
async def test_events_tell_of_it_when_it_is_complete(fleet: Fleet, name: str) -> None:
    fleet.says(written(name))
    body = {"input": "?", "tools": [TOOLS[name]], "tool_choice": "required", "max_output_tokens": 300}
    found = await events(fleet, "/v1/responses", body)
    told = [each for each in found if each["type"].startswith(("response.output_item", "response.custom"))]
    assert [each["item"]["status"] for each in told if "item" in each] == ["in_progress", "completed"]
    assert told[-1]["item"].items() >= SHOWN[name].items()
    assert found[-1]["response"]["output"] == [told[-1]["item"]]
    kinds = [each["type"].partition(".")[2] for each in told]
    between = ["custom_tool_call_input.delta", "custom_tool_call_input.done"] if name == "sql" else []
    assert kinds == ["output_item.added", *between, "output_item.done"]
    assert [each["sequence_number"] for each in found] == list(range(len(found)))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_patch_that_cannot_be_read_is_left_out(fleet: Fleet, stream: bool) -> None:
    fleet.says('{"name": "apply_patch", "arguments": {"operation": {"type": "rename_file"}}}')
    body = {"input": "?", "tools": [TOOLS["apply_patch"]], "max_output_tokens": 300}
    if stream:
        made = (await events(fleet, "/v1/responses", body))[-1]["response"]
    else:
        made = (await fleet.post({"model": MODEL, **body}, path="/v1/responses")).json
    assert not [each for each in made["output"] if each["type"] != "message"]


async def test_an_expression_guides_the_text(fleet: Fleet) -> None:
    grammar = {"type": "grammar", "grammar": {"syntax": "regex", "definition": "[a-z]+|[0-9]+"}}
    await fleet.chat(tools=[{"type": "custom", "custom": {"name": "code", "format": grammar}}], tool_choice="required")
    schema = json.loads(guide(fleet)[1])
    assert schema["$defs"]["f0"]["properties"]["input"]["pattern"] == "^(?:[a-z]+|[0-9]+)$"


@pytest.mark.parametrize("verbosity", ["low", "medium", "high"])
async def test_models_are_told_in_words_how_long_to_be(fleet: Fleet, verbosity: str) -> None:
    for path, body in (
        ("chat/completions", {"messages": [{"role": "system", "content": "Be kind."}, *ASKED], "verbosity": verbosity}),
        ("responses", {"input": "?", "instructions": "Be kind.", "text": {"verbosity": verbosity}}),
    ):
        reply = await fleet.post({"model": MODEL, **body}, path=f"/v1/{path}")
        assert reply.status == 200, reply.raw
        inputs = {each["name"]: each["data"][0] for each in fleet.calls("prompt")[-1].body["inputs"]}
        first = json.loads(inputs["messages"])[0]["content"]
        assert first.startswith("Be kind.")
        assert (first == "Be kind.") == (verbosity == "medium")
    assert reply.json["text"]["verbosity"] == verbosity


def _chat_custom(**form: Any) -> dict[str, Any]:
    return {"tools": [{"type": "custom", "custom": {"name": "sql", "format": form}}]}


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("chat", {"tools": [CUSTOM]}, "tools.0.custom"),
    ("chat", {"tools": [{"type": "apply_patch"}]}, "tools.0.type"),
    ("chat", {"tools": [{"type": "custom", "custom": {"name": "a b"}}]}, "tools.0.custom.name"),
    ("chat", _chat_custom(type="xml"), "tools.0.custom.format.type"),
    ("chat", _chat_custom(type="grammar"), "tools.0.custom.format.grammar"),
    (
        "chat",
        _chat_custom(type="grammar", grammar={"syntax": "lark", "definition": "start: A"}),
        "tools.0.custom.format.grammar.syntax",
    ),
    (
        "chat",
        _chat_custom(type="grammar", grammar={"syntax": "regex", "definition": "(?=a)"}),
        "tools.0.custom.format",
    ),
    ("chat", {"tools": [CHAT_CUSTOM], "tool_choice": {"type": "function", "function": {"name": "sql"}}}, "tool_choice"),
    ("chat", {"tools": [CHAT_CUSTOM], "tool_choice": {"type": "custom", "name": "sql"}}, "tool_choice.custom"),
    ("chat", {"verbosity": "long"}, "verbosity"),
    ("responses", {"tools": [{"type": "web_search"}]}, "tools.0.type"),
    ("responses", {"tools": [{**CUSTOM, "defer_loading": True}]}, "tools.0.defer_loading"),
    ("responses", {"tools": [{**CUSTOM, "allowed_callers": ["programmatic"]}]}, "tools.0.allowed_callers.0"),
    ("responses", {"tools": [{"type": "apply_patch", "name": "x"}]}, "tools.0.name"),
    ("responses", {"tools": [CUSTOM, {"type": "function", "name": "sql"}]}, "tools"),
    ("responses", {"tools": [CUSTOM], "tool_choice": {"type": "apply_patch"}}, "tool_choice"),
    ("responses", {"input": [{"type": "custom_tool_call_output", "call_id": "x", "output": "y"}]}, "input.0.call_id"),
    (
        "responses",
        {"input": [{"type": "apply_patch_call", "call_id": "x", "status": "completed", "operation": {"type": "x"}}]},
        "input.0.operation",
    ),
    ("responses", {"input": [{"type": "local_shell_call", "id": "a", "call_id": "x"}]}, "input.0.action"),
    ("responses", {"text": {"verbosity": "long"}}, "text.verbosity"),
]


async def test_every_wrong_field_is_named(fleet: Fleet) -> None:
    paths = {"chat": ("/v1/chat/completions", {"messages": ASKED}), "responses": ("/v1/responses", {"input": "?"})}
    wrong: list[str] = []
    for path, fields, param in WRONG:
        where, asked = paths[path]
        reply = await fleet.post({"model": MODEL, **asked, **fields}, path=where)
        if reply.status != 400 or reply.error["param"] != param:
            wrong.append(f"{str(fields)[:200]} should name {param}: {reply.status} {reply.raw.decode()[:300]}")
    assert not wrong, "\n".join(wrong)
    assert not fleet.calls()
