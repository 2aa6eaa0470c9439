"""What a request means once it has been read. What is refused: tests/component/test_chat_requests.py."""

from typing import Any

import pytest

from gateway.api.chat_schemas import ChatRequest, parse_chat
from gateway.errors import BadRequest
from gateway.retrieval.options import RetrievalOptions
from gateway.retrieval.request import FileSearchParameters
from gateway.serving.generation_request import GenerationRequest

USER = {"role": "user", "content": "Hello?"}


def parse(**fields: Any) -> ChatRequest:
    return parse_chat({"model": "tiny", "messages": [USER], **fields})


def asked(**fields: Any) -> GenerationRequest:
    return parse(**fields).generation_request("r", route="chat")


def test_least_request() -> None:
    request = asked()
    assert (request.model, parse().stream, request.sampling.stop, request.max_tokens) == ("tiny", False, (), None)
    assert request.file_search is None
    assert request.messages == [USER]


@pytest.mark.parametrize(("stop", "stops"), [(None, ()), ("a", ("a",)), ([], ()), (["a", "b"], ("a", "b"))])
def test_stop_is_one_or_several(stop: Any, stops: tuple[str, ...]) -> None:
    assert asked(stop=stop).sampling.stop == stops


def test_answer_limit_and_the_name_it_came_by() -> None:
    one = asked(max_tokens=5)
    assert (one.max_tokens, one.max_tokens_param) == (5, "max_tokens")
    both = asked(max_tokens=5, max_completion_tokens=3)
    assert (both.max_tokens, both.max_tokens_param) == (3, "max_completion_tokens")


def test_question_is_what_the_user_said_last() -> None:
    messages = [
        USER,
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": [{"type": "text", "text": "How?"}]},
    ]
    assert asked(messages=messages).question == "How?"
    assert asked(messages=[*messages, {"role": "assistant", "content": "So"}]).question == "How?"
    assert asked(messages=[{"role": "system", "content": "Speak."}]).question == "Speak."


def test_content_in_parts_is_one_text() -> None:
    parts = [{"type": "text", "text": "How "}, {"type": "text", "text": "long?"}]
    assert asked(messages=[{"role": "user", "content": parts}]).messages == [{"role": "user", "content": "How long?"}]


def test_file_search_names_the_knowledge() -> None:
    tool = {"type": "file_search", "vector_store_ids": ["a", "b"]}
    assert asked(tools=[tool]).file_search == FileSearchParameters(stores=["a", "b"])
    some = asked(tools=[{**tool, "max_num_results": 7, "ranking_options": {"ranker": "bm25"}}]).file_search
    assert some is not None
    assert some.options == RetrievalOptions(max_num_results=7, ranker="bm25")
    assert asked(tools=[]).file_search is None


def test_whole_numbers_are_good_fractions() -> None:
    request = parse(temperature=1, top_p=1, presence_penalty=-2)
    assert (request.temperature, request.top_p, request.presence_penalty) == (1.0, 1.0, -2.0)


def test_error_speaks_of_the_arm_that_was_meant() -> None:
    with pytest.raises(BadRequest) as caught:
        parse(messages=[{"role": "user", "content": [{"type": "text", "text": 5}]}])
    assert caught.value.param == "messages.0.content.0.text"
    assert "valid string" in caught.value.message
