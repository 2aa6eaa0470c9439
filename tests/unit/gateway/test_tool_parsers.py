"""Calls of functions in the text of an answer, in each family's way, however the text is cut."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.serving.tool_parsers import PARSERS, guess
from gateway.serving.tools import ArgumentsPiece, CallBegun, FunctionTool, TextPiece, ToolUse
from gateway.setting_values import ToolFormat

TOOLS = ToolUse(functions=[FunctionTool(name="add"), FunctionTool(name="look_up")])
ADD = '{"name": "add", "arguments": {"a": 1, "b": "}\\"]"}}'
LOOK_UP = '{"name":"look_up","parameters":{}}'
ARGUMENTS = '{"a": 1, "b": "}\\"]"}'
BOTH = [("add", ARGUMENTS), ("look_up", "{}")]
HERMES, LLAMA3, MISTRAL, JSON = ToolFormat.HERMES, ToolFormat.LLAMA3_JSON, ToolFormat.MISTRAL, ToolFormat.JSON

ANSWERS: list[tuple[ToolFormat, str, str, list[tuple[str, str]]]] = [
    (HERMES, "Thirty days.", "Thirty days.", []),
    (HERMES, f"<tool_call>\n{ADD}\n</tool_call>", "", BOTH[:1]),
    (HERMES, f"I look.\n<tool_call>\n{ADD}\n</tool_call>\n<tool_call>{LOOK_UP}</tool_call>\n", "I look.\n", BOTH),
    (HERMES, "a < b <tool> <tool_cal", "a < b <tool> <tool_cal", []),
    (HERMES, "<tool_call>no json</tool_call>Well.", "Well.", []),
    (HERMES, '<tool_call>{"name": "ad', "", []),
    (HERMES, '<tool_call>{"arguments": {"a": 1}, "name": "add"}</tool_call>', "", [("add", '{"a": 1}')]),
    (HERMES, '<tool_call>{"name": "add"}</tool_call>', "", [("add", "{}")]),
    (HERMES, '<tool_call>{"name": "add", "arguments": "{\\"a\\": 1}"}</tool_call>', "", [("add", '{"a": 1}')]),
    (HERMES, '<tool_call>{"name": "add", "arguments": null}</tool_call>', "", [("add", "{}")]),
    (HERMES, '<tool_call>{"name": "add", "arguments": {"a": 1', "", [("add", '{"a": 1')]),
    (HERMES, '{"name": "add", "arguments": {}}', '{"name": "add", "arguments": {}}', []),
    (LLAMA3, ADD, "", BOTH[:1]),
    (LLAMA3, f"<|python_tag|>{ADD}; {LOOK_UP}", "", BOTH),
    (LLAMA3, '{"type": "function", "name": "look_up", "parameters": {}}', "", BOTH[1:]),
    (LLAMA3, '{"answer": 5}', '{"answer": 5}', []),
    (LLAMA3, '{"name": "Bob", "age": 5}', '{"name": "Bob", "age": 5}', []),
    (LLAMA3, " Well: {}", " Well: {}", []),
    (LLAMA3, '{"name": "add", "arguments": {"a": 1}} and so on', "", [("add", '{"a": 1}')]),
    (LLAMA3, '{"name": "add", "arguments": {"a": 1}} {"x": 1}', "", [("add", '{"a": 1}')]),
    (LLAMA3, "[1, 2]", "[1, 2]", []),
    (LLAMA3, "<|python", "<|python", []),
    (JSON, f"[{ADD}, {LOOK_UP}]", "", BOTH),
    (JSON, f" {ADD}", "", BOTH[:1]),
    (JSON, '{"id": 7, "name": "add", "arguments": {"a": 1}}', "", [("add", '{"a": 1}')]),
    (JSON, '[{"a": 1}]', '[{"a": 1}]', []),
    (MISTRAL, f"[TOOL_CALLS] [{ADD}, {LOOK_UP}]", "", BOTH),
    (MISTRAL, f"I look. [TOOL_CALLS]add[ARGS]{ARGUMENTS}[TOOL_CALLS]look_up[CALL_ID]123456789[ARGS]{{}}", "I look. ", BOTH),
    (MISTRAL, "[TOOL", "[TOOL", []),
    (MISTRAL, "[TOOL_CALLS]add[AR", "", []),
]  # fmt: skip


def parsed(form: ToolFormat, pieces: list[str], tools: ToolUse = TOOLS) -> tuple[str, list[tuple[str, str]]]:
    parser = PARSERS[form](tools)
    text, calls = "", []
    for found in [*(each for piece in pieces for each in parser.push(piece)), *parser.finish()]:
        if isinstance(found, TextPiece):
            text += found.text
        elif isinstance(found, CallBegun):
            calls.append([found.name, ""])
        else:
            assert isinstance(found, ArgumentsPiece)
            calls[-1][1] += found.text
    return text, [(name, arguments) for name, arguments in calls]


@pytest.mark.parametrize(("form", "answer", "text", "calls"), ANSWERS, ids=[each[1][:40] for each in ANSWERS])
def test_text_and_calls(form: ToolFormat, answer: str, text: str, calls: list[tuple[str, str]]) -> None:
    assert parsed(form, [answer]) == (text, calls)
    assert parsed(form, list(answer)) == (text, calls)


@given(st.sampled_from(ANSWERS), st.data())
def test_it_does_not_matter_how_the_text_is_cut(
    case: tuple[ToolFormat, str, str, list[tuple[str, str]]], data: st.DataObject
) -> None:
    form, answer, text, calls = case
    cuts = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=5)))
    pieces = [answer[a:b] for a, b in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    assert parsed(form, pieces) == (text, calls)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.lists(st.dictionaries(st.text(), json_values, max_size=4), min_size=1, max_size=3),
    st.sampled_from([None, 2]),
    st.booleans(),
)
def test_whatever_the_arguments_are_they_come_as_they_were_written(
    arguments: list[dict[str, object]], indent: int | None, ascii_only: bool
) -> None:
    def written(value: object) -> str:
        return json.dumps(value, indent=indent, ensure_ascii=ascii_only)

    calls = [written({"name": "add", "arguments": each}) for each in arguments]
    for form, answer in (
        (JSON, f"[{','.join(calls)}]"),
        (LLAMA3, ";".join(calls)),
        (MISTRAL, f"[TOOL_CALLS][{', '.join(calls)}]"),
        (HERMES, "".join(f"<tool_call>{each}</tool_call>\n" for each in calls)),
    ):
        text, found = parsed(form, list(answer))
        assert not text
        assert [json.loads(each) for _, each in found] == arguments


@given(st.text(st.sampled_from('<tool_call>/{}[]"name:argumets,TOOL_CALLS \n')), st.sampled_from(list(PARSERS)))
def test_no_text_breaks_a_parser(answer: str, form: ToolFormat) -> None:
    assert parsed(form, [answer]) == parsed(form, list(answer))


def test_where_one_call_is_wanted_the_rest_is_not_read() -> None:
    one = ToolUse(functions=TOOLS.functions, parallel=False)
    for form, answer in ((JSON, f"[{ADD}, {LOOK_UP}]"), (HERMES, f"<tool_call>{ADD}</tool_call><tool_call>{LOOK_UP}")):
        parser = PARSERS[form](one)
        parser.push(answer)
        assert parser.complete
        assert parsed(form, [answer], one) == ("", BOTH[:1])


@pytest.mark.parametrize(
    ("template", "form"),
    [
        ("{% for message in messages %}{{ message.content }}{% endfor %}", JSON),
        ("{% if tools %}<tools></tools> within <tool_call></tool_call>{% endif %}", HERMES),
        ('{% if tools %}{{ "<|python_tag|>" }}{% endif %}', LLAMA3),
        ("{% if tools %}[AVAILABLE_TOOLS]{% endif %}[TOOL_CALLS]", MISTRAL),
        ("{% if tools %}{{ tools | tojson }}{% endif %}", JSON),
    ],
)
def test_a_template_tells_the_way(template: str, form: ToolFormat) -> None:
    assert guess(template) is form
