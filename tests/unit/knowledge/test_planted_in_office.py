"""Words planted in the corners of office documents and PDFs are found again."""

from collections.abc import Callable
from io import BytesIO

import pypdf
import pytest
import xlsxwriter
from pptx import Presentation
from pptx.chart.data import CategoryChartData, XyChartData
from pptx.enum.chart import XL_CHART_TYPE
from pypdf.generic import ArrayObject, DecodedStreamObject, DictionaryObject, NameObject, NumberObject, TextStringObject

from gateway.knowledge.conversion import convert_bytes
from gateway.knowledge.documents import Document
from tests.unit.knowledge.pdf_file import drawn, lines
from tests.unit.knowledge.test_delimited import rows
from tests.unit.knowledge.test_office import paragraph, saved, word

_OFFICE = "http://schemas.openxmlformats.org"
_A, _PIC = f'xmlns:a="{_OFFICE}/drawingml/2006/main"', f'xmlns:pic="{_OFFICE}/drawingml/2006/picture"'
_WP, _V = f'xmlns:wp="{_OFFICE}/drawingml/2006/wordprocessingDrawing"', 'xmlns:v="urn:schemas-microsoft-com:vml"'


def _drawing(inner: str) -> str:
    return f"<w:p><w:r><w:drawing {_WP}><wp:inline>{inner}</wp:inline></w:drawing></w:r></w:p>"


def test_a_picture_that_is_not_there_takes_no_text_along() -> None:
    blip = (
        f"<a:graphic {_A}><a:graphicData><pic:pic {_PIC}>"
        f'<pic:blipFill><a:blip xmlns:r="{_OFFICE}/officeDocument/2006/relationships" r:embed="gone"/></pic:blipFill></pic:pic>'
        "</a:graphicData></a:graphic>"
    )
    picture = _drawing(f'<wp:docPr id="1" name="x" descr="A photograph of the pump"/>{blip}')
    made = convert_bytes("a.docx", word(paragraph("The first paragraph.") + picture + paragraph("The last one.")))
    for words in ("The first paragraph.", "A photograph of the pump", "The last one."):
        assert made.text.count(words) == 1
    assert [each.part for each in made.skipped] == ["headings, lists and tables as such"]


def test_what_drawings_of_word_say_of_themselves() -> None:
    shape = _drawing('<wp:docPr id="1" name="x" descr="A plan of the cellar" title="Plan 7"/>')
    art = f'<w:p><w:r><w:pict {_V}><v:shape><v:textpath string="Great offer"/></v:shape></w:pict></w:r></w:p>'
    text = convert_bytes("a.docx", word(paragraph("Text") + shape + art)).text
    for words in ("A plan of the cellar", "Plan 7", "Great offer"):
        assert words in text


def test_columns_that_a_row_leaves_free_at_its_beginning() -> None:
    def row(properties: str, *cells: str) -> str:
        return f"<w:tr>{properties}{''.join(f'<w:tc>{paragraph(cell)}</w:tc>' for cell in cells)}</w:tr>"

    free = '<w:trPr><w:gridBefore w:val="1"/><w:wBefore w:w="5" w:type="dxa"/></w:trPr>'
    table = f"<w:tbl>{row('', 'Name', 'Price')}{row(free, '12')}</w:tbl>"
    assert rows(convert_bytes("a.docx", word(table)).text.strip()) == [["Name", "Price"], ["", "12"]]


def test_bars_breaks_and_charts_on_slides() -> None:
    deck = Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[0])
    slide.shapes.title.text = "The head"
    table = slide.shapes.add_table(2, 2, 0, 0, 100, 100).table
    for place, words in {(0, 0): "k", (0, 1): "v", (1, 0): "a|b", (1, 1): "1"}.items():
        table.cell(*place).text = words
    data = CategoryChartData()
    data.categories = ["Q1"]
    data.add_series("Sales", (1.5,))
    slide.shapes.add_chart(XL_CHART_TYPE.BAR_CLUSTERED, -1, -1, 10, 10, data)
    broken = slide.shapes.add_textbox(0, 0, 1, 1).text_frame.paragraphs[0]
    for words in ("one", "two"):
        broken.add_run().text = words
        broken.add_line_break()
    text = convert_bytes("a.pptx", saved(deck)).text
    assert ["a|b", "1"] in rows("\n".join(line for line in text.splitlines() if line.startswith("|")))
    assert "|#" not in text
    assert "onetwo" not in text


