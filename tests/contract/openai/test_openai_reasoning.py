"""Thoughts, as the unmodified `openai` client reads them. The model is a fake: the real one here has no tokens to think with."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.openai_service import KEY, client_of
from tests.support.running import MODEL, Fleet, make_tokenizer, settings_for

MARKERS = ("<think>", "</think>")
THOUGHT, ANSWER = "The receipt says thirty.", "Thirty days."
USER = [{"role": "user", "content": "How long?"}]


@pytest.fixture
async def thinker(tmp_path: Path) -> AsyncIterator[Fleet]:
    """A fleet whose model thinks before it answers."""
    tokenizer = make_tokenizer(tmp_path / "tokenizer", more=MARKERS)
    async with Fleet(settings_for(tmp_path, tokenizer, api_key=KEY)) as fleet:
        begin, end = (fleet.table.controls[name].id for name in MARKERS)
        fleet.says([begin, *fleet.table.encode(THOUGHT), end, *fleet.table.encode(ANSWER)])
        yield fleet


async def test_chat(thinker: Fleet) -> None:
    async with client_of(thinker.url) as client:
        completion = await client.chat.completions.create(model=MODEL, messages=USER, temperature=0)
        message = completion.choices[0].message
        assert (message.content, (message.model_extra or {})["reasoning_content"]) == (ANSWER, THOUGHT)
        assert completion.usage is not None
        assert completion.usage.completion_tokens_details is not None
        assert completion.usage.completion_tokens_details.reasoning_tokens
        stream = await client.chat.completions.create(model=MODEL, messages=USER, temperature=0, stream=True)
        thoughts = text = ""
        async for chunk in stream:
            delta = chunk.choices[0].delta
            thoughts += (delta.model_extra or {}).get("reasoning_content", "")
            text += delta.content or ""
        assert (thoughts, text) == (THOUGHT, ANSWER)


async def test_response(thinker: Fleet) -> None:
    async with client_of(thinker.url) as client:
        async with client.responses.stream(model=MODEL, input="How long?", temperature=0) as stream:
            thoughts = [event.delta async for event in stream if event.type == "response.reasoning_text.delta"]
            response = await stream.get_final_response()
        assert "".join(thoughts) == THOUGHT
        assert response.output_text == ANSWER
        reasoning = response.output[0]
        assert reasoning.type == "reasoning"
        assert [part.text for part in reasoning.content or []] == [THOUGHT]
        turns = [{"role": "user", "content": "How long?"}, *response.output, {"role": "user", "content": "And?"}]
        again = await client.responses.create(model=MODEL, input=turns, temperature=0)  # type: ignore[arg-type]
        assert again.output_text == ANSWER
