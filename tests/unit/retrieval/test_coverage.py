"""What a question names has a passage among the few that are given, and a name counts as a part number does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_search.coverage import covering
from retrieval_search.exact import ExactMatch
from retrieval_search.names import names


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("What did Anna Grau get?", ["anna grau"]),
        ("Compare Anna Grau's ticket and that of Bruno Vogel", ["compare anna grau", "anna grau", "bruno vogel"]),
        ("Did Ludwig van Beethoven meet J. S. Bach?", ["ludwig van beethoven", "j s bach"]),
        ("Что купил Иван Петров?", ["иван петров"]),
        ("Who is Grau? And Vogel?", []),
        ("Which invoices are of May and June?", []),
        ("WHAT DID ANNA GRAU GET?", []),
        ("what did anna grau get?", []),
        ("", []),
    ],
)
def test_names_of_a_question(question: str, found: list[str]) -> None:
    assert names(question) == found


@pytest.mark.parametrize(
    "passage", ["Reporter: Anna Grau", "reported by ANNA\nGRAU.", "| Grau, Anna | 12 |", "Anna Grau's"]
)
def test_a_passage_with_the_name_counts(passage: str) -> None:
    assert ExactMatch("What did Anna Grau get?")(passage)


@pytest.mark.parametrize("passage", ["Anna Graumann", "Joanna Grau", "Anna and Grau", "Anna", "Grau"])
def test_another_name_does_not(passage: str) -> None:
    assert not ExactMatch("What did Anna Grau get?")(passage)


_FIRST, _LAST = "Anna Bruno Carla Dmitri Elena".split(), "Abel Brandt Castro Dorn Eklund Fuchs".split()  # noqa: SIM905
_KINDS = [
    lambda n: f"INV-2024-{1000 + n}", lambda n: f"C/{100 + n}/23", lambda n: str(80_000 + 13 * n),
    lambda n: f"2024-0{1 + n // 28}-{1 + n % 28:02d}", lambda n: f"{_FIRST[n % 5]} {_LAST[n // 5 % 6]}",
]  # fmt: skip


@given(st.sampled_from(_KINDS), st.permutations(range(30)), st.integers(1, 4), st.integers(4, 8))
@settings(max_examples=100, deadline=None)
def test_each_record_of_a_comparison_has_a_passage(kind, order, asked, most) -> None:  # type: ignore[no-untyped-def]
    texts = [f"Record {kind(n)}\nThe goods were delivered in good condition." for n in order]
    wanted = [kind(n) for n in range(asked)]
    exact = ExactMatch(f"Compare the records {' and '.join(wanted)}.")
    kept = covering([exact.things_in(text) for text in texts], most)
    assert kept == sorted(set(kept))
    assert len(kept) == most
    assert kept[0] == 0
    found = [name for name in wanted if any(name in texts[at] for at in kept)]
    assert len(found) >= min(asked, most - 1)


@given(st.lists(st.frozensets(st.sampled_from("abc")), max_size=20), st.integers(1, 10))
def test_no_more_are_given_and_the_best_stays(holders: list[frozenset[str]], most: int) -> None:
    kept = covering(holders, most)
    assert len(kept) == min(most, len(holders))
    assert kept == sorted(set(kept))
    assert kept[:1] == ([0] if holders else [])
    if len(holders) > most and most > 3:
        assert frozenset[str]().union(*(holders[at] for at in kept)) == frozenset[str]().union(*holders)


def test_what_is_not_named_leaves_the_order_as_it_is() -> None:
    exact = ExactMatch("How long may goods be returned?")
    assert covering([exact.things_in(f"Order {n}") for n in range(20)], 4) == [0, 1, 2, 3]


def test_several_things_get_two_passages_each_where_there_is_room() -> None:
    holders = [frozenset({"a"})] * 6 + [frozenset({"b"})] * 6
    assert covering(holders, 4) == [0, 1, 6, 7]
    assert covering(holders, 3) == [0, 1, 6]
