"""What is written in a document is found again, also where the libraries do not look."""

import json
import re
import zipfile
from io import BytesIO
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook
from pptx import Presentation
from pptx.util import Inches

from gateway.knowledge.conversion import convert_bytes
from gateway.knowledge.documents import EncryptedDocument
from tests.unit.knowledge.docx_file import docx
from tests.unit.knowledge.test_delimited import rows

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def word(body: str, **parts: str) -> bytes:
    """A .docx of these XML elements. parts: of `word/`, by name without ending."""
    out = BytesIO()
    with zipfile.ZipFile(BytesIO(docx("x", "y"))) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            if name.removeprefix("word/").removesuffix(".xml") in parts:
                continue
            content = old.read(name)
            if name == "word/document.xml":
                content = f'<?xml version="1.0"?><w:document {W}><w:body>{body}</w:body></w:document>'.encode()
            new.writestr(name, content)
        for name, content in parts.items():
            new.writestr(f"word/{name}.xml", f'<?xml version="1.0"?>{content}')
    return out.getvalue()


def paragraph(text: str, style: str = "") -> str:
    style = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f'<w:p>{style}<w:r><w:t xml:space="preserve">{escape(text)}</w:t></w:r></w:p>'


def test_headers_footers_boxes_and_what_no_library_knows() -> None:
    box = f"<w:p><w:r><w:pict><w:unknown><w:txbxContent>{paragraph('in a box')}</w:txbxContent></w:unknown></w:pict></w:r></w:p>"
    both = f'<mc:AlternateContent xmlns:mc="urn:mc"><mc:Choice>{paragraph("told once")}</mc:Choice><mc:Fallback>'
    both = f"<w:p><w:r>{both}{paragraph('told once')}</mc:Fallback></mc:AlternateContent></w:r></w:p>"
    ruby = "<w:p><w:r><w:ruby><w:rubyBase><w:r><w:t>漢字</w:t></w:r></w:rubyBase></w:ruby></w:r></w:p>"
    content = word(
        paragraph("Head", "Heading1") + paragraph("The text.") + box + both + ruby,
        header1=f"<w:hdr {W}>{paragraph('Contract 4711')}</w:hdr>",
        footer1=f"<w:ftr {W}>{paragraph('Page of Acme')}{paragraph('The text.')}</w:ftr>",
    )
    text = convert_bytes("a.docx", content).text
    assert text.startswith("# Head\n\nThe text.\n")
    for words in ("in a box", "漢字", "Contract 4711", "Page of Acme"):
        assert words in text
    assert text.count("told once") == 1


def test_merged_cells_of_word_stand_in_each_row() -> None:
    def cell(text: str, properties: str = "") -> str:
        return f"<w:tc><w:tcPr>{properties}</w:tcPr>{paragraph(text)}</w:tc>"

    wide, begin, more = '<w:gridSpan w:val="2"/>', '<w:vMerge w:val="restart"/>', "<w:vMerge/>"
    table = (
        f"<w:tbl><w:tr>{cell('region')}{cell('sales', wide)}</w:tr>"
        f"<w:tr>{cell('north', begin)}{cell('1')}{cell('2')}</w:tr><w:tr>{cell('', more)}{cell('3')}{cell('4')}</w:tr></w:tbl>"
    )
    text = convert_bytes("a.docx", word(table)).text
    assert rows(text.strip()) == [["region", "sales", "sales"], ["north", "1", "2"], ["north", "3", "4"]]


SENTENCE = st.text(st.sampled_from("abcÄ漢 <>&'\".,;0123456789"), min_size=1, max_size=20).map(
    lambda t: " ".join(t.split())
)


