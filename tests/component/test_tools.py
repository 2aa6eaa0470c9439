"""Function tools in chats and responses: what an engine is asked for, and how its calls reach the client."""

import json
from typing import Any

import pytest

from gateway.setting_values import ToolFormat
from tests.support.running import MODEL, Fleet

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "weather", "description": "The weather in a city.", "parameters": PARAMETERS}
TOOL = {"type": "function", "function": WEATHER}
TIME = {"type": "function", "function": {"name": "time"}}
CALL = '{"name": "weather", "arguments": {"city": "Bonn"}}'
ARGUMENTS = '{"city": "Bonn"}'
SEARCH = {"type": "file_search", "vector_store_ids": ["handbook"]}
WIDE = {"max_tokens": 200}


def guide(fleet: Fleet) -> Any:
    """What the engine was asked to write, the last time."""
    body = fleet.calls()[-1].body
    return body.get("guided_decoding_guide_type"), body.get("guided_decoding_guide")


def told_tools(fleet: Fleet, model: str = "prompt") -> Any:
    """The tools that the prompt was made with, the last time."""
    inputs = {tensor["name"]: tensor["data"][0] for tensor in fleet.calls(model)[-1].body["inputs"]}
    return json.loads(inputs["tools"]) if "tools" in inputs else None


async def events(fleet: Fleet, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    async with fleet.http.post(path, json={"model": MODEL, "stream": True, **body}) as response:
        assert response.status == 200, await response.text()
        lines = (await response.text()).splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


async def test_a_call_comes_whole(fleet: Fleet) -> None:
    fleet.says(CALL)
    choice = (await fleet.chat(tools=[TOOL, TIME], tool_choice="required", **WIDE)).json["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    message = choice["message"]
    assert message["content"] is None
    (call,) = message["tool_calls"]
    assert call["id"].startswith("call_")
    assert (call["type"], call["function"]) == ("function", {"name": "weather", "arguments": ARGUMENTS})
    assert [each["function"]["name"] for each in told_tools(fleet)] == ["weather", "time"]


async def test_a_call_comes_in_pieces(fleet: Fleet) -> None:
    fleet.says(CALL)
    found = await events(
        fleet, "/v1/chat/completions", {"messages": [{"role": "user", "content": "?"}], "tools": [TOOL], **WIDE}
    )
    choices = [event["choices"][0] for event in found]
    pieces = [each["delta"]["tool_calls"][0] for each in choices if "tool_calls" in each["delta"]]
    assert all(not choice["delta"].get("content") for choice in choices)
    assert [piece["function"].get("name") for piece in pieces] == ["weather", *[None] * (len(pieces) - 1)]
    assert pieces[0]["id"].startswith("call_")
    assert all("id" not in piece for piece in pieces[1:])
    assert {piece["index"] for piece in pieces} == {0}
    assert "".join(piece["function"]["arguments"] for piece in pieces) == ARGUMENTS
    assert len(pieces) > 2
    assert choices[-1]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("required", ["weather", "time"]),
        ({"type": "function", "function": {"name": "time"}}, ["time"]),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "weather"}}]},
            },
            ["weather"],
        ),
    ],
)  # fmt: skip
async def test_a_call_that_must_come_is_guided(fleet: Fleet, choice: Any, names: list[str]) -> None:
    await fleet.chat(tools=[TOOL, TIME], tool_choice=choice)
    kind, text = guide(fleet)
    assert kind == "json_schema"
    schema = json.loads(text)
    calls = schema.get("anyOf", [schema])
    assert [call["properties"]["name"]["const"] for call in calls] == names
    assert [each["function"]["name"] for each in told_tools(fleet)] == names


@pytest.mark.parametrize("at", range(len(CALL) - len(ARGUMENTS), len(CALL), 3))
async def test_a_call_that_a_stop_string_cuts_is_not_said_to_be_one(fleet: Fleet, at: int) -> None:
    """Nobody is to run a function with half of its arguments: the client is told so, whole and in a stream."""
    fleet.says(CALL)
    stop, asked = CALL[at : at + 4], {"tools": [TOOL], "tool_choice": "required", **WIDE}
    choice = (await fleet.chat(stop=stop, **asked)).json["choices"][0]
    assert choice["finish_reason"] == "stop"
    body = {"messages": [{"role": "user", "content": "?"}], "stop": stop, **asked}
    found = await events(fleet, "/v1/chat/completions", body)
    assert [each["choices"][0]["finish_reason"] for each in found][-1] == "stop"
    tool = {"type": "function", **WEATHER}
    body = {"input": "?", "stop": stop, "tools": [tool], "tool_choice": "required"}
    whole = (await fleet.post({"model": MODEL, **body}, path="/v1/responses")).json["output"]
    streamed = (await events(fleet, "/v1/responses", body))[-1]["response"]["output"]
    for output in (whole, streamed):
        assert all(each["status"] == "incomplete" for each in output if each["type"] == "function_call")


