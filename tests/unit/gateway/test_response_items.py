"""Items come in more forms than they are shown in."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from gateway.api.conversations import NewItems
from gateway.api.response_item_objects import StoredItem
from gateway.api.response_items import as_items

SHOWN: TypeAdapter[Any] = TypeAdapter(StoredItem)


def _shown(given: dict[str, Any]) -> dict[str, Any]:
    NewItems.model_validate({"items": [given]})
    (item,) = as_items([given])
    SHOWN.validate_python(item, strict=True)
    return item


@pytest.mark.parametrize("status", [None, "in_progress", "searching", "completed", "incomplete", "failed"])
@pytest.mark.parametrize(
    "item",
    [
        {"role": "user", "content": []},
        {"role": "user", "content": [{"type": "output_text", "text": "a", "annotations": [1], "logprobs": [{}]}]},
        {"role": "developer", "content": [{"type": "refusal", "refusal": "a"}]},
        {"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]},
        {"role": "assistant", "content": [{"type": "input_text", "text": "a"}, {"type": "refusal", "refusal": "b"}]},
        {"type": "function_call", "call_id": "c", "name": "n", "arguments": "{"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "output_text", "text": "a"}]},
        {"type": "custom_tool_call_output", "call_id": "c", "output": [{"type": "output_text", "text": "a"}]},
        {"type": "local_shell_call_output", "id": "c", "output": "a"},
        {"type": "file_search_call"},
        {"type": "file_search_call", "id": "fs_1", "queries": ["a"], "results": [{"text": "of others"}]},
        {"type": "reasoning"},
        {"type": "reasoning", "summary": [None], "content": [{"type": "reasoning_text", "text": "a"}, {"text": "b"}]},
    ],
    ids=str,
)
def test_each_form_is_shown_as_the_document_says(item: dict[str, Any], status: str | None) -> None:
    _shown(item)
    _shown({**item, "status": status})


def test_what_was_said_stays() -> None:
    said = [{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "b"}]
    assert [part["text"] for part in _shown({"role": "user", "content": said})["content"]] == ["a", "b"]
    citation = {"type": "file_citation", "file_id": "f", "filename": "a.md", "index": 0}
    part = {"type": "output_text", "text": "a", "annotations": [citation], "logprobs": []}
    assert _shown({"role": "assistant", "content": [part]})["content"] == [part]


def test_a_commands_output_keeps_its_call() -> None:
    """OpenAI's description has the call's id in `id`, where any text may stand."""
    item = _shown({"type": "local_shell_call_output", "id": "a call?", "output": "a"})
    assert (item["call_id"], item["id"] == "a call?") == ("a call?", False)