def test_points_of_a_cloud_on_a_slide() -> None:
    deck = Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[6])
    points = XyChartData()
    series = points.add_series("Wells")
    for x, y in ((17.5, 2.25), (19.5, 7.75)):
        series.add_data_point(x, y)
    slide.shapes.add_chart(XL_CHART_TYPE.XY_SCATTER, 0, 0, 9, 9, points)
    table = rows(
        "\n".join(line for line in convert_bytes("a.pptx", saved(deck)).text.splitlines() if line.startswith("|"))
    )
    for row in (["17.5", "2.25"], ["19.5", "7.75"]):
        assert row in table


def test_titles_of_charts_on_a_sheet() -> None:
    out = BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True})
    sheet = book.add_worksheet("S")
    sheet.write(0, 0, "k")
    chart = book.add_chart({"type": "bar"})
    chart.add_series({"values": "=S!$A$1:$A$2"})
    chart.set_title({"name": "Sales by region"})
    sheet.insert_chart("C3", chart, {"description": "Bars of four regions"})
    book.close()
    text = convert_bytes("a.xlsx", out.getvalue()).text
    assert "- chart: Sales by region" in text
    assert "Bars of four regions" in text


def _changed(change: Callable[[pypdf.PdfWriter], object]) -> Document:
    writer = pypdf.PdfWriter(clone_from=BytesIO(drawn(lines("The pump is blue."), lines("The last page."))))
    change(writer)
    out = BytesIO()
    writer.write(out)
    return convert_bytes("a.pdf", out.getvalue())


def test_bookmarks_with_words_that_no_page_has() -> None:
    def change(writer: pypdf.PdfWriter) -> None:
        writer.add_outline_item(title="The pump is blue.", page_number=0)
        writer.add_outline_item(title="Chapter on valves", page_number=1)

    made = _changed(change)
    assert made.text == "The pump is blue.\n\nThe last page.\n\nChapter on valves"
    assert len(made.page_starts) == 2


def test_what_was_filled_in_a_form_that_few_programs_show() -> None:
    def change(writer: pypdf.PdfWriter) -> None:
        stream = DecodedStreamObject()
        stream.set_data(b'<x:xdp xmlns:x="u"><x:datasets><data><name>Ann Meyer</name></data></x:datasets></x:xdp>')
        form = {NameObject("/XFA"): writer._add_object(stream), NameObject("/Fields"): ArrayObject()}
        writer._root_object[NameObject("/AcroForm")] = DictionaryObject(form)

    assert "Ann Meyer" in _changed(change).text


def test_notes_that_have_words_in_html_alone() -> None:
    def change(writer: pypdf.PdfWriter) -> None:
        note = {
            NameObject("/Type"): NameObject("/Annot"),
            NameObject("/Subtype"): NameObject("/FreeText"),
            NameObject("/Rect"): ArrayObject([NumberObject(9)] * 4),
            NameObject("/RC"): TextStringObject("<body><p>Check the <b>v</b>alve</p></body>"),
        }
        writer.pages[0][NameObject("/Annots")] = ArrayObject([writer._add_object(DictionaryObject(note))])

    assert "Check the valve" in _changed(change).text


@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_pdf_without_its_end(left: int) -> None:
    whole = drawn(lines("The pump is blue."), lines("The last page."))
    ends = [whole.rindex(b"xref\n0"), whole.rindex(b"trailer"), whole.rindex(b"startxref")]
    text = convert_bytes("a.pdf", whole[: ends[left]]).text
    assert "The pump is blue." in text
    assert "The last page." in text
