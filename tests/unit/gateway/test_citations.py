"""Which passages a text cites."""

from typing import Any

import pytest

from gateway.serving.citations import AnswerCitations, CitedBy, InvalidReason, find_citations
from tests.support.passages import a_passage

SOURCES = [
    a_passage("Goods are taken back within 30 days.", headings="Returns", n=1, filename="returns.md"),
    a_passage("A spare key costs 1,200 euros in version 5.8.2.", headings="Prices", n=2, filename="prices.md"),
]


def read(text: str, *, least: float = 0.6, **verified: Any) -> AnswerCitations:
    verdicts = {1: True, 2: True} | {int(name[1:]): value for name, value in verified.items()}
    return find_citations(text, SOURCES, verified=verdicts, least_support=least)


def spans(text: str, cited: AnswerCitations) -> list[tuple[int, str]]:
    return [(found.passage.n, text[found.start : found.end]) for found in cited.citations]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Thirty [1].", [(1, "[1]")]),
        ("Thirty. [1] More [2]", [(1, "[1]"), (2, "[2]")]),
        ("Both [1][2].", [(1, "[1]"), (2, "[2]")]),
        ("Both [1, 2].", [(1, "[1, 2]"), (2, "[1, 2]")]),
        ("Twice [1], and again [1].", [(1, "[1]"), (1, "[1]")]),
        ("[1]", [(1, "[1]")]),
        ("Über 30 Tage [1] 東京", [(1, "[1]")]),
        ("", []),
        ("[1", []),
        ("[01]", [(1, "[01]")]),
    ],
)
def test_marks(text: str, found: list[tuple[int, str]]) -> None:
    cited = read(text)
    assert spans(text, cited) == found
    assert not cited.invalid


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("No [3].", [3]), ("[0]", [0]), ("In [0, 10].", []), ("a[1000]", []), ("[1, 9]", []), ("[٣]", [3])],
)
def test_numbers_that_are_not_in_the_prompt(text: str, numbers: list[int]) -> None:
    cited = read(text)
    assert [(mark.n, mark.reason) for mark in cited.invalid] == [(n, InvalidReason.NOT_IN_PROMPT) for n in numbers]
    assert not cited.citations


def test_support_is_of_the_sentence_with_the_mark() -> None:
    cited = read("Elephants fly. [1] Goods come back within 30 days [1]. A spare key is 1,200 euros [2].")
    assert [found.support for found in cited.citations] == [0.0, 0.8, 1.0]


def test_number_counts_as_a_whole() -> None:
    assert [found.support for found in read("Version 5.8.3 [2]. Version 5.8.2 [2].").citations] == [0.5, 1.0]


def test_mark_alone_has_no_support() -> None:
    assert [found.support for found in read("[1]").citations] == [None]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Goods are taken back within 30 days.", [(1, "Goods are taken back within 30 days.")]),
        ("So. \n A spare key costs 1,200 euros! What?", [(2, "A spare key costs 1,200 euros!")]),
        ("It is of the", []),
        ("I do not know the answer.", []),
        ("30 days", [(1, "30 days")]),
    ],
)
def test_sentence_without_a_mark_is_attributed_by_its_words(text: str, found: list[tuple[int, str]]) -> None:
    cited = read(text)
    assert spans(text, cited) == found
    assert {citation.by for citation in cited.citations} <= {CitedBy.SUPPORT}


def test_no_attribution_beside_a_mark_under_the_threshold_or_to_what_is_not_in_its_file() -> None:
    assert [found.by for found in read("A spare key costs 1,200 euros [1].").citations] == [CitedBy.MARK]
    assert not read("Goods and elephants and castles.").citations
    assert not read("30 days.", least=1.01).citations
    assert not read("30 days.", n1=False).citations
    assert [found.verified for found in read("30 days.", n1=None).citations] == [None]


def test_passage_that_is_not_in_its_file_cannot_be_cited() -> None:
    cited = read("30 days [1]. 1,200 euros [2].", n1=False)
    assert [(mark.n, mark.reason) for mark in cited.invalid] == [(1, InvalidReason.NOT_IN_FILE)]
    assert [found.passage.n for found in cited.citations] == [2]


def test_long_texts_without_an_end_are_read_at_once() -> None:
    for text in ("." * 200_000, "[" * 200_000, "[1" * 100_000, "a" * 200_000, "[1]" * 20_000):
        read(text)