@given(st.lists(st.tuples(SENTENCE, st.sampled_from(["", "Heading1", "table", "box"])), min_size=1, max_size=10))
@settings(max_examples=40, deadline=None)
def test_every_paragraph_is_found_again(parts: list[tuple[str, str]]) -> None:
    body, sentences = "", []
    for number, (text, kind) in enumerate(parts):
        sentences.append(" ".join(f"x{number} {text} y{number}".split()))
        made = paragraph(sentences[-1], "Heading1" if kind == "Heading1" else "")
        if kind == "table":
            made = f"<w:tbl><w:tr><w:tc>{made}</w:tc></w:tr></w:tbl>"
        if kind == "box":
            made = f"<w:p><w:r><w:odd><w:txbxContent>{made}</w:txbxContent></w:odd></w:r></w:p>"
        body += made
    text = " ".join(convert_bytes("a.docx", word(body)).text.split())
    for sentence in sentences:
        assert sentence in text


def saved(deck: Any) -> bytes:
    out = BytesIO()
    deck.save(out)
    return out.getvalue()


@given(st.lists(st.lists(SENTENCE, min_size=1, max_size=4), min_size=1, max_size=4))
@settings(max_examples=15, deadline=None)
def test_every_box_is_found_again_on_its_slide(slides: list[list[str]]) -> None:
    deck = Presentation()
    for number, texts in enumerate(slides):
        slide = deck.slides.add_slide(deck.slide_layouts[6])
        for at, text in enumerate(texts):
            box = slide.shapes.add_textbox(Inches(at), Inches(at), Inches(2), Inches(1))
            box.text_frame.text = " ".join(f"s{number}b{at} {text} end".split())
    document = convert_bytes("a.pptx", saved(deck))
    assert document.receipt()["pages"] == len(slides)
    for number, texts in enumerate(slides):
        for at, text in enumerate(texts):
            place = document.text.index(" ".join(f"s{number}b{at} {text} end".split()))
            assert document.page_at(place) == number + 1


def test_tables_and_notes_of_slides() -> None:
    deck = Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[6])
    table = slide.shapes.add_table(3, 2, 0, 0, Inches(4), Inches(2)).table
    for row, cells in enumerate((["region", "sales"], ["north", "1"], ["", "2"])):
        for column, text in enumerate(cells):
            table.cell(row, column).text = text
    table.cell(1, 0).merge(table.cell(2, 0))
    slide.notes_slide.notes_text_frame.text = "say it slowly"
    text = convert_bytes("a.pptx", saved(deck)).text
    assert "| north | 1 |" in text
    assert "| north | 2 |" in text
    assert "say it slowly" in text


def book(*chapters: bytes) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(
            "META-INF/container.xml",
            '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="OPS/book.opf"/></rootfiles></container>',
        )
        items = "".join(f'<item id="c{n}" href="chapter%20{n}.xhtml"/>' for n in range(len(chapters)))
        spine = "".join(f'<itemref idref="c{n}"/>' for n in [*range(len(chapters)), 99])
        archive.writestr(
            "OPS/book.opf",
            f'<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>'
            f"<dc:title>The book</dc:title></metadata><manifest>{items}</manifest><spine>{spine}</spine></package>",
        )
        for number, content in enumerate(chapters):
            archive.writestr(f"OPS/chapter {number}.xhtml", content)
    return out.getvalue()


def test_a_book_is_read_chapter_by_chapter() -> None:
    first = '<?xml version="1.0" encoding="windows-1251"?><html><body><h1>Глава</h1><p>Первая строка.</p></body></html>'
    second = "<html><body><article>One.</article><article>Two.</article></body></html>"
    document = convert_bytes("a.epub", book(first.encode("cp1251"), second.encode()))
    assert document.title == "The book"
    assert document.text == "The book\n\n# Глава\n\nПервая строка.\n\nOne.\n\nTwo.\n"
    assert len(document.skipped) == 1, "a chapter that is not there is told"


def test_a_feed_in_any_encoding() -> None:
    feed = (
        '<?xml version="1.0" encoding="shift_jis"?><rss version="2.0"><channel><title>ニュース</title><link>x</link>'
        "<description>d</description><item><title>一番</title><description>保証期間は二十六か月です。</description></item>"
        "</channel></rss>"
    )
    text = convert_bytes("feed.xml", feed.encode("cp932")).text
    assert "# ニュース" in text
    assert "保証期間は二十六か月です。" in text


