"""What is searched for a question that follows others, by the setting, and what a bad rewriting cannot do."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from gateway.retrieval.follow_up import with_history
from gateway.retrieval.rewriting import TASK
from gateway.setting_values import Rewrite
from gateway.triton.fake_answers import Script, saying
from tests.support.running import Fleet

FIRST = "How long is the warranty of the Dewpoint Pro?"
NEXT = "And of the Mini?"
HISTORY = with_history([FIRST, NEXT])
WORDED = "How long is the warranty of the Dewpoint Mini?"
TURNS = [
    {"role": "user", "content": FIRST},
    {"role": "assistant", "content": "30 months."},
    {"role": "user", "content": NEXT},
]


async def _fleet(start: Callable[..., Any], words: str, **settings: Any) -> Fleet:
    """One whose model says `words` for a question, and always the same in an answer."""
    fleet: Fleet = await start(max_context=4096, **settings)
    await fleet.learn("handbook")
    worded = saying(fleet.table.encode(words), after=fleet.start)
    answer = saying(fleet.table.encode("Twelve months."), after=fleet.start)
    task = fleet.table.encode(TASK)

    def next_id(ids: Sequence[int]) -> int | None:
        return worded(ids) if list(ids[: len(task)]) == list(task) else answer(ids)

    fleet.follows(next_id)
    return fleet


async def _searched(fleet: Fleet, messages: Sequence[dict[str, str]] = TURNS) -> str:
    """What was searched; the answer says the same."""
    body = {"model": "rag", "messages": messages, "temperature": 0, "max_tokens": 16}
    reply = await fleet.post(body)
    assert reply.status == 200, reply.raw
    assert reply.text == "Twelve months."
    (call,) = fleet.calls("context")
    query = next(tensor["data"][0] for tensor in call.body["inputs"] if tensor["name"] == "query")
    assert reply.json["rag"]["query"] == query
    return str(query)


@pytest.mark.parametrize(("how", "query"), [(Rewrite.OFF, NEXT), (Rewrite.HISTORY, HISTORY), (Rewrite.MODEL, WORDED)])
async def test_what_is_searched(start: Callable[..., Any], how: Rewrite, query: str) -> None:
    fleet = await _fleet(start, WORDED, rag_rewrite=how)
    assert await _searched(fleet) == query
    metrics = (await fleet.get("/metrics")).raw.decode()
    assert f'ragfleet_rewrites_total{{how="{how}"}} 1.0' in metrics


async def test_prompt_keeps_the_conversation_as_it_was(start: Callable[..., Any]) -> None:
    fleet = await _fleet(start, WORDED, rag_rewrite=Rewrite.MODEL)
    await _searched(fleet)
    (call,) = fleet.calls("context")
    messages = next(tensor["data"][0] for tensor in call.body["inputs"] if tensor["name"] == "messages")
    assert NEXT in messages
    assert WORDED not in messages


async def test_first_question_costs_no_model(start: Callable[..., Any]) -> None:
    fleet = await _fleet(start, WORDED, rag_rewrite=Rewrite.MODEL)
    assert await _searched(fleet, TURNS[:1]) == FIRST
    assert len(fleet.calls("llm")) == 1


@pytest.mark.parametrize("words", ["", "I like elephants and castles.", FIRST, "mini " * 60])
async def test_bad_wording_falls_back_to_the_history(start: Callable[..., Any], words: str) -> None:
    fleet = await _fleet(start, words, rag_rewrite=Rewrite.MODEL)
    assert await _searched(fleet) == HISTORY


async def test_late_wording_falls_back_and_frees_the_engine(start: Callable[..., Any]) -> None:
    fleet = await _fleet(start, WORDED, rag_rewrite=Rewrite.MODEL, rag_rewrite_deadline_s=1.0)
    fleet.answers.script("llm", Script(stall_after=1))
    assert await _searched(fleet) == HISTORY
    assert [call.end for call in fleet.calls("llm")] == ["gone", "finished"]


async def test_failed_wording_falls_back(start: Callable[..., Any]) -> None:
    fleet = await _fleet(start, WORDED, rag_rewrite=Rewrite.MODEL)
    fleet.answers.script("prompt", Script(status=400, error="prompt: too long: 9 tokens, limit 3"))
    assert await _searched(fleet) == HISTORY


async def test_wording_goes_on_where_its_instance_dies(start: Callable[..., Any]) -> None:
    fleet = await _fleet(start, WORDED, rag_rewrite=Rewrite.MODEL)
    fleet.answers.script("llm", Script(reset_after=3))
    assert await _searched(fleet) == WORDED


async def test_response_names_what_was_searched(start: Callable[..., Any]) -> None:
    fleet = await _fleet(start, WORDED)
    tool = {"type": "file_search", "vector_store_ids": ["handbook"]}
    body = {"model": "tiny", "input": TURNS, "tools": [tool], "max_output_tokens": 16}
    reply = await fleet.post(body, path="/v1/responses")
    assert reply.json["output"][0]["queries"] == [HISTORY]
    assert reply.json["rag"]["query"] == HISTORY
