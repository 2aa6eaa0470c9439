"""A PDF is read page by page: a bad page harms no other, a table keeps its rows, and words are whole."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf.generic import ArrayObject, DictionaryObject, NameObject, NumberObject

from gateway.knowledge.chunking import Chunker
from gateway.knowledge.conversion import convert_bytes
from gateway.knowledge.documents import CorruptDocument
from tests.unit.knowledge.pdf_file import FONT, at, drawn, lines
from tests.unit.knowledge.spans import words
from tests.unit.knowledge.test_delimited import rows

PROSE = (
    "The line restarts on Monday, and the crew of the early shift comes at",
    "five. Whoever wants to see the dryer at work may join them, after they",
    "have read the rules that hang at the door. The rules are in German.",
)


def broken(content: bytes, page: int) -> bytes:
    """With a filter that nobody knows on one page's content (from 1)."""
    at_ = -1
    for _ in range(page):
        at_ = content.index(b"<<\n/Length", at_ + 1)
    return content[:at_] + b"<<\n/Filter /NoSuch\n/Length" + content[at_ + len(b"<<\n/Length") :]


def test_a_page_that_cannot_be_read_fails_alone() -> None:
    content = broken(drawn(lines("page one"), lines("page two"), lines("page three")), 2)
    document = convert_bytes("a.pdf", content)
    assert [document.page_at(document.text.index(words)) for words in ("page one", "page three")] == [1, 3]
    (skipped,) = document.skipped
    assert skipped.part == "page 2"
    assert "NoSuch" in skipped.reason
    assert document.receipt()["pages"] == 3


def test_a_pdf_of_which_no_page_can_be_read_fails_and_says_why() -> None:
    with pytest.raises(CorruptDocument, match="NoSuch"):
        convert_bytes("a.pdf", broken(drawn(lines("page one")), 1))


def test_ligatures_and_hyphens_do_not_hide_words() -> None:
    codes = {174: "/fi", 175: "/fl"}
    differences = ArrayObject(item for code, name in codes.items() for item in (NumberObject(code), NameObject(name)))
    encoding = DictionaryObject({NameObject("/Type"): NameObject("/Encoding"), NameObject("/Differences"): differences})
    font = DictionaryObject({**FONT, NameObject("/Encoding"): encoding})
    content = drawn(
        lines(
            *("The \xaelterhouse con\xaeguration of the of\xaece boiler, and the", "Warmwasser-"),
            *("bereitung; it is well-", "known. A well-known \xafow."),
        ),
        font=font,
    )
    text = convert_bytes("a.pdf", content).text
    for word in ("filterhouse", "configuration", "office", "flow", "Warmwasserbereitung", "it is well-known"):
        assert word in text


@pytest.mark.parametrize("order", ["by rows", "by columns"])
@pytest.mark.parametrize("spread", [90, 150])
def test_a_table_keeps_its_rows(order: str, spread: int) -> None:
    table = [["Part", "Stock", "Price"], *([f"VK-{4400 + n}", str(n * 7), f"{n}.50 EUR"] for n in range(8))]
    places = product(range(len(table)), range(3))
    if order == "by columns":
        places = ((row, column) for column, row in product(range(3), range(len(table))))
    drawing = b"".join(at(72 + spread * column, 600 - 16 * row, table[row][column]) for row, column in places)
    document = convert_bytes("a.pdf", drawn(lines(*PROSE) + drawing + lines(*PROSE, top=400)))
    assert rows("\n".join(line for line in document.text.splitlines() if line.startswith("|"))) == table
    assert document.text.count("five. Whoever wants") == 2
    chunks = Chunker(count=words, max_tokens=30, overlap_tokens=0).chunks(document)
    (found,) = (chunk for chunk in chunks if "VK-4407" in chunk.body)
    assert "| VK-4407 | 49 | 7.50 EUR |" in found.body
    assert "| Part | Stock | Price |" in found.indexed, "a part of a table carries its head"


def test_cells_of_two_lines_and_empty_ones() -> None:
    drawing = (
        at(72, 600, "Part") + at(172, 600, "What it is") + at(322, 600, "Stock")
        + at(72, 584, "P-1") + at(172, 584, "a pump with a") + at(322, 584, "7") + at(172, 572, "long name")
        + at(72, 556, "P-2") + at(322, 556, "8")
        + at(72, 540, "P-3") + at(172, 540, "a bolt") + at(322, 540, "9")
    )  # fmt: skip
    assert rows(convert_bytes("a.pdf", drawn(drawing)).text) == [
        ["Part", "What it is", "Stock"],
        ["P-1", "a pump with a long name", "7"],
        ["P-2", "", "8"],
        ["P-3", "a bolt", "9"],
    ]


def test_columns_of_prose_are_read_one_after_the_other() -> None:
    left = [f"left {line}" for line in PROSE]
    right = [f"right {line}" for line in PROSE]
    text = convert_bytes("a.pdf", drawn(lines(*left, x=40) + lines(*right, x=400))).text
    assert text.index(left[2]) < text.index(right[0])
    assert "|" not in text


