"""The measures, against values worked out by hand."""

import math

import pytest

from ragfleet.evaluation import metrics

RANKING = ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("relevant", "cutoff", "value"),
    [
        ({"a": 1}, 10, 1.0),
        ({"c": 1}, 10, 0.5),  # 1 / log2(4)
        ({"d": 1}, 3, 0.0),
        ({"x": 1}, 10, 0.0),
        ({}, 10, 0.0),
        # gains 1 at rank 1 and 3 at rank 3: 1 + 3/2 = 2.5; best 3 + 1/log2(3) = 3.63093
        ({"a": 1, "c": 3}, 10, 0.688529),
        # two relevant, one found at rank 2: (1/log2 3) / (1 + 1/log2 3) = 0.63093 / 1.63093
        ({"b": 1, "x": 1}, 10, 0.386853),
        # more relevant ones than the cutoff has places: the best possible is full places only
        ({"a": 1, "b": 1, "x": 1}, 2, 1.0),
    ],
)
def test_ndcg(relevant: dict[str, int], cutoff: int, value: float) -> None:
    assert metrics.ndcg(RANKING, relevant, cutoff) == pytest.approx(value, abs=1e-6)


def test_recall() -> None:
    relevant = {"a": 1, "d": 1, "x": 2}
    assert metrics.recall(RANKING, relevant, 3) == pytest.approx(1 / 3)
    assert metrics.recall(RANKING, relevant, 4) == pytest.approx(2 / 3)
    assert metrics.recall([], relevant, 10) == 0


def test_reciprocal_rank() -> None:
    assert metrics.reciprocal_rank(RANKING, {"c": 1, "d": 5}, 10) == pytest.approx(1 / 3)
    assert metrics.reciprocal_rank(RANKING, {"d": 1}, 3) == 0


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert (metrics.percentile(values, 0.5), metrics.percentile(values, 0.99)) == (50.0, 99.0)
    assert metrics.percentile([7.0], 0.99) == 7.0
    assert math.isnan(metrics.percentile([], 0.5))


def test_normalisation_is_squads() -> None:
    assert metrics.normalised("The  Panthers' an-swer, a [win]!") == "panthers answer win"
    assert metrics.normalised("theatre and antenna") == "theatre and antenna", "articles are whole words"


def test_exact_match() -> None:
    assert metrics.exact_match("The 308.", ["307", "308"]) == 1
    assert metrics.exact_match("308 points", ["308"]) == 0


def test_f1() -> None:
    # 5 words and 2, both of the 2 in common: 2·2 / (5 + 2)
    assert metrics.f1("It gave up 308 points", ["nothing", "308 points"]) == pytest.approx(4 / 7)
    assert metrics.f1("308 308", ["308"]) == pytest.approx(2 / 3), "a word counts as often as both have it"
    assert metrics.f1("the", ["a"]) == 1, "nothing is left of either"
    assert metrics.f1("the", ["word"]) == metrics.f1("x", []) == 0


def test_marks() -> None:
    assert metrics.exact_match(metrics.without_marks("308 [1]."), ["308"]) == 1
