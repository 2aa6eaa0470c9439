"""A passage that has what the question names counts, whatever its vector says."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


_SCHEMES = ["INV-2024-{}", "VK-{}-B", "R{}/24", "F{}", "AB.{}.X", "Auftrag_{}a"]
_ASKED = [
    "What is the total of {} and when is it due?", "Who signed {}, and where was it delivered to?",
    "Wie hoch ist der Betrag von {}?", "{} — has it been paid by Acme?",
]  # fmt: skip


@given(
    st.sampled_from(_SCHEMES), st.sampled_from(_ASKED), st.lists(st.integers(1000, 9999), min_size=2, max_size=8, unique=True)
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_a_record_that_is_nowhere_is_answered_by_no_other(scheme: str, asked: str, numbers: list[int]) -> None:
    missing, *there = (scheme.format(number) for number in numbers)
    passages = {
        record: f"Invoice {record} of Acme, total {at * 37}.50 EUR, due in May." for at, record in enumerate(there)
    }
    passages["terms"] = "Invoices are paid within 30 days of 2024; the 1970er-Jahre are over."
    assert ExactMatch(asked.format(missing)).of_others(passages) == set(there)
    assert ExactMatch(asked.format(there[0])).of_others(passages) == set()
    assert ExactMatch(f"Compare {there[0]} with {missing}.").of_others(passages) == set()


@pytest.mark.parametrize(
    ("question", "passage", "of_another"),
    [
        ("What is the total of Q7?", "| Quarter | Total |\n| Q1 | 10 |\n| Q2 | 20 |", True),
        ("What is the total of Q2?", "| Quarter | Total |\n| Q1 | 10 |\n| Q2 | 20 |", False),
        ("What is the total of Q7?", "| Part | Total |\n| A1 | 10 |", False),
        ("What changed in v2.3?", "v2.1: faster. v2.2: smaller.", True),
        ("What changed in v2.3?", "Version v 2.3 is smaller; v2.2 was not.", False),
        ("Which bolt fits ZZ-9999-Q?", "VK-4417-B takes the bolt of the left rail.", True),
        ("My order is AB-8881; how long may I return it?", "Goods may be returned for 30 days.", False),
        ("What was new in the 1970er-Jahren?", "In the 1980er-Jahren it was rebuilt.", False),
        ("Who sat in the 400-seat hall?", "The 300-seat hall is closed.", False),
        ("What happened to order 88812?", "Order 77001 was sent.", True),
        ("What happened to order no. 88812?", "Order number: 77001, sent on 2024-05-01.", True),
        ("What happened to order 88812?", "Order 77001 was sent. Order 88812 was not.", False),
        ("What happened to order 88812?", "Orders of 88000 euros and more are sent free of charge.", False),
        ("What happened to order 88812?", "| Order | Amount |\n|---|---|\n| 77001 | 120 |", True),
        ("What happened to order 88812?", "| Customer | Amount |\n|---|---|\n| Order | 120 |", False),
        ("Was kostet Auftrag 88812?", "Auftragsnummer: 77001. Betrag 120.", True),
        ("Who won the war of 1815?", "The war of 1914 was lost.", False),
        ("What happened in the year 1815?", "In the year 1914 there was a war.", False),
        ("What is CO2?", "CO is a gas, and so is H2O.", False),
        ("word " * 50 + "order AB-8881", "Order AB-7700 was sent.", False),
    ],
)
def test_passages_about_others_of_a_kind(question: str, passage: str, of_another: bool) -> None:
    assert bool(ExactMatch(question).of_others({"p": passage})) is of_another