def test_fields_and_notes_are_read() -> None:
    import io

    import pypdf
    from pypdf.annotations import FreeText, Link
    from pypdf.generic import TextStringObject

    writer = pypdf.PdfWriter(clone_from=io.BytesIO(drawn(lines("A form"))))
    writer.add_annotation(0, FreeText(text="checked by Ada", rect=(50, 550, 200, 650)))
    field = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Annot"),
            NameObject("/Subtype"): NameObject("/Widget"),
            NameObject("/FT"): NameObject("/Tx"),
            NameObject("/T"): TextStringObject("Name"),
            NameObject("/V"): TextStringObject("Grace Hopper"),
            NameObject("/Rect"): ArrayObject(map(NumberObject, (10, 10, 100, 30))),
        }
    )
    writer.add_annotation(0, field)
    for address in ("https://example.org/manual", "https://example.org/manual"):
        writer.add_annotation(0, Link(rect=(50, 550, 200, 650), url=address))
    out = io.BytesIO()
    writer.write(out)
    text = convert_bytes("a.pdf", out.getvalue()).text
    assert "checked by Ada" in text
    assert text.count("https://example.org/manual") == 1
    assert "Name: Grace Hopper" in text


CELL = st.text("abcxyz0123456789-", min_size=1, max_size=8)


@given(
    st.integers(2, 5).flatmap(
        lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=3, max_size=12)
    )
)
@settings(max_examples=40, deadline=None)
def test_every_cell_is_found_again(table: list[list[str]]) -> None:
    drawing = b"".join(
        at(60 + 100 * column, 700 - 15 * row, cell)
        for row, cells in enumerate(table)
        for column, cell in enumerate(cells)
    )
    assert rows(convert_bytes("a.pdf", drawn(drawing)).text) == table


@given(
    st.lists(
        st.tuples(st.integers(20, 500), st.integers(20, 780), st.text("abcdefgh ", min_size=1, max_size=30)),
        min_size=1,
        max_size=15,
    )
)
@settings(max_examples=40, deadline=None)
def test_no_character_is_lost_wherever_it_stands(pieces: list[tuple[int, int, str]]) -> None:
    pieces = [(x, y, f"w{number}q {text}") for number, (x, y, text) in enumerate(pieces)]
    text = convert_bytes("a.pdf", drawn(b"".join(at(*piece) for piece in pieces))).text
    wanted = sorted("".join(text for _, _, text in pieces).replace(" ", ""))
    assert sorted(char for char in text if char.isalnum()) == wanted


@given(
    left=st.lists(st.integers(5, 7), min_size=6, max_size=14),
    right=st.lists(st.integers(5, 7), min_size=6, max_size=14),
    gap=st.integers(0, 14),
)
@settings(max_examples=15)
def test_columns_that_were_written_line_by_line_are_read_one_after_the_other(
    left: list[int], right: list[int], gap: int
) -> None:
    def column(name: str, sizes: list[int]) -> list[str]:
        return [" ".join(f"{name}{line}w{word}" for word in range(size)) for line, size in enumerate(sizes)]

    columns = column("l", left), column("r", right)
    drawing = at(
        72, 740, "A title that goes over both of the columns of this page from its left to its right side, as titles do"
    )
    for number in range(14):
        for x, texts in zip((72, 330), columns, strict=True):
            if number < len(texts):
                drawing += at(x, 700 - 12 * number - 24 * (number >= gap), texts[number])
    drawing += at(
        72, 400, "A last line that goes over both of the columns of this page, for it is the foot of the whole page"
    )
    text = " ".join(convert_bytes("a.pdf", drawn(drawing)).text.split())
    assert " ".join(columns[0]) in text
    assert text.index("A title") < text.index("l0w0") < text.index("r0w0") < text.index("A last line")
    assert " ".join(columns[1]) in text


@given(st.from_regex(r"[A-Z]{2,4}-[0-9]{3,5}-[A-Z0-9]{1,4}", fullmatch=True), st.integers(0, 1))
@settings(max_examples=40, deadline=None)
def test_a_code_that_a_line_parts_is_one(code: str, place: int) -> None:
    parts = code.split("-")
    first, second = "-".join(parts[: place + 1]) + "-", "-".join(parts[place + 1 :])
    if not (first[-2].isdigit() or second[0].isdigit()):
        return
    text = convert_bytes("a.pdf", drawn(lines(f"The part {first}", f"{second} is here, by 1990-", "and well-"))).text
    assert f"The part {code} is here" in text


def test_a_line_that_was_drawn_twice_to_be_bold_is_there_once() -> None:
    bold = at(72, 700, "Terms of payment") + at(72.3, 700, "Terms of payment")
    text = convert_bytes("a.pdf", drawn(bold + lines("haha haha", "1212121212", "so so", top=680))).text
    assert text.count("Terms") == 1
    for line in ("haha haha", "1212121212", "so so"):
        assert line in text
