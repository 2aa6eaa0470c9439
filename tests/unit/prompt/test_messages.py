"""What counts as a conversation, and what is refused, by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from prompt_builder import BadMessages
from prompt_builder.messages import PromptMessage, last_question, parse_messages


def parsed(*messages: Any) -> list[PromptMessage]:
    return parse_messages(json.dumps(messages))


def test_roles_and_text_parts() -> None:
    assert parsed(
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "Ann"},
        {"role": "assistant", "content": "c", "tool_calls": None, "refusal": None},
    ) == [PromptMessage("system", "Be brief."), PromptMessage("user", "ab"), PromptMessage("assistant", "c")]


def test_half_a_surrogate_pair_becomes_the_replacement_character() -> None:
    assert parse_messages(r'[{"role": "user", "content": "a\ud800b \ud83d\ude00"}]') == [
        PromptMessage("user", "a\ufffdb 😀")
    ]


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ("[", "messages is not JSON"),
        ("{}", "messages must be a list"),
        ("[]", "at least one message"),
        ("[1]", r"messages\[0\] must be an object"),
        ('[{"content": "x"}]', r"messages\[0\].role None"),
        (
            '[{"role": "user", "content": "x"}, {"role": "tool", "content": "x"}]',
            r"messages\[1\].tool_call_id must be a string",
        ),
        ('[{"role": ["user"], "content": "x"}]', r"messages\[0\].role"),
        ('[{"role": "user"}]', r"messages\[0\].content must be a string"),
        ('[{"role": "user", "content": []}]', r"messages\[0\].content must be a string"),
        ('[{"role": "user", "content": 5}]', r"messages\[0\].content must be a string"),
        ('[{"role": "user", "content": [{"type": "image_url"}]}]', r"messages\[0\].content\[0\] of type 'image_url'"),
        ('[{"role": "user", "content": ["x"]}]', r"messages\[0\].content\[0\] of type 'str'"),
        ('[{"role": "user", "content": [{"type": "text"}]}]', r"messages\[0\].content\[0\].text must be a string"),
        (
            '[{"role": "assistant", "content": "", "tool_calls": [{}]}]',
            r"messages\[0\].tool_calls\[0\] must be an object",
        ),
    ],
)
def test_a_bad_conversation_names_the_place(document: str, place: str) -> None:
    with pytest.raises(BadMessages, match=f"^prompt: bad messages: .*{place}"):
        parse_messages(document)


def test_the_question_is_the_last_thing_the_user_said() -> None:
    messages = parsed(
        {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}
    )
    assert last_question(messages) == 2
    assert last_question([*messages, PromptMessage("assistant", "d")]) == 2
    with pytest.raises(BadMessages, match="role 'user'"):
        last_question([PromptMessage("system", "x")])
