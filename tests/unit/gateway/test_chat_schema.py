"""What a request means once it has been read. What is refused: tests/component/test_chat_requests.py."""

import json
from typing import Any

import pytest

from gateway.api.schemas import ChatRequest, parse_chat
from gateway.errors import BadRequest
from gateway.retrieval.options import RetrievalOptions
from gateway.retrieval.request import FileSearchParameters

USER = {"role": "user", "content": "Hello?"}


def parse(**fields: Any) -> ChatRequest:
    return parse_chat(json.dumps({"model": "tiny", "messages": [USER], **fields}).encode())


def test_least_request() -> None:
    request = parse()
    assert (request.model, request.stream, request.stops, request.answer_limit) == ("tiny", False, (), None)
    assert request.file_search is None
    assert request.conversation == [USER]


@pytest.mark.parametrize(("stop", "stops"), [(None, ()), ("a", ("a",)), ([], ()), (["a", "b"], ("a", "b"))])
def test_stop_is_one_or_several(stop: Any, stops: tuple[str, ...]) -> None:
    assert parse(stop=stop).stops == stops


def test_answer_limit_and_the_name_it_came_by() -> None:
    assert (parse(max_tokens=5).answer_limit, parse(max_tokens=5).limit_param) == (5, "max_tokens")
    both = parse(max_tokens=5, max_completion_tokens=3)
    assert (both.answer_limit, both.limit_param) == (3, "max_completion_tokens")


def test_question_is_what_the_user_said_last() -> None:
    messages = [
        USER,
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": [{"type": "text", "text": "How?"}]},
    ]
    assert parse(messages=messages).question == "How?"
    assert parse(messages=[*messages, {"role": "assistant", "content": "So"}]).question == "How?"
    assert parse(messages=[{"role": "system", "content": "Speak."}]).question == "Speak."


def test_content_in_parts_is_one_text() -> None:
    parts = [{"type": "text", "text": "How "}, {"type": "text", "text": "long?"}]
    assert parse(messages=[{"role": "user", "content": parts}]).conversation == [
        {"role": "user", "content": "How long?"}
    ]


def test_file_search_names_the_knowledge() -> None:
    tool = {"type": "file_search", "vector_store_ids": ["a", "b"]}
    assert parse(tools=[tool]).file_search == FileSearchParameters(stores=["a", "b"])
    some = parse(tools=[{**tool, "max_num_results": 7, "ranking_options": {"ranker": "bm25"}}]).file_search
    assert some is not None
    assert some.options == RetrievalOptions(max_num_results=7, ranker="bm25")
    assert parse(tools=[]).file_search is None


def test_whole_numbers_are_good_fractions() -> None:
    request = parse(temperature=1, top_p=1, presence_penalty=-2)
    assert (request.temperature, request.top_p, request.presence_penalty) == (1.0, 1.0, -2.0)


def test_error_speaks_of_the_arm_that_was_meant() -> None:
    with pytest.raises(BadRequest) as caught:
        parse(messages=[{"role": "user", "content": [{"type": "text", "text": 5}]}])
    assert caught.value.param == "messages.0.content.0.text"
    assert "valid string" in caught.value.message
