"""Milvus is away, and the operator lets the model answer alone: the answer comes, and says what it lacks."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway.config import Settings
from gateway.environment import ConfigError
from gateway.setting_values import WithoutKnowledge
from gateway.triton.fake_answers import Script

AWAY = Script(status=500, error="in ensemble 'context', retrieval: unavailable: Milvus did not answer within 5 s")


@pytest.mark.parametrize("stream", [False, True])
async def test_the_model_answers_alone_and_the_answer_says_so(start: Callable[..., Any], stream: bool) -> None:
    fleet = await start(rag_unavailable=WithoutKnowledge.ANSWER)
    await fleet.learn("handbook")
    fleet.says("Perhaps thirty days [1].")
    for triton in fleet.tritons:
        triton.always["context"] = AWAY
    if stream:
        events = await fleet.stream(model="rag", max_tokens=100)
        text, rag, found = events.text, events.chunks[0]["rag"], events.chunks[-1]["rag"]
        assert "annotations" not in events.choices[-1]["delta"]
    else:
        reply = await fleet.chat(model="rag", max_tokens=100)
        text, rag = reply.text, reply.json["rag"]
        found = rag
        assert "annotations" not in reply.json["choices"][0]["message"]
    assert text == "Perhaps thirty days [1]."
    assert (rag["grounded"], rag["sources"], rag["unavailable"]) == (False, [], True)
    assert [mark["n"] for mark in found["invalid_citations"]] == [1], "there is no passage to cite"
    (prompt,) = fleet.calls("prompt")
    asked = {tensor["name"]: tensor["data"][0] for tensor in prompt.body["inputs"]}
    assert asked["grounded"] is False


async def test_what_is_found_is_used_and_nothing_found_is_still_said(start: Callable[..., Any]) -> None:
    fleet = await start(rag_unavailable=WithoutKnowledge.ANSWER)
    await fleet.learn("handbook")
    assert (await fleet.chat(model="rag", max_tokens=5)).json["rag"]["grounded"] is True
    fleet.answers.passages = ()
    reply = await fleet.chat(model="rag", max_tokens=5)
    assert reply.text == fleet.settings.rag_not_found
    assert "unavailable" not in reply.json["rag"]


def test_the_setting_has_two_values() -> None:
    assert Settings.from_env({}).rag_unavailable is WithoutKnowledge.REFUSE
    assert Settings.from_env({"RAGFLEET_RAG_UNAVAILABLE": "answer"}).rag_unavailable is WithoutKnowledge.ANSWER
    with pytest.raises(ConfigError, match="RAGFLEET_RAG_UNAVAILABLE='maybe'"):
        Settings.from_env({"RAGFLEET_RAG_UNAVAILABLE": "maybe"})
