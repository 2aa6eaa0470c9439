"""Words for keyword search, in any script."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokens.words import content_words, keyword_text

FOUND = [
    ("保修期多久", "水泵的保修期为二十六个月，请保留发票。"),
    ("门磁开关型号", "冷库门磁开关的型号是门磁七号，备件在三号仓库。"),
    ("吸気バルブの在庫", "吸気バルブの在庫は本社倉庫にあります。"),
    ("有給休暇", "有給休暇の申請は十日前までに行ってください。"),
    ("ﾊﾞﾙﾌﾞ", "吸気バルブの在庫"),
    ("보증 기간", "펌프의 보증기간은 26개월입니다."),
    ("ปิดไฟ", "หอพักปิดไฟเวลาห้าทุ่ม"),
    ("हिन्दी", "यह हिन्दी में है"),
    ("ＶＫ４４１７", "the part VK4417"),
    ("ofﬁce", "the office of the firm"),
    ("Kühl\u00adschrank", "Der Kühlschrank ist leer"),
    ("Cafe\u0301", "ein Café am See"),
]


def analyzed(text: str) -> set[str]:
    """As Milvus Lite's analyzer cuts it."""
    return set(re.findall(r"\w+", keyword_text(text).lower()))


@pytest.mark.parametrize(("question", "passage"), FOUND)
def test_a_question_shares_words_with_the_passage_that_has_them(question: str, passage: str) -> None:
    assert analyzed(question) & analyzed(passage)


def test_other_texts_share_none() -> None:
    assert not analyzed("保修期多久") & analyzed("员工宿舍晚上十一点熄灯，访客须登记。")
    assert not analyzed("ปิดไฟ") & analyzed("員工宿舍")


def test_what_has_spaces_stays_as_it_is() -> None:
    text = "Where is VK-4417-B? Größe, naïve, Привет, שלום, مرحبا: 1,200 €"
    assert keyword_text(text) == text


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=300))
def test_any_text_is_read_the_same_again(text: str) -> None:
    made = keyword_text(text)
    assert len(made) <= 3 * len(text) * 18  # one Arabic character stands for eighteen
    assert analyzed(made) <= analyzed(text) | set(re.findall(r"\w+", made.lower()))


def test_content_words_keep_what_is_a_name_in_capitals() -> None:
    assert content_words("Who leads the IT department?") == ["lead", "it", "department"]
    assert content_words("Who at the WHO is it?") == ["who"]
    assert content_words("WHO LEADS THE IT DEPARTMENT?") == ["lead", "department"]