async def test_several_calls_where_they_are_asked_for(fleet: Fleet) -> None:
    fleet.says(f'[{CALL}, {{"name": "time", "arguments": {{}}}}]')
    reply = await fleet.chat(tools=[TOOL, TIME], tool_choice="required", parallel_tool_calls=True, **WIDE)
    calls = reply.json["choices"][0]["message"]["tool_calls"]
    assert [each["function"]["name"] for each in calls] == ["weather", "time"]
    assert len({each["id"] for each in calls}) == 2
    assert json.loads(guide(fleet)[1])["type"] == "array"


async def test_text_is_text(fleet: Fleet) -> None:
    fleet.says("Thirty days.")
    choice = (await fleet.chat(tools=[TOOL])).json["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("Thirty days.", "stop")
    assert "tool_calls" not in choice["message"]


async def test_no_tool_is_told_of_where_none_may_be_called(fleet: Fleet) -> None:
    fleet.says(CALL)
    choice = (await fleet.chat(tools=[TOOL], tool_choice="none", **WIDE)).json["choices"][0]
    assert (choice["message"]["content"], told_tools(fleet), guide(fleet)) == (CALL, None, (None, None))


@pytest.mark.parametrize("stream", [False, True])
async def test_the_older_way(fleet: Fleet, stream: bool) -> None:
    fleet.says(CALL)
    body = {
        "messages": [{"role": "user", "content": "?"}],
        "functions": [WEATHER],
        "function_call": {"name": "weather"},
    }
    if stream:
        found = [each["choices"][0] for each in await events(fleet, "/v1/chat/completions", {**body, **WIDE})]
        pieces = [each["delta"]["function_call"] for each in found if "function_call" in each["delta"]]
        name, arguments = pieces[0]["name"], "".join(piece["arguments"] for piece in pieces)
        reason = found[-1]["finish_reason"]
    else:
        choice = (await fleet.chat(**body, **WIDE)).json["choices"][0]
        (name, arguments), reason = choice["message"]["function_call"].values(), choice["finish_reason"]
    assert (name, arguments, reason) == ("weather", ARGUMENTS, "function_call")


async def test_a_call_cut_by_the_limit_says_so(fleet: Fleet) -> None:
    fleet.says(CALL)
    for limit in range(5, 40, 5):
        choice = (await fleet.chat(tools=[TOOL], max_tokens=limit)).json["choices"][0]
        calls = choice["message"].get("tool_calls", [])
        assert choice["finish_reason"] == "length"
        assert not choice["message"]["content"]
        assert all(ARGUMENTS.startswith(call["function"]["arguments"]) for call in calls)


async def test_hermes_way_needs_no_guide_unless_a_call_must_come(start: Any) -> None:
    fleet = await start(tool_format=ToolFormat.HERMES)
    fleet.says(f"I look.\n<tool_call>\n{CALL}\n</tool_call>")
    message = (await fleet.chat(tools=[TOOL], **WIDE)).json["choices"][0]["message"]
    assert message["content"] == "I look.\n"
    assert message["tool_calls"][0]["function"]["arguments"] == ARGUMENTS
    assert guide(fleet) == (None, None)
    await fleet.chat(tools=[TOOL], tool_choice="required")
    assert guide(fleet)[0] == "json_schema"


async def test_one_call_ends_the_answer_where_there_may_be_one(start: Any) -> None:
    fleet = await start(tool_format=ToolFormat.HERMES)
    fleet.says(f"<tool_call>{CALL}</tool_call><tool_call>{CALL}</tool_call>")
    choice = (await fleet.chat(tools=[TOOL], parallel_tool_calls=False, **WIDE)).json["choices"][0]
    assert len(choice["message"]["tool_calls"]) == 1
    assert choice["finish_reason"] == "tool_calls"


async def test_the_turns_of_a_call_reach_the_prompt(fleet: Fleet) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ARGUMENTS}}
    messages = [
        {"role": "user", "content": "What is the weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "Rain."}]},
    ]
    assert (await fleet.chat(messages=messages, tools=[TOOL])).status == 200
    inputs = {tensor["name"]: tensor["data"][0] for tensor in fleet.calls("prompt")[-1].body["inputs"]}
    assert json.loads(inputs["messages"]) == [
        messages[0],
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Rain."},
    ]


@pytest.mark.parametrize("path", ["chat", "responses"])
async def test_knowledge_and_functions_go_together(fleet: Fleet, path: str) -> None:
    """Passages may help; where there are none, the model is asked all the same, for it may call."""
    await fleet.learn("handbook")
    fleet.says(CALL)
    for passages in (fleet.answers.passages, ()):
        fleet.answers.passages = passages
        if path == "chat":
            reply = await fleet.chat("Returns?", tools=[TOOL, SEARCH], **WIDE)
            assert reply.json["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "weather"
        else:
            tools = [{"type": "function", **WEATHER}, SEARCH]
            reply = await fleet.post({"model": MODEL, "input": "Returns?", "tools": tools}, path="/v1/responses")
            assert [each["type"] for each in reply.json["output"]] == ["file_search_call", "function_call"]
        inputs = {tensor["name"]: tensor["data"][0] for tensor in fleet.calls("context")[-1].body["inputs"]}
        assert (json.loads(inputs["tools"])[0]["function"]["name"], inputs["grounded"]) == ("weather", False)


RESPONSES_TOOL = {"type": "function", **WEATHER}


async def test_a_responses_call_is_an_item(fleet: Fleet) -> None:
    fleet.says(CALL)
    body = {"model": MODEL, "input": "?", "tools": [RESPONSES_TOOL], "tool_choice": "required"}
    response = (await fleet.post(body, path="/v1/responses")).json
    (item,) = response["output"]
    assert (item["type"], item["status"], item["name"]) == ("function_call", "completed", "weather")
    assert item["arguments"] == ARGUMENTS
    assert item["call_id"].startswith("call_")
    assert response["tools"][0]["name"] == "weather"
    assert response["tool_choice"] == "required"


async def test_a_responses_call_has_its_events(fleet: Fleet) -> None:
    fleet.says(CALL)
    found = await events(fleet, "/v1/responses", {"input": "?", "tools": [RESPONSES_TOOL]})
    kinds = [each["type"] for each in found]
    delta = "response.function_call_arguments.delta"
    assert list(dict.fromkeys(kinds)) == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        delta,
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [each["sequence_number"] for each in found] == list(range(len(found)))
    assert "".join(each["delta"] for each in found if each["type"] == delta) == ARGUMENTS
    item = found[-1]["response"]["output"][0]
    assert found[-2]["item"] == item
    assert {each["item_id"] for each in found if "item_id" in each} == {item["id"]}


async def test_text_before_a_responses_call_is_a_message(start: Any) -> None:
    fleet = await start(tool_format=ToolFormat.HERMES)
    fleet.says(f"I look.\n<tool_call>\n{CALL}\n</tool_call>")
    found = await events(fleet, "/v1/responses", {"input": "?", "tools": [RESPONSES_TOOL]})
    message, call = found[-1]["response"]["output"]
    assert message["content"][0]["text"] == "I look.\n"
    assert call["name"] == "weather"
    done = [each["output_index"] for each in found if each["type"] == "response.output_item.done"]
    assert done == [0, 1]


async def test_the_turns_of_a_responses_call_reach_the_prompt(fleet: Fleet) -> None:
    items = [
        {"role": "user", "content": "What is the weather?"},
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather", "arguments": ARGUMENTS},
        {"type": "function_call", "call_id": "call_2", "name": "time", "arguments": "{}", "status": "completed"},
        {"type": "function_call_output", "call_id": "call_1", "output": "Rain."},
        {"type": "function_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "Noon."}]},
    ]
    reply = await fleet.post({"model": MODEL, "input": items, "tools": [RESPONSES_TOOL]}, path="/v1/responses")
    assert reply.status == 200, reply.raw
    inputs = {tensor["name"]: tensor["data"][0] for tensor in fleet.calls("prompt")[-1].body["inputs"]}
    said = json.loads(inputs["messages"])
    assert [each["role"] for each in said] == ["user", "assistant", "tool", "tool"]
    assert [each["function"]["name"] for each in said[1]["tool_calls"]] == ["weather", "time"]


def chat_function(**changes: Any) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {**WEATHER, **changes}}]


ASKED = [{"role": "user", "content": "?"}]
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"tools": [{"type": "function"}]}, "tools.0.function"),
    ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
    ({"tools": [{}]}, "tools.0.type"),
    ({"tools": ["weather"]}, "tools.0"),
    ({"tools": {"weather": WEATHER}}, "tools"),
    ({"tools": chat_function(name="")}, "tools.0.function.name"),
    ({"tools": chat_function(name="a b")}, "tools.0.function.name"),
    ({"tools": chat_function(name="x" * 65)}, "tools.0.function.name"),
    ({"tools": chat_function(name=7)}, "tools.0.function.name"),
    ({"tools": chat_function(description=["x"])}, "tools.0.function.description"),
    ({"tools": chat_function(description="x" * 8193)}, "tools.0.function.description"),
    ({"tools": chat_function(parameters=[])}, "tools.0.function.parameters"),
    ({"tools": chat_function(parameters={"type": "string"})}, "tools.0.function.parameters"),
    ({"tools": [TIME, *chat_function(parameters={"properties": {"a": {"$ref": "#/$defs/b"}}})]}, "tools.1.function.parameters"),
    ({"tools": chat_function(strict=True)}, "tools.0.function.parameters"),
    ({"functions": [{**WEATHER, "strict": True}]}, "functions.0.parameters"),
    ({"tools": chat_function(parameters={"type": "object", "description": "x" * 70_000})}, "tools.0.function.parameters"),
    ({"tools": chat_function(strict="yes")}, "tools.0.function.strict"),
    ({"tools": chat_function(surprise=1)}, "tools.0.function.surprise"),
    ({"tools": [TOOL, TOOL]}, "tools"),
    ({"tools": [{"type": "function", "function": {"name": f"f{n}"}} for n in range(130)]}, "tools"),
    ({"tools": [TOOL], "tool_choice": "any"}, "tool_choice"),
    ({"tools": [TOOL], "tool_choice": 1}, "tool_choice"),
    ({"tools": [TOOL], "tool_choice": {}}, "tool_choice.type"),
    ({"tools": [TOOL], "tool_choice": {"type": "function"}}, "tool_choice.function"),
    ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "time"}}}, "tool_choice"),
    ({"tools": [TOOL], "tool_choice": {"type": "file_search"}}, "tool_choice"),
    ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "no", "tools": []}}},
     "tool_choice.allowed_tools.mode"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tools": [TOOL], "parallel_tool_calls": "no"}, "parallel_tool_calls"),
    ({"tools": [TOOL], "functions": [WEATHER]}, "functions"),
    ({"functions": [WEATHER, WEATHER]}, "functions"),
    ({"functions": [WEATHER], "function_call": "required"}, "function_call"),
    ({"functions": [WEATHER], "function_call": {"name": "time"}}, "function_call"),
    ({"function_call": "auto"}, "function_call"),
    ({"tools": [TOOL], "guided_regex": "a"}, "guided_regex"),
    ({"tools": [TOOL], "ignore_eos": True}, "ignore_eos"),
    ({"messages": [*ASKED, {"role": "assistant", "content": None}]}, "messages.1.content"),
    ({"messages": [*ASKED, {"role": "assistant", "tool_calls": [{}]}]}, "messages.1.tool_calls.0.id"),
    ({"messages": [*ASKED, {"role": "assistant", "tool_calls": [{"id": "a"}]}]}, "messages.1.tool_calls.0.function"),
    ({"messages": [*ASKED, {"role": "assistant", "tool_calls": "x"}]}, "messages.1.tool_calls"),
    ({"messages": [*ASKED, {"role": "tool", "content": "x"}]}, "messages.1.tool_call_id"),
    ({"messages": [*ASKED, {"role": "tool", "content": "x", "tool_call_id": "b"}]}, "messages.1.tool_call_id"),
    ({"messages": [*ASKED, {"role": "function", "content": "x"}]}, "messages.1.name"),
    ({"response_format": "json"}, "response_format"),
    ({"response_format": {}}, "response_format.type"),
    ({"response_format": {"type": "xml"}}, "response_format.type"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.json_schema.name"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}},
     "response_format.json_schema.name"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"title": "x" * 70_000}}}},
     "response_format.json_schema.schema"),
    ({"response_format": {"type": "json_object", "schema": {}}}, "response_format.schema"),
    ({"response_format": {"type": "json_object"}, "guided_json": {}}, "guided_json"),
    ({"response_format": {"type": "json_object"}, "ignore_eos": True}, "ignore_eos"),
    ({"guided_json": 5}, "guided_json"),
    ({"guided_json": "{"}, "guided_json"),
    ({"guided_regex": ""}, "guided_regex"),
    ({"guided_regex": ["a"]}, "guided_regex"),
    ({"guided_choice": []}, "guided_choice"),
    ({"guided_choice": "a"}, "guided_choice"),
    ({"guided_choice": [1]}, "guided_choice.0"),
    ({"guided_grammar": {}}, "guided_grammar"),
    ({"guided_regex": "a", "guided_choice": ["a"]}, "guided_choice"),
    ({"structured_outputs": {}}, "structured_outputs"),
    ({"structured_outputs": {"regex": "a", "grammar": "b"}}, "structured_outputs"),
    ({"structured_outputs": {"json": 5}}, "structured_outputs.json"),
    ({"structured_outputs": {"xml": 5}}, "structured_outputs.xml"),
    ({"structured_outputs": {"regex": "a"}, "guided_regex": "a"}, "structured_outputs"),
]  # fmt: skip


