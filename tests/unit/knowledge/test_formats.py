"""Every format becomes text that has the words of the file; what cannot be read says why.

Small files are made here. The real ones are in ../shared/data/formats, or where RAGFLEET_TEST_DATA says; without them their part
of the table is skipped.
"""

import gzip
import json
import os
import zipfile
from datetime import date
from io import BytesIO
from pathlib import Path

import pytest

from gateway.knowledge.chunking import Chunker
from gateway.knowledge.conversion import convert_bytes
from gateway.knowledge.documents import Document, DocumentError

REAL = Path(os.environ.get("RAGFLEET_TEST_DATA") or Path(__file__).parents[4] / "shared" / "data") / "formats"


def pages(document: Document, words: str) -> int:
    """The page on which the words are."""
    return document.page_at(document.text.index(words))


# name, then either words that must be there (with the page of each, 0 where there are none) or the code of the failure
REAL_FILES: list[tuple[str, dict[str, int] | str]] = [
    ("test.pdf", {"Large language models": 1, "multi-agent conversations": 1}),
    ("REPAIR-2022-INV-001_multipage.pdf", {"REPAIR": 1}),
    ("SPARSE-2024-INV-1234_borderless_table.pdf", {"INVENTORY": 1}),
    ("MEDRPT-2024-PAT-3847_medical_report_scan.pdf", "invalid_file"),
    ("test.docx", {"# Abstract": 0, "AutoGen": 0, "| 1 |": 0}),
    ("test_with_comment.docx", {"AutoGen": 0}),
    ("equations.docx", {"$m=1$": 0}),
    ("test.pptx", {"AutoGen: Enabling": 1, "2cdda5c8-e50e-4db4-b5f0-9722a649f455": 2}),
    ("test.xlsx", {"## Sheet1": 0, "6ff4173b-42a5-4784-9b19-f49caff4d93d": 0}),
    ("test.xls", {"## Sheet1": 0, "6ff4173b-42a5-4784-9b19-f49caff4d93d": 0}),
    ("test_mskanji.csv", {"| 名前 | 年齢 | 住所 |": 0, "髙橋淳": 0}),
    ("test.epub", {"Chapter 2: More Content": 0, "test paragraph": 0}),
    ("test_blog.html", {"Large language models": 0}),
    ("test_wikipedia.html", {"Microsoft": 0}),
    ("test_notebook.ipynb", {"# Test Notebook": 0, "print(42)": 0}),
    ("test_rss.xml", {"# The Official Microsoft Blog": 0, "Ignite 2024": 0}),
    ("random.bin", "unsupported_file"),
]


@pytest.mark.parametrize(("name", "expected"), REAL_FILES, ids=[name for name, _ in REAL_FILES])
def test_real_files(name: str, expected: dict[str, int] | str) -> None:
    if not (REAL / name).is_file():
        pytest.skip(f"{REAL} has no {name}; set RAGFLEET_TEST_DATA to a folder with formats/")
    content = (REAL / name).read_bytes()
    if isinstance(expected, str):
        with pytest.raises(DocumentError) as caught:
            convert_bytes(name, content)
        assert caught.value.code == expected
        return
    document = convert_bytes(name, content)
    assert {words: pages(document, words) for words in expected} == expected
    for chunk in Chunker(count=lambda text: len(text.split())).chunks(document):
        assert chunk.body == document.text[chunk.start : chunk.end]
        assert chunk.page == document.page_at(chunk.start)


def test_every_real_file_is_in_the_table() -> None:
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is not there; set RAGFLEET_TEST_DATA to a folder with formats/")
    assert {path.name for path in REAL.iterdir()} - {"LICENSE.MIT"} == {name for name, _ in REAL_FILES}


def test_word() -> None:
    from tests.unit.knowledge.docx_file import docx

    document = convert_bytes("a.docx", docx("The head", "A paragraph."))
    assert document.text == "# The head\n\nA paragraph.\n"
    assert document.title == "The head"


def test_slides_are_pages() -> None:
    from pptx import Presentation

    deck = Presentation()
    for title, body in (("First", "alpha"), ("Second", "beta")):
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = body
    out = BytesIO()
    deck.save(out)
    document = convert_bytes("a.pptx", out.getvalue())
    assert document.title == "First"
    assert (pages(document, "alpha"), pages(document, "# Second"), pages(document, "beta")) == (1, 2, 2)
    assert [chunk.page for chunk in Chunker(count=len).chunks(document)] == [1, 2]


def test_contents_of_today_under_endings_of_old() -> None:
    from tests.unit.knowledge.docx_file import docx

    assert convert_bytes("a.doc", docx("Head", "Words.")).text == "# Head\n\nWords.\n"
    assert "| hub" in convert_bytes("a.xls", workbook()).text
    old = REAL / "test.xls"
    if old.is_file():
        assert convert_bytes("a.xlsx", old.read_bytes()).rows == 29


