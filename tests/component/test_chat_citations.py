"""Citations are checked: the passage was in the prompt, and its file has it where it says."""

from typing import Any

import pytest

from gateway.errors import ObjectsUnavailable
from gateway.knowledge.documents import Document
from gateway.knowledge.objects import document_key
from gateway.serving.citation_finder import CitationFinder
from gateway.triton.fake_answers import Script
from tests.support.running import PASSAGES, Fleet


@pytest.fixture
async def handbook(fleet: Fleet) -> Fleet:
    """A fleet with a knowledge store, whose search finds returns.md (1) and prices.pdf (2)."""
    await fleet.learn("handbook")
    return fleet


async def _ask(fleet: Fleet, *, stream: bool = False) -> tuple[str, dict[str, Any], list[dict[str, Any]]]:
    """The text, what `rag` says of its citations, and the annotations."""
    if stream:
        events = await fleet.stream("How long?", model="rag", max_tokens=100)
        rag = next(chunk["rag"] for chunk in reversed(events.chunks) if "rag" in chunk)
        return events.text, rag, events.choices[-1]["delta"].get("annotations", [])
    reply = await fleet.chat("How long?", model="rag", max_tokens=100)
    return reply.text, reply.json["rag"], reply.json["choices"][0]["message"].get("annotations", [])


async def _now_reads(fleet: Fleet, file_id: str, text: str) -> None:
    await fleet.gateway.objects.put(document_key(file_id), Document(text, "x", "plain").to_json())


@pytest.mark.parametrize("stream", [False, True])
async def test_mark_of_a_passage_that_was_not_in_the_prompt(handbook: Fleet, stream: bool) -> None:
    handbook.says("Within thirty days [1], or a year [3].")
    text, rag, annotations = await _ask(handbook, stream=stream)
    assert [note["url_citation"]["title"] for note in annotations] == ["returns.md"]
    (invalid,) = rag["invalid_citations"]
    assert text[invalid["start_index"] : invalid["end_index"]] == "[3]"
    assert (invalid["n"], invalid["reason"]) == (3, "not_in_prompt")


async def test_citation_says_where_in_the_file_and_what_supports_it(handbook: Fleet) -> None:
    handbook.says("Within thirty days [1]. Nine euros, in cash [2].")
    text, rag, _ = await _ask(handbook)
    first, second = rag["citations"]
    assert text[first["start_index"] : first["end_index"]] == "[1]"
    assert first["place"] == {"page": None, "start": 0, "end": len(PASSAGES[0]["text"])}
    assert second["place"]["page"] == 7
    assert (first["verified"], first["support"]) == (True, 1.0)
    assert second["support"] == pytest.approx(2 / 3, abs=0.001)


@pytest.mark.parametrize("stream", [False, True])
async def test_sentence_without_a_mark_is_attributed_to_the_passage_whose_words_it_has(
    handbook: Fleet, stream: bool
) -> None:
    handbook.says("I was asked that. It costs nine euros. Nobody knows more about elephants.")
    text, rag, annotations = await _ask(handbook, stream=stream)
    (found,) = rag["citations"]
    assert (found["n"], found["by"]) == (2, "support")
    assert text[found["start_index"] : found["end_index"]] == "It costs nine euros."
    assert [note["url_citation"]["title"] for note in annotations] == ["prices.pdf"]


async def test_attribution_can_be_turned_off(start: Any) -> None:
    fleet = await start(rag_attribution=1.1)
    await fleet.learn("handbook")
    fleet.says("Nine euros.")
    assert (await _ask(fleet))[1]["citations"] == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("now", ["Forty days.", "Thirty", ""])
async def test_passage_that_its_file_does_not_have_is_not_cited(handbook: Fleet, now: str, stream: bool) -> None:
    await _now_reads(handbook, "a", now)
    handbook.says("Thirty days. Thirty days [1]. Nine euros [2].")
    text, rag, annotations = await _ask(handbook, stream=stream)
    assert [note["url_citation"]["title"] for note in annotations] == ["prices.pdf"]
    (invalid,) = rag["invalid_citations"]
    assert (invalid["n"], invalid["reason"]) == (1, "not_in_file")
    assert text[invalid["start_index"] : invalid["end_index"]] == "[1]"


async def test_white_space_that_the_retrieval_does_not_know_is_no_difference(handbook: Fleet) -> None:
    await _now_reads(handbook, "a", "Thirty\tdays.")
    handbook.says("Thirty days [1].")
    assert (await _ask(handbook))[1]["citations"][0]["verified"] is True


async def test_file_that_is_gone_is_not_cited(handbook: Fleet) -> None:
    await handbook.gateway.objects.delete_prefix("files/a/")
    handbook.says("Thirty days [1].")
    _, rag, annotations = await _ask(handbook)
    assert not annotations
    assert [mark["reason"] for mark in rag["invalid_citations"]] == ["not_in_file"]


async def test_with_the_store_away_citations_are_given_as_not_verified(
    handbook: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(key: str) -> int:
        raise ObjectsUnavailable("The object store is away.", retry_after_s=1)

    monkeypatch.setattr(handbook.gateway.objects, "size", away)
    handbook.says("Thirty days [1].")
    _, rag, annotations = await _ask(handbook)
    assert annotations
    assert [found["verified"] for found in rag["citations"]] == [None]


async def test_passage_is_read_once(handbook: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[str] = []
    read = handbook.gateway.objects.read

    async def counted(key: str) -> bytes:
        keys.append(key)
        return await read(key)

    monkeypatch.setattr(handbook.gateway.objects, "read", counted)
    handbook.says("Thirty days [1].")
    for _ in range(3):
        assert (await _ask(handbook))[1]["citations"][0]["verified"] is True
    assert sorted(keys) == [document_key("a"), document_key("b")]


async def test_first_token_does_not_wait_for_the_check(handbook: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(key: str) -> int:
        await handbook.until(lambda: False)
        raise AssertionError

    monkeypatch.setattr(handbook.gateway.objects, "size", never)
    handbook.says("Thirty days [1].")
    async with handbook.open("How long?", model="rag", max_tokens=100) as stream:
        assert await stream.text(16) == "Thirty days [1]."
        stream.leave()


async def test_mark_that_a_migration_cuts_in_two(handbook: Fleet) -> None:
    words = "Within thirty days [1]."
    handbook.says(words)
    ids = handbook.table.encode(words)
    cut = next(at for at in range(len(ids)) if handbook.table.decode(ids[:at]).endswith("["))
    handbook.answers.script("llm", Script(reset_after=cut))
    events = await handbook.stream(model="rag", max_tokens=100)
    assert [attempt["cause"] for attempt in events.attempts] == ["reset", "end"]
    assert events.text == words
    (note,) = events.choices[-1]["delta"]["annotations"]
    span = note["url_citation"]
    assert words[span["start_index"] : span["end_index"]] == "[1]"


async def test_large_passages_are_read_beside_the_event_loop(handbook: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CitationFinder, "MAX_ON_LOOP", 0)
    handbook.says("Thirty days [1]. It costs nine euros.")
    assert [found["n"] for found in (await _ask(handbook))[1]["citations"]] == [1, 2]