async def test_every_wrong_field_is_named(fleet: Fleet) -> None:
    wrong: list[str] = []
    for fields, param in WRONG:
        reply = await fleet.chat(**fields)
        if reply.status != 400 or reply.error["param"] != param:
            wrong.append(f"{str(fields)[:200]} should name {param}: {reply.status} {reply.raw.decode()[:300]}")
    assert not wrong, "\n".join(wrong)
    assert not fleet.calls()


RESPONSES_WRONG: list[tuple[dict[str, Any], str]] = [
    ({"tools": [{"type": "function"}]}, "tools.0.name"),
    ({"tools": [TOOL]}, "tools.0.name"),
    ({"tools": [{**RESPONSES_TOOL, "parameters": 1}]}, "tools.0.parameters"),
    ({"tools": [{**RESPONSES_TOOL, "strict": True}]}, "tools.0.parameters"),
    ({"text": {"format": {"type": "json_schema", "name": "a", "schema": {}, "strict": True}}}, "text.format.schema"),
    ({"tools": [RESPONSES_TOOL], "tool_choice": {"type": "function", "name": "time"}}, "tool_choice"),
    ({"tools": [RESPONSES_TOOL], "tool_choice": {"type": "function"}}, "tool_choice.name"),
    ({"tools": [RESPONSES_TOOL], "tool_choice": {"type": "allowed_tools", "mode": "auto"}}, "tool_choice.tools"),
    ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
    ({"text": {"format": {"type": "json_schema", "name": "a"}}}, "text.format.schema"),
    ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name"),
    ({"text": 1}, "text"),
    ({"input": [{"type": "function_call_output", "call_id": "a", "output": "x"}]}, "input.0.call_id"),
    ({"input": [{"type": "function_call", "call_id": "a", "name": "f"}]}, "input.0.arguments"),
    ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, "input.0.call_id"),
    ({"input": [{"type": "function_call", "call_id": "a", "name": "f", "arguments": {}}]}, "input.0.arguments"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input.0.content.0.type"),
]


async def test_every_wrong_field_of_a_response_is_named(fleet: Fleet) -> None:
    wrong: list[str] = []
    for fields, param in RESPONSES_WRONG:
        reply = await fleet.post({"model": MODEL, "input": "?", **fields}, path="/v1/responses")
        if reply.status != 400 or reply.error["param"] != param:
            wrong.append(f"{str(fields)[:200]} should name {param}: {reply.status} {reply.raw.decode()[:300]}")
    assert not wrong, "\n".join(wrong)
    assert not fleet.calls()


async def test_what_the_models_cannot_read_is_named(fleet: Fleet) -> None:
    for kind, word in (("image_url", "image"), ("input_audio", "audio")):
        reply = await fleet.chat(messages=[{"role": "user", "content": [{"type": kind, kind: {}}]}])
        assert reply.error["param"] == "messages.0.content.0.type"
        assert f"no {word}" in reply.error["message"]
    file = {"type": "file", "file": {"file_id": "file-" + "0" * 24}}
    reply = await fleet.chat(messages=[{"role": "user", "content": [file]}])
    assert reply.error["param"] == "messages"
    assert "no file" in reply.error["message"]
