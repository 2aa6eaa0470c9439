"""A long question is searched by its sentences."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval_search.windows import LONG, MOST, windows

MAIL = "I hope that you had a pleasant week and that the weather by the coast was kind to all of you. " * 3
QUESTION = "Within how many days is a refund of the mixer possible?"


def test_a_question_behind_a_mail_is_a_window_of_its_own() -> None:
    assert windows(MAIL + QUESTION)[-1] == QUESTION
    assert windows(QUESTION + " " + MAIL)[0] == QUESTION


def test_a_short_question_is_searched_whole() -> None:
    assert windows(QUESTION) == windows("") == windows("word " * LONG) == []


def test_short_sentences_share_a_window() -> None:
    made = windows("It is red. It is new. It is big. It is mine. " * 6)
    assert all(window.count("It is") > 1 for window in made)


@pytest.mark.parametrize("unit", ["水泵的保修期为二十六个月，请保留发票。", "หอพักปิดไฟเวลาห้าทุ่ม ", "x" * 300 + " "])
def test_what_has_no_spaces_or_no_end_is_cut_too(unit: str) -> None:
    made = windows(unit * 40)
    assert 1 < len(made) <= MOST
    assert max(map(len, made)) < 2000


def test_of_a_very_long_text_the_beginning_and_the_end_are_searched() -> None:
    made = windows(f"First of all, hello. {MAIL * 1000} {QUESTION}")
    assert len(made) <= MOST
    assert made[0].startswith("First of all")
    assert made[-1] == QUESTION


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=2000))
def test_any_text_has_windows_without_a_word_lost(text: str) -> None:
    made = windows(text)
    assert len(made) <= MOST
    if made and len(made) < MOST:
        assert re.findall(r"\w", "".join(made)) == re.findall(r"\w", text)