def workbook() -> bytes:
    from openpyxl import Workbook

    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Stock"
    for row in (
        ["item", None, "day", "count"],
        ["hub | 8", None, date(2024, 5, 6), 7.0],
        [None, None, None, None],
        ["bolt", None, None, 2.5],
    ):
        sheet.append(row)
    book.create_sheet("Empty")
    out = BytesIO()
    book.save(out)
    return out.getvalue()


def test_a_workbook_becomes_a_table_a_sheet() -> None:
    assert convert_bytes("a.xlsx", workbook()).text == (
        "## Stock\n\n| item | day | count |\n| --- | --- | --- |\n| hub \\| 8 | 2024-05-06 | 7 |\n| bolt |  | 2.5 |\n"
    )


def test_a_notebook_gives_its_text_and_code_and_what_came_out() -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Head\n", "words"]},
        {
            "cell_type": "code",
            "source": ["x = 1\n"],
            "outputs": [{"text": "came out"}, {"data": {"image/png": "iVBO"}}],
        },
    ]
    raw = json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()
    made = convert_bytes("a.ipynb", raw)
    assert "# Head" in made.text
    assert "```python\nx = 1" in made.text
    assert "```\ncame out\n```" in made.text
    assert "iVBO" not in made.text
    assert [each.part for each in made.skipped] == ["1 outputs of cells"]


def test_a_feed() -> None:
    raw = b"""<?xml version="1.0"?><rss version="2.0"><channel><title>News</title><link>x</link><description>d</description>
    <item><title>One</title><description>&lt;p&gt;First words&lt;/p&gt;</description></item></channel></rss>"""
    text = convert_bytes("feed.xml", raw).text
    assert "# News" in text
    assert "First words" in text


def zipped(**members: bytes) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


@pytest.mark.parametrize(
    ("name", "content", "code", "words"),
    [
        ("a.docx", OLE + bytes(600), "invalid_file", "password"),
        ("a.xlsx", b"PK\x03\x04 broken", "invalid_file", "damaged"),
        ("a.docx", zipped(word=b"x"), "invalid_file", "damaged"),
        ("a.pptx", zipped(ppt=b"x"), "invalid_file", "damaged"),
        ("a.epub", zipped(mimetype=b"x"), "invalid_file", "damaged"),
        ("a.xlsx", zipped(a=b"x"), "invalid_file", "damaged"),
        ("a.xls", OLE + bytes(600), "invalid_file", "damaged"),
        ("a.ipynb", b"{not json", "invalid_file", "damaged"),
        ("a.doc", OLE + bytes(600), "invalid_file", "damaged"),
        ("a.zip", zipped(a=b"text"), "unsupported_file", "supported are"),
        ("a.csv", bytes(range(256)), "invalid_file", "not text"),
        ("a.txt", gzip.compress(b"some words" * 20, mtime=0), "unsupported_file", "unpack it"),
        ("a.csv", b"SQLite format 3\0" + bytes(200), "unsupported_file", "as csv"),
        ("a.log", b"7z\xbc\xaf\x27\x1c" + bytes(50), "unsupported_file", "unpack it"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_cannot_be_read(name: str, content: bytes, code: str, words: str) -> None:
    with pytest.raises(DocumentError, match=words) as caught:
        convert_bytes(name, content)
    assert caught.value.code == code


@pytest.mark.parametrize("name", ["a.xls", "a.xlsx", "a.doc"])
@pytest.mark.parametrize(
    "content",
    [
        "<table border=1><tr><th>k</th><th>v</th></tr><tr><td>a</td><td>1</td></tr></table>",
        '<meta http-equiv="Content-Type" content="text/html"><style>td{}</style><table><tr><td>k<td>v<tr><td>a<td>1</table>',
    ],
)
def test_pages_that_programs_call_office_documents(name: str, content: str) -> None:
    assert "| a | 1 |" in convert_bytes(name, content.encode()).text


def test_a_table_of_text_that_is_called_a_workbook() -> None:
    assert "| a | 1 |" in convert_bytes("a.xlsx", b"k;v\na;1\nb;2\n").text


def test_a_zip_bomb_is_seen_before_it_goes_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.knowledge.converters.archives.MAX_UNPACKED", 1 << 20)
    bomb = zipped(**{"word/document.xml": bytes(2 << 20)})
    assert len(bomb) < 10_000
    with pytest.raises(DocumentError, match="unpacks to 2 MiB") as caught:
        convert_bytes("bomb.docx", bomb)
    assert caught.value.code == "invalid_file"
