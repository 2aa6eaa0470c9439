"""What looks the same is stored the same, and what carries meaning stays."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.knowledge.normalization import clean, normalized


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("Daten\u00adbank\u00adverwaltung", "Datenbankverwaltung"),
        ("Ver\u00ad\n   trag", "Vertrag"),
        ("Zu\u0308rigasse", "Zürigasse"),
        ("the o\ufb03ce \ufb01lter", "the office filter"),
        ("part\u200bnumber\ufeff", "partnumber"),
        ("שלום\u200e \u202bעולם\u202c", "שלום עולם"),
        ("型番ＱＺ４４、ﾎﾟﾝﾌﾟ", "型番QZ44、ポンプ"),
        ("⽇本の⽔", "日本の水"),
        ("\ufe8d\ufee0\ufee4", "الم"),
        ("1\u00a0000\u202f€", "1 000 €"),
        ("Auf\u200clage, a\u200db", "Auflage, ab"),
        ("ignore\U000e0069\U000e0067 this", "ignore this"),
        ("VK\u20114417\u2010B", "VK-4417-B"),
        ("𝐁𝐨𝐥𝐝", "Bold"),
        ("\x1b[1;31merror\x1b[0m in \x1b]0;title\x07line\x1b[K 3", "error in line 3"),
        ("N\x08NA\x08AM\x08ME\x08E _\x08u_\x08p", "NAME up"),
        ("a\r\nb\rc\x0cd\x85e\x00\x07", "a\nb\nc\nd\ne"),
    ],
)
def test_one_spelling(written: str, stored: str) -> None:
    assert clean(written) == stored


@pytest.mark.parametrize(
    "text",
    [
        "می‌خواهم",  # Persian parts a prefix by a zero width non-joiner
        "क्‍ष",  # Hindi
        "👩‍💻 👨‍👩‍👧",
        "🏴󠁧󠁢󠁥󠁮󠁧󠁿",  # the flag of England is spelled with tags
        "ภาษา\u200bไทย",  # a zero width space parts words where there are no blanks
        "10 m² und ½ l, H₂O, ①",
        "tabs\tand\nlines",
        "（全角）　空白",
    ],
)
def test_what_carries_meaning_stays(text: str) -> None:
    assert clean(text) == text


@given(st.text(max_size=80))
def test_it_is_done_once_and_for_all(text: str) -> None:
    stored = clean(text)
    assert clean(stored) == stored == normalized(stored)
    assert unicodedata.is_normalized("NFC", stored)
    stored.encode()
    assert "\0" not in stored


@given(st.text(st.sampled_from("abc ÄöüßéñçŁžěЖяΩλあ漢字한글עברעربيไทย.,;:!?-()/'\"0123456789\n"), max_size=200))
def test_ordinary_text_is_not_touched(text: str) -> None:
    text = unicodedata.normalize("NFC", text)
    assert clean(text) == text


@given(
    words=st.lists(st.from_regex("[a-z]{2,6}", fullmatch=True), min_size=2, max_size=5),
    mark=st.sampled_from("\x01\x1c\x1d\x1e\x1f"),
)
def test_marks_of_machines_between_words_part_them(words: list[str], mark: str) -> None:
    assert clean(mark.join(words)).split() == words