def relations(*targets: tuple[str, str]) -> str:
    """A document's relationships: type and target of each."""
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    made = (f'<Relationship Id="x{at}" Type="{office}/{kind}" Target="{to}"/>' for at, (kind, to) in enumerate(targets))
    return f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{"".join(made)}</Relationships>'


def with_parts(content: bytes, **parts: str | bytes) -> bytes:
    """The archive with these parts in the place of its own, or beside them; `/` is written as two underscores."""
    new = {name.replace("__", "/").replace("DOT", "."): part for name, part in parts.items()}
    out = BytesIO()
    with zipfile.ZipFile(BytesIO(content)) as old, zipfile.ZipFile(out, "w") as archive:
        for name in old.namelist():
            if name not in new:
                archive.writestr(name, old.read(name))
        for name, part in new.items():
            archive.writestr(name, part)
    return out.getvalue()


def test_of_tracked_changes_the_newer_state_is_read() -> None:
    moved = f"<w:moveFrom>{paragraph('was here')}</w:moveFrom>"
    old = "<w:p><w:r><w:t>costs </w:t></w:r><w:del><w:r><w:delText>ten</w:delText></w:r></w:del>"
    new = "<w:ins><w:r><w:t>twelve</w:t></w:r></w:ins><w:moveTo><w:r><w:t> euros</w:t></w:r></w:moveTo></w:p>"
    text = convert_bytes("a.docx", word(moved + old + new + paragraph("The end."))).text
    assert text == "costs twelve euros\n\nThe end.\n"


def test_what_word_only_refers_to_is_read_or_named() -> None:
    chart = """<c:chartSpace xmlns:c="urn:c" xmlns:a="urn:a"><c:title><a:p><a:r><a:t>Sales</a:t></a:r></a:p></c:title><c:ser>
    <c:tx><c:v>ignored</c:v><c:pt idx="0"><c:v>North</c:v></c:pt></c:tx><c:cat><c:pt idx="0"><c:v>Q1</c:v></c:pt></c:cat>
    <c:val><c:pt idx="0"><c:v>4711</c:v></c:pt></c:val></c:ser></c:chartSpace>"""
    content = with_parts(
        word(paragraph("The text."), **{"charts/chart1": chart}),
        word___rels__documentDOTxmlDOTrels=relations(
            ("aFChunk", "page.html"), ("aFChunk", "/word/mail.mht"), ("aFChunk", "gone.rtf"), ("aFChunk", "self.docx")
        ),
        word__pageDOThtml="<p>from a page</p>",
        word__mailDOTmht="MIME-Version: 1.0\nContent-Type: text/html\n\n<p>from a mail</p>",
        word__selfDOTdocx=docx("Inner", "from a document"),
        word__media__aDOTpng=b"x",
        word__embeddings__bDOTxlsx=b"x",
    )
    made = convert_bytes("a.docx", content)
    for words in (
        "The text.",
        "Sales",
        "| | North |",
        "| Q1 | 4711 |",
        "from a page",
        "from a mail",
        "from a document",
    ):
        assert words in made.text.replace("|  |", "| |")
    named = " ".join(each.part for each in made.skipped)
    assert "word/gone.rtf" in named
    assert "1 pictures" in named
    assert "b.xlsx" in named


def test_choices_of_forms_are_read() -> None:
    choice = '<w:ddList><w:result w:val="1"/><w:listEntry w:val="red"/><w:listEntry w:val="blue"/></w:ddList>'
    field = f'<w:p><w:r><w:fldChar w:fldCharType="begin"><w:ffData>{choice}</w:ffData></w:fldChar></w:r></w:p>'
    names = 'xmlns:w14="http://schemas.microsoft.com/office/word/2010/wordml"'
    box = f'<w14:checkbox {names}><w14:checked w14:val="1"/></w14:checkbox>'
    box = f"<w:p><w:sdt><w:sdtPr>{box}</w:sdtPr><w:sdtContent><w:r><w:t>☒</w:t></w:r></w:sdtContent></w:sdt>"
    text = convert_bytes("a.docx", word(field + box + "<w:r><w:t> agreed</w:t></w:r></w:p>")).text
    assert "blue" in text
    assert "☒ agreed" in " ".join(text.split())


