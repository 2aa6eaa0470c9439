"""A file becomes text, or an error that says what is wrong with it."""

from io import BytesIO
from pathlib import Path

import pypdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from gateway.knowledge.conversion import MAX_BYTES, convert, convert_bytes
from gateway.knowledge.documents import (
    CorruptDocument,
    Document,
    DocumentError,
    EmptyDocument,
    EncryptedDocument,
    OversizedDocument,
    UnsupportedDocument,
)


def pdf(*pages: str, password: str | None = None, user_password: str = "", title: str = "") -> bytes:
    """A small PDF with a line of text per page (an empty one for "")."""
    writer = pypdf.PdfWriter()
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    for text in pages:
        page = writer.add_blank_page(300, 300)
        page[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})}
        )
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode() if text else b"")
        page[NameObject("/Contents")] = stream
    if title:
        writer.add_metadata({"/Title": title})
    if password is not None:
        writer.encrypt(user_password, password, algorithm="RC4-128")
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def test_markdown_stays_as_it_is_with_unix_line_ends() -> None:
    document = convert_bytes("a.md", "\ufeff# Über *uns*\r\n\r\nText with \u2028 and tab\t.\r\n".encode())
    assert document.text == "# Über *uns*\n\nText with \u2028 and tab\t.\n"
    assert document.title == "Über *uns*"
    assert document.markup == "markdown"
    assert document.page_at(3) == 0


def test_plain_text_is_not_read_as_markdown() -> None:
    document = convert_bytes("notes.txt", b"# not a heading\n")
    assert (document.title, document.markup) == ("notes", "plain")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_text_in_the_usual_encodings(encoding: str) -> None:
    assert convert_bytes("a.txt", "5 € für\r\nMüller".encode(encoding)).text == "5 € für\nMüller"


def test_colours_in_a_log_are_dropped_and_page_ends_part_words() -> None:
    assert convert_bytes("a.log.txt", b"\x1b[31mred\x1b[0m one\x0ctwo").text == "red one\ntwo"


def test_html_becomes_markdown_without_its_menus() -> None:
    source = """<html><head><title>The title</title><style>p{}</style></head><body><nav>Home</nav>
    <header><a href="/">Start</a> <a href="/login">Log in</a></header><h1>Head</h1><p>One &euro; and snake_case.</p>
    <script>alert(1)</script><table><tr><th>A</th><th>B</th></tr><tr><td>1</td><td>2</td></tr></table>
    <ul><li>x</li><li>y</li></ul><pre><code>a = 1
b = 2</code></pre><footer>Call 030 1234 between nine and five. <a href="/imprint">Imprint</a></footer></body></html>"""
    document = convert_bytes("page.html", source.encode())
    assert document.title == "The title"
    assert document.text.startswith("# Head\n\nOne € and snake_case.\n")
    assert "| A | B |\n| --- | --- |\n| 1 | 2 |" in document.text
    assert "- x\n- y" in document.text
    assert "```\na = 1\nb = 2\n```" in document.text
    assert "030 1234" in document.text
    for gone in ("Home", "Log in", "alert", "p{}"):
        assert gone not in document.text
    assert [each.part for each in document.skipped] == ["menus"]


def test_a_header_with_the_headline_is_kept() -> None:
    assert "Headline" in convert_bytes("a.html", b"<body><header><h1>Headline</h1></header><p>x</p></body>").text


def test_html_says_its_own_encoding() -> None:
    source = '<html><head><meta charset="iso-8859-2"></head><body><p>zażółć</p></body></html>'
    assert "zażółć" in convert_bytes("a.htm", source.encode("iso-8859-2")).text


def test_pdf_pages_have_numbers() -> None:
    document = convert_bytes("a.pdf", pdf("first page", "", "third page", title="A sheet"))
    assert document.title == "A sheet"
    for page, words in ((1, "first page"), (3, "third page")):
        assert document.page_at(document.text.index(words)) == page
        assert document.page_at(document.text.index(words) + len(words) - 1) == page


def test_a_pdf_that_only_restricts_printing_is_read() -> None:
    assert convert_bytes("a.pdf", pdf("open to all", password="owner")).text == "open to all"


