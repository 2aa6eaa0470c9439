"""Of passages that are one text the best ranked stays, and no other leaves."""

from gateway.retrieval.merging import distinct
from gateway.retrieval.passage import Passage
from tests.support.passages import a_passage
from tokens.repeats import SAME_SHARE

WORDS = [f"{first}{second}" for first in "abcdefghijk" for second in "abcdefghijk"][:102]
"""A hundred triples."""


def hit(file_id: str, *words: str) -> Passage:
    return a_passage(" ".join(words), file_id=file_id)


def kept(*hits: Passage) -> list[str]:
    return [each.file_id for each in distinct(hits)]


def test_a_copy_leaves_whatever_its_case_and_spaces() -> None:
    assert kept(hit("first", *WORDS), hit("other", "x", "y", "z"), hit("copy", "  AA", *WORDS[1:], "\n")) == [
        "first",
        "other",
    ]


def test_the_share_counts_of_both_together() -> None:
    """Without its last n words a text has 100 - n of the 100 triples that both have together."""
    assert SAME_SHARE == 0.9
    assert kept(hit("whole", *WORDS), hit("part", *WORDS[:-10])) == ["whole"]
    assert kept(hit("whole", *WORDS), hit("part", *WORDS[:-11])) == ["whole", "part"]
    assert kept(hit("part", *WORDS[:-10]), hit("whole", *WORDS)) == ["part"]


def test_words_in_common_are_not_enough() -> None:
    assert kept(hit("a", *WORDS), hit("b", *WORDS[::-1])) == ["a", "b"]


def test_what_left_does_not_make_another_leave() -> None:
    assert kept(hit("a", *WORDS), hit("b", *WORDS[:-8]), hit("c", *WORDS[:-16])) == ["a", "c"]


def test_texts_under_three_words_and_without_any() -> None:
    assert kept(hit("a", "yes"), hit("b", "Yes!"), hit("c", "no"), hit("d", "—"), hit("e", "—")) == ["a", "c", "d"]


def test_what_has_another_number_or_name_is_no_copy() -> None:
    records = [
        hit(f"{unit} {name}", *WORDS, "unit", unit, "by", name) for unit in ("K1", "K2") for name in ("Ann", "Bo")
    ]
    assert kept(*records, hit("again", *WORDS, "unit", "K2", "by", "Bo", "soon")) == [
        "K1 Ann",
        "K1 Bo",
        "K2 Ann",
        "K2 Bo",
    ]