def test_a_slide_that_is_damaged_fails_alone() -> None:
    deck = Presentation()
    for words in ("first", "second", "third"):
        deck.slides.add_slide(deck.slide_layouts[6]).shapes.add_textbox(0, 0, 9, 9).text_frame.text = words
    out = BytesIO()
    deck.save(out)
    made = convert_bytes("a.pptx", with_parts(out.getvalue(), ppt__slides__slide2DOTxml="<broken"))
    assert made.text == "first\n\n\n\nthird"
    assert [each.part for each in made.skipped][1:] == ["slide 2"]
    assert made.page_at(made.text.index("third")) == 3


def test_where_links_of_slides_lead_to() -> None:
    deck = Presentation()
    frame = deck.slides.add_slide(deck.slide_layouts[6]).shapes.add_textbox(0, 0, 9, 9).text_frame
    run = frame.paragraphs[0].add_run()
    run.text, run.hyperlink.address = "here", "https://example.org/manual"
    out = BytesIO()
    deck.save(out)
    assert "https://example.org/manual" in convert_bytes("a.ppsx", out.getvalue()).text


def test_what_an_archive_is_says_what_lies_in_it() -> None:
    out = BytesIO()
    deck = Presentation()
    deck.slides.add_slide(deck.slide_layouts[6]).shapes.add_textbox(0, 0, 9, 9).text_frame.text = "on a slide"
    deck.save(out)
    slides, text = out.getvalue(), docx("x", "in a text")
    for name in ("a.docx", "a.pdf.docx", "a.csv", "a.txt", "a", "a.ppt"):
        assert "on a slide" in convert_bytes(name, slides).text
    assert "on a slide" in convert_bytes("a.pptx", with_parts(slides, ppt__embeddings__aDOTdocx=text)).text


def test_chapters_that_are_only_linked_to() -> None:
    items = "".join(
        f'<item id="{each}" href="{each}.xhtml" media-type="application/xhtml+xml" properties="{each}"/>'
        for each in ("one", "notes", "nav")
    )
    package = (
        f'<package><manifest>{items}</manifest><spine><itemref idref="one"/><itemref idref="one"/></spine></package>'
    )
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("META-INF/container.xml", '<container><rootfile full-path="book.opf"/></container>')
        archive.writestr("book.opf", package)
        for each in ("one", "notes", "nav"):
            archive.writestr(f"{each.capitalize()}.xhtml", f"<p>words of {each}</p>")
    assert convert_bytes("a.epub", out.getvalue()).text == "words of one\n\nwords of notes\n"


