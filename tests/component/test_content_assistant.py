"""Long texts in the API: a translation keeps form and glossary, a summary has its parts, and too much is refused."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import Overloaded
from gateway.serving.choices import Choices
from gateway.serving.generation_request import GenerationRequest
from gateway.serving.generation_service import GenerationService
from tests.support.running import Fleet

PROFILE = """
kind: content
system: You write.
max_tokens: 60
writing: {glossary: {pump: Pumpe}, piece_chars: 200, max_pieces: 30, concurrency: 3}
"""


@pytest.fixture
async def writing(start: Callable[..., Any], tmp_path: Path) -> Fleet:
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "writer.yaml").write_text(PROFILE)
    made: Fleet = await start(assistants_dir=folder)
    return made


def asked(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "assistant:writer", "messages": [{"role": "user", "content": text}], **more}


async def test_a_translation_keeps_form_and_glossary(writing: Fleet) -> None:
    writing.says("Wort")
    text = "# A pump leaks\n\n- see `P-1` or <b>call</b>\n\n```\nkeep this\n```"
    reply = await writing.post(asked(f"Translate to German:\n{text}"))
    assert reply.status == 200, reply.json
    told = reply.json["choices"][0]["message"]["content"]
    assert told == "# Wort Pumpe Wort\n\n- Wort `P-1` Wort <b>Wort</b>\n\n```\nkeep this\n```"
    assert {call.body["guided_decoding_guide_type"] for call in writing.calls()} == {"regex"}
    assert reply.json["usage"]["completion_tokens"] > 5


async def test_a_summary_stands_on_its_parts(writing: Fleet) -> None:
    writing.says("Short.")
    text = "\n\n".join(f"Paragraph {n} says that it is the number {n} of some." for n in range(20))
    reply = await writing.post(asked(f"Summarise this:\n{text}"))
    lines = reply.json["choices"][0]["message"]["content"].splitlines()
    parts = lines[2:]
    assert lines[:2] == ["Short.", ""]
    assert parts[0].startswith("[1] characters 0–")
    assert parts[-1].endswith(f"–{len(text)}: Short.")
    assert (len(parts), len(writing.calls())) == (7, 7 + 2 + 1), "seven parts, two groups of them, their summary"


async def test_too_many_pieces_are_refused_before_any_is_written(writing: Fleet) -> None:
    reply = await writing.post(asked("Translate to German:\n" + "\n".join(["word"] * 31)))
    assert (reply.status, reply.json["error"]["param"]) == (400, "messages")
    assert not writing.calls()


async def test_a_piece_that_finds_no_place_waits_for_one(writing: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of twenty pieces each is refused once, as by a fleet whose places are all taken."""
    refused: set[str] = set()
    whole = GenerationService.open_choices

    @asynccontextmanager
    async def crowded(self: GenerationService, request: GenerationRequest, *more: Any) -> AsyncIterator[Choices]:
        if request.id not in refused:
            refused.add(request.id)
            raise Overloaded("All places are taken.", retry_after_s=0.01)
        async with whole(self, request, *more) as choices:
            yield choices

    monkeypatch.setattr(GenerationService, "open_choices", crowded)
    writing.says("Short.")
    text = "\n\n".join(f"Paragraph {n} says that it is the number {n} of some." for n in range(20))
    reply = await writing.post(asked(f"Summarise this:\n{text}"))
    assert reply.status == 200, reply.json
    assert len(refused) == len(writing.calls()) == 10
