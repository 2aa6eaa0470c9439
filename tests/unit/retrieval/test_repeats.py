"""Who has read the better passage learns nothing from a repeat of it."""

from __future__ import annotations

from typing import Any

from retrieval_search.repeats import without_repeats

REFUNDS = "Refunds are paid within thirty days of the purchase when the receipt is shown at the counter."
PRICES = "Shipping costs nine euros within the country and nineteen euros abroad."


def passage(name: str, text: str, *, headings: str = "", hit: str = "") -> dict[str, Any]:
    whole = f"{headings}\n{text}" if headings else text
    alone = {"hit": {"text": hit, "start": 0, "end": len(hit)}} if hit else {}
    return {"id": name, "text": whole, "start": 100, "end": 100 + len(text), **alone}


def names(*passages: dict[str, Any]) -> list[str]:
    return [each["id"] for each in without_repeats(passages)]


def test_a_copy_leaves_whatever_stands_above_it() -> None:
    copy = REFUNDS.upper().replace(" ", "\n")
    assert names(passage("a", REFUNDS, headings="Returns"), passage("b", copy, headings="Old › Returns")) == ["a"]


def test_what_a_longer_one_has_said_leaves_and_not_the_other_way_round() -> None:
    both = f"{PRICES} {REFUNDS}"
    assert names(passage("long", both), passage("short", REFUNDS)) == ["long"]
    assert names(passage("short", REFUNDS), passage("long", both)) == ["short", "long"]


def test_a_copy_with_neighbours_of_its_own_leaves_for_its_hit_is_told() -> None:
    joined = passage("a", f"{PRICES} {REFUNDS}", hit=REFUNDS)
    other = passage("b", f"{REFUNDS} Closed on Sundays and on all bank holidays of the year.", hit=REFUNDS)
    assert names(joined, other) == ["a"]


def test_others_stay() -> None:
    assert names(passage("a", REFUNDS), passage("b", PRICES), passage("c", "…"), passage("d", "!?")) == [*"abcd"]
    changed = REFUNDS.replace("thirty", "sixty").replace("purchase", "sale")
    assert names(passage("a", REFUNDS), passage("b", changed)) == ["a", "b"]