def repacked(content: bytes, strict: bool, backslashes: bool) -> bytes:
    """The same file as Excel's "Strict Open XML", or as .NET wrote archives once."""
    out = BytesIO()
    with zipfile.ZipFile(BytesIO(content)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            data = old.read(name)
            if strict:
                data = re.sub(
                    rb"http://schemas\.openxmlformats\.org/(\w*ml|officeDocument)/2006/",
                    rb"http://purl.oclc.org/ooxml/\1/",
                    data,
                )
            member = zipfile.ZipInfo(name)
            if backslashes:
                member.filename = name.replace("/", "\\")
            new.writestr(member, data)
    return out.getvalue()


@pytest.mark.parametrize(("strict", "backslashes"), [(True, False), (False, True), (True, True)])
def test_the_strict_form_and_archives_with_backslashes_are_read_as_the_usual_ones(
    strict: bool, backslashes: bool
) -> None:
    deck = Presentation()
    deck.slides.add_slide(deck.slide_layouts[5]).shapes.title.text = "A title"  # type: ignore[union-attr]
    saved = BytesIO()
    deck.save(saved)
    book = Workbook()
    book.worksheets[0].append(["bolt", 3])
    sheets = BytesIO()
    book.save(sheets)
    for name, content, words in (
        ("a.docx", word(paragraph("Head", "Heading1") + paragraph("The text.")), "# Head"),
        ("a.pptx", saved.getvalue(), "A title"),
        ("a.xlsx", sheets.getvalue(), "| bolt | 3 |"),
    ):
        plain, made = convert_bytes(name, content), convert_bytes(name, repacked(content, strict, backslashes))
        assert words in made.text
        assert (made.text, made.skipped) == (plain.text, plain.skipped)


def test_powers_are_no_digits_of_the_number_and_equations_that_cannot_be_converted_are_words() -> None:
    def raised(text: str) -> str:
        return f'<w:r><w:rPr><w:vertAlign w:val="superscript"/></w:rPr><w:t>{text}</w:t></w:r>'

    body = f"<w:p><w:r><w:t>3 x 10</w:t></w:r>{raised('6')}<w:r><w:t> N on the 1</w:t></w:r>{raised('st')}</w:p>"
    math = "http://schemas.openxmlformats.org/officeDocument/2006/math"
    odd = f'<w:p><m:oMath xmlns:m="{math}"><m:f><m:num><m:r><m:t>load</m:t></m:r></m:num></m:f></m:oMath></w:p>'
    broken = "<w:p><w:r><w:t>one</w:t><w:cr/><w:t>two</w:t></w:r></w:p>"
    text = convert_bytes("a.docx", word(body + odd + broken)).text
    assert text.count("3 x 10") == 1
    assert "3 x 10^6 N on the 1st" in text
    assert "load" in text
    assert "onetwo" not in text


def test_a_notebook_of_version_3() -> None:
    cells = [
        {"cell_type": "heading", "level": 2, "source": ["The head"]},
        {"cell_type": "markdown", "source": ["Some words."]},
        {
            "cell_type": "code",
            "input": ["print(42)\n", "x = 1"],
            "outputs": [{"output_type": "stream", "text": ["42"]}],
        },
    ]
    notebook = {"metadata": {"name": "n"}, "nbformat": 3, "nbformat_minor": 0, "worksheets": [{"cells": cells}]}
    made = convert_bytes("a.ipynb", json.dumps(notebook).encode())
    for words in ("## The head", "Some words.", "print(42)\nx = 1", "```\n42\n```"):
        assert words in made.text


def test_a_book_whose_container_is_missing_or_whose_list_is_not_well_formed() -> None:
    package = (
        "<package><metadata><title>Odd &nbsp; book</title></metadata><manifest><item id='a' href='a.xhtml'/></manifest>"
    )
    for container in ("", "<container><rootfile full-path='elsewhere.opf'/></container>"):
        out = BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("mimetype", "application/epub+zip")
            if container:
                archive.writestr("META-INF/container.xml", container)
            archive.writestr("OEBPS/book.opf", package + "<spine><itemref idref='a'/></spine></package>")
            archive.writestr("OEBPS/a.xhtml", "<html><body><p>The words.</p></body></html>")
        assert "The words." in convert_bytes("a.epub", out.getvalue()).text


def test_a_book_that_is_protected_says_so_and_one_with_locked_fonts_is_read() -> None:
    for locked, readable in (("OEBPS/a.xhtml", False), ("OEBPS/font.otf", True)):
        out = BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("mimetype", "application/epub+zip")
            archive.writestr("META-INF/encryption.xml", f'<encryption><CipherReference URI="{locked}"/></encryption>')
            archive.writestr(
                "book.opf", "<package><manifest><item id='a' href='a.xhtml' media-type='html'/></manifest></package>"
            )
            archive.writestr("a.xhtml", "<html><body><p>The words.</p></body></html>")
        if readable:
            assert "The words." in convert_bytes("a.epub", out.getvalue()).text
        else:
            with pytest.raises(EncryptedDocument):
                convert_bytes("a.epub", out.getvalue())