@pytest.mark.parametrize(
    ("name", "content", "error", "words"),
    [
        ("film.mp4", b"\0\1\2", UnsupportedDocument, "supported are"),
        ("no_ending", b"\xff\x00\x81", UnsupportedDocument, "supported are"),
        ("a.md", b"", EmptyDocument, "empty"),
        ("a.txt", b" \n\t ", EmptyDocument, "empty"),
        ("a.html", b"<html><script>x</script></html>", EmptyDocument, "no text"),
        ("scan.pdf", pdf("", ""), EmptyDocument, "OCR"),
        ("a.pdf", pdf("secret", password="owner", user_password="user"), EncryptedDocument, "password"),
        ("a.pdf", b"%PDF-1.7 and then nothing", CorruptDocument, "not a readable PDF"),
        ("a.pdf", b"this is no PDF at all", CorruptDocument, "not a readable PDF"),
        ("a.txt", bytes(range(256)), CorruptDocument, "UTF-8"),
        ("a.txt", b"\xff\xfeodd", CorruptDocument, "UTF-8"),
        ("big.txt", b"x" * (MAX_BYTES + 1), OversizedDocument, "split"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_cannot_be_read_says_why(name: str, content: bytes, error: type[DocumentError], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        convert_bytes(name, content)
    assert name in str(caught.value)
    assert caught.value.code == ("unsupported_file" if error is UnsupportedDocument else "invalid_file")


def test_html_nested_without_end_is_read_without_its_structure() -> None:
    assert convert_bytes("deep.html", b"<div>" * 20_000 + b"x").text.strip() == "x"


def test_a_file_is_measured_before_it_is_read(tmp_path: Path) -> None:
    huge = tmp_path / "huge.txt"
    with huge.open("wb") as file:
        file.truncate(500 << 20)  # a hole: it takes no room on the disk
    with pytest.raises(OversizedDocument, match="500 MiB"):
        convert(huge)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("名前,年齢\n佐藤太郎,30\n三木英子,25\n髙橋淳,35", "cp932"),
        ("價格,名稱\n三百,蘋果", "big5"),
        ("Имя,Город\nИван,Москва\nПётр,Казань", "cp1251"),
        ("Straße,Größe\nÄpfel,Öl", "latin-1"),
        ("Stadt,Preis\nKöln,5 €", "cp1252"),
        ("a,b\nñ,ü", "utf-16"),
    ],
)
def test_tables_in_any_encoding(text: str, encoding: str) -> None:
    made = convert_bytes("a.csv", text.encode(encoding)).text
    assert [
        [cell.strip() for cell in line.strip("|").split("|")] for line in made.splitlines() if "---" not in line
    ] == [line.split(",") for line in text.splitlines()]


def test_a_table_finds_its_own_separator_and_keeps_odd_cells() -> None:
    made = convert_bytes("a.csv", b'name;note\n"Smith; J";"two\nlines | and a bar"\n\n')
    assert made.text == "| name | note |\n| --- | --- |\n| Smith; J | two lines \\| and a bar |\n"
    assert made.markup == "markdown"


def test_a_document_is_kept_as_json() -> None:
    document = Document("text ü\n\nmore", "Title", "plain", (0, 8))
    assert Document.from_json(document.to_json()) == document


def test_source_code_keeps_its_lines_and_its_full_name() -> None:
    document = convert_bytes("tool.py", b"def f():\r\n    return 1\r\n")
    assert (document.text, document.title, document.markup) == ("def f():\n    return 1\n", "tool.py", "code")


def test_text_with_an_unknown_ending_is_read() -> None:
    assert convert_bytes("Makefile", b"all: build\n").text == "all: build\n"


@given(
    st.binary(max_size=200),
    st.sampled_from(
        ["a.md", "a.txt", "a.html", "a.pdf", "a.csv", "a.py", "a.ipynb", "a.docx", "a.xlsx", "a.xls", "a.rss", "a"]
    ),
)
@settings(deadline=None)  # the machine may be busy
def test_random_bytes_give_text_or_a_document_error(content: bytes, name: str) -> None:
    try:
        document = convert_bytes(name, content)
    except DocumentError:
        return
    assert document.text.strip()
    document.text.encode()  # no lone surrogates: every database takes it
    assert "\0" not in document.text


def test_a_title_is_spelled_as_text_is() -> None:
    assert convert_bytes("Zu\u0308rich\u00ad.txt", b"x").title == "Zürich"
