"""A passage that has what the question names counts, whatever its vector says."""

from __future__ import annotations

import pytest

from retrieval_search.exact import ExactMatch, codes

PART = "| VK-4417-B | bracket, left rail, zinc, box of 19 | aisle 9 | 1319.50 |"
FAULTS = "F0417: fan. F0418: the door switch is open; press it twice. Software 5.8.2 of May 26th, 1998."


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("Where is VK-4417-B?", ["vk-4417-b"]),
        ("What does F0418 mean?", ["f0418"]),
        ("1319.50", ["1319.50"]),
        ("Is 5.11.4 newer than 5.12.0?", ["5.11.4", "5.12.0"]),
        ("Was ist mit DIN-A4/7?", ["din-a4/7"]),
        ("Who won in 1998, on the 26th, within 30min, for 12 euros, in the 1990s?", []),
        ("What is a pump?", []),
        ("a1" * 33, []),
        ("", []),
    ],
)
def test_codes_of_a_question(question: str, found: list[str]) -> None:
    assert codes(question) == found


@pytest.mark.parametrize(
    "question",
    [
        "VK-4417-B", "vk 4417 b", "VK4417B?", "Where is VK-4417-B?", "1319.50", "1,319.50", "4417",
        "bracket left rail zinc", "Which brackets are in aisle 9?",
    ],
)  # fmt: skip
def test_passage_that_has_it(question: str) -> None:
    assert ExactMatch(question)(PART)


@pytest.mark.parametrize("question", ["F0418", "What does F0418 mean?", "5.8.2", "the door switch", "F0418 or F0999?"])
def test_passage_that_has_one_of_several(question: str) -> None:
    assert ExactMatch(question)(FAULTS)


@pytest.mark.parametrize(
    "question",
    [
        "VK-4418-B",
        "VK-441",
        "F04",
        "K-4417-B",
        "What happened in 1998?",
        "Where is it?",
        "Who makes the pump?",
        "",
        "?",
    ],
)
def test_passage_that_has_not(question: str) -> None:
    assert not ExactMatch(question)(PART)
    assert not ExactMatch(question)(FAULTS)


def test_a_code_in_a_script_without_spaces() -> None:
    assert codes("门磁开关VK-4417-B的型号？") == ["vk-4417-b"]
    assert ExactMatch("ＶＫ-4417-B在哪里")("备件VK-4417-B在三号仓库。")


def test_a_question_of_nothing_but_codes_is_looked_for_by_the_last_few() -> None:
    asked = codes(" ".join(f"VK-{number}" for number in range(2000)) + " VK-1999")
    assert asked[-1] == "vk-1999"
    assert len(asked) == len(set(asked)) == 32


@pytest.mark.parametrize(
    "question",
    ["Where is ZZ-9999-Q?", "ZZ-9999-Q", "Wo ist die ZZ-9999-Q?", "What is ZZ-9999-Q or VK-4417-B?", "F0418"],
)
def test_a_question_about_codes_and_nothing_else(question: str) -> None:
    assert ExactMatch(question).is_all


@pytest.mark.parametrize(
    "question",
    [
        "My order is 88812-AB; how long may I return it?", "Which bolt fits ZZ-9999-Q?", "What is H2O?", "What is COVID-19?",
        "2031-777", "Where is it?", "What happened in 1998?", "",
    ],
)  # fmt: skip
def test_a_question_about_more_than_its_code(question: str) -> None:
    assert not ExactMatch(question).is_all
