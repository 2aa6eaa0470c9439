"""What is written in one way is found by whoever writes it in another; what only looks like it is not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_search.exact import ExactMatch
from tests.support.lookups import KINDS, chinese, emoji, name, norm
from tokens import compounds
from tokens.compounds import parts
from tokens.dates import dates
from tokens.keywords import keyword_query, keyword_text
from tokens.spellings import guesses, spellings


def analyzed(text: str) -> set[str]:
    """As Milvus Lite's analyzer cuts it."""
    return set(re.findall(r"\w+", keyword_text(text).lower()))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20)  # of each, all spellings against all
@given(st.integers(0, 2**32))
def test_each_spelling_finds_every_other(kind: Callable[[Random], tuple[str, ...]], seed: int) -> None:
    chance = Random(seed)
    same, other = kind(chance), kind(chance)
    for asked in same:
        looked_for = set(keyword_query(asked).split())
        for written in same:
            text = f"Remark on {written}, seen twice."
            assert looked_for & analyzed(text), (asked, written)
            if kind not in (norm, name):
                assert ExactMatch(f"Where is {asked}?")(text) or kind in (chinese, emoji), (asked, written)
        if not set(same) & set(other):
            best = max(len(looked_for & analyzed(written)) for written in same)
            assert all(len(looked_for & analyzed(written)) <= best for written in other)


@given(st.text(max_size=300))
def test_any_text_has_spellings_of_bounded_number(text: str) -> None:
    made = list(spellings(text))
    assert all(len(each) <= 64 or each.isalnum() for each in made)
    assert sum(map(len, made)) <= 8 * len(text) + 8
    assert len(guesses(text)) <= 64


@pytest.mark.parametrize(
    "text", ["99.99.2024", "2024-13-40", "1 Smarch 2024", "version 1.2.2024.5", "12-2024", "0.0.2024", "May 2024", ""]
)
def test_what_is_no_date(text: str) -> None:
    assert not list(dates(text))


def test_a_day_that_can_be_two_is_both_and_one_that_says_its_year_first_is_one() -> None:
    assert list(dates("03/05/2024")) == ["20240305", "20240503"]
    assert list(dates("2024-03-05")) == ["20240305"]
    assert list(dates("25/05/2024")) == ["20240525"]
    assert list(dates("03.05.24")) == ["20240503"]


@pytest.mark.parametrize("question", ["VK-4418-B", "12345678", "6 March 2024", "0x1F4B", "DIN 913"])
def test_another_code_is_no_exact_hit(question: str) -> None:
    text = "VK-4417-B: 1,234,567 pieces of DIN 912 on 5 March 2024, at 0x1F4A"
    assert not ExactMatch(question)(text)


def test_the_parts_of_german_compounds() -> None:
    assert parts("kundigungsfrist") == ("kundigung", "frist")
    assert parts("nationalhymn") == ("national", "hymn")
    assert [parts(word) for word in ("wonderland", "understand", "abhangigkeit", "frist", "")] == [()] * 5
    assert "frist" in analyzed("Die Kündigungsfrist ist kurz")
    assert "frist" in keyword_query("Wie lang ist die Kündigungsfrist?").split()


def test_an_english_text_has_no_german_compounds() -> None:
    assert "plan" not in analyzed("This is about the Marshallplan and what it was for")


def test_a_question_that_is_one_emoji_wants_it() -> None:
    assert ExactMatch("🚀")("Launch 🚀 on Monday")
    assert not ExactMatch("🚀")("Launch 🔥 on Monday")


@pytest.mark.parametrize(
    "text",
    [
        "1" * 48_000,
        "a1" * 24_000,
        "0x" + "0" * 48_000 + "g",
        "水1" * 16_000,
        "A 1 " * 12_000,
        "1-" * 24_000,
        "x" * 48_000 + "1",
    ],
    ids=["digits", "mixed", "zeros", "characters", "capitals", "hyphens", "letters"],
)
def test_long_words_are_read_in_a_line_of_time(text: str) -> None:
    """Each took minutes where a pattern could give back what it took; a test's own limit is two."""
    assert keyword_text(text)
    assert len(guesses(text)) <= 64


def test_without_the_list_of_parts_no_word_has_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The list may be left out for its licence (NOTICE)."""
    monkeypatch.setattr(compounds, "files", lambda package: tmp_path)
    compounds._counts.cache_clear()
    compounds.parts.cache_clear()
    try:
        assert compounds.parts("kundigungsfrist") == ()
    finally:
        compounds._counts.cache_clear()
        compounds.parts.cache_clear()
