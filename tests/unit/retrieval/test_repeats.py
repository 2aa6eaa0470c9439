"""Who has read the better passage learns nothing from a repeat of it."""

from __future__ import annotations

from typing import Any

from retrieval_search.repeats import distinct, news

REFUNDS = "Refunds are paid within thirty days of the purchase when the receipt is shown at the counter."
PRICES = "Shipping costs nine euros within the country and nineteen euros abroad."


def passage(name: str, text: str, *, headings: str = "", hit: str = "") -> dict[str, Any]:
    whole = f"{headings}\n{text}" if headings else text
    alone = {"hit": {"text": hit, "start": 0, "end": len(hit)}} if hit else {}
    return {"id": name, "text": whole, "start": 100, "end": 100 + len(text), **alone}


def names(passages: list[dict[str, Any]]) -> list[str]:
    return [each["id"] for each in passages]


def test_a_copy_leaves_whatever_stands_above_it() -> None:
    copy = REFUNDS.upper().replace(" ", "\n")
    both = [passage("a", REFUNDS, headings="Returns"), passage("b", copy, headings="Old › Returns")]
    assert names(distinct(both)) == names(news(both)) == ["a"]


def test_what_a_longer_one_has_said_is_no_news_but_another_text() -> None:
    long, short = passage("long", f"{PRICES} {REFUNDS}"), passage("short", REFUNDS)
    assert names(news([long, short])) == ["long"]
    assert names(news([short, long])) == names(distinct([short, long])) == ["short", "long"]
    assert names(distinct([long, short])) == ["long", "short"]


def test_a_copy_with_neighbours_of_its_own_leaves_for_its_hit_is_told() -> None:
    joined = passage("a", f"{PRICES} {REFUNDS}", hit=REFUNDS)
    other = passage("b", f"{REFUNDS} Closed on Sundays and on all bank holidays of the year.", hit=REFUNDS)
    assert names(news([joined, other])) == ["a"]


def test_others_stay() -> None:
    changed = REFUNDS.replace("thirty", "sixty").replace("purchase", "sale")
    every = [
        passage(name, text) for name, text in {"a": REFUNDS, "b": changed, "c": PRICES, "d": "…", "e": "!?"}.items()
    ]
    assert names(distinct(every)) == names(news(every)) == [*"abcde"]


def test_records_of_one_template_stay_for_they_differ_in_what_matters() -> None:
    record = (
        "Inspection record. The technician opened the housing, removed dust from the fan and the grille, checked the seals of "
        "both doors, measured the current of the compressor over ten minutes, compared it with the plate, and greased the "
        "hinges. The drain was rinsed with warm water and ran free. No leak was found at the valves or the joints. "
        "Unit {}, on {}, by {}."
    )
    said = [("K70", "2 May 2031", "Lena Moor"), ("K71", "2 May 2031", "Lena Moor"), ("K70", "3 May 2031", "Lena Moor")]
    said += [("K70", "2 June 2031", "Lena Moor"), ("K70", "2 May 2031", "Tom Moor")]
    records = [passage(str(number), record.format(*fields)) for number, fields in enumerate(said)]
    assert names(distinct(records)) == names(news(records)) == [*"01234"]
    again = passage("again", record.format(*said[1]).replace("opened", "unscrewed"))
    assert names(distinct([*records, again])) == [*"01234"]


def test_a_script_without_capitals_hides_no_name() -> None:
    record = "技术员打开了外壳，清除了风扇上的灰尘，检查了两扇门的密封条，测量了压缩机的电流，并给铰链上了油，" * 3
    records = [
        passage("a", f"{record} 签名 张三"),
        passage("b", f"{record} 签名 李四"),
        passage("c", f"{record} 签名 张三"),
    ]
    assert names(distinct(records)) == ["a", "b"]
