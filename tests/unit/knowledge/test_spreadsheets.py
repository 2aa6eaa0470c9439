"""Every cell of a workbook is found again, in its row, whatever the workbook says of its size."""

import zipfile
from datetime import date, datetime, timedelta
from datetime import time as clock
from io import BytesIO
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook
from openpyxl.chart import BarChart
from openpyxl.comments import Comment
from openpyxl.styles import Font

from gateway.knowledge.conversion import convert_bytes
from gateway.knowledge.converters.spreadsheets import shown
from gateway.knowledge.documents import DocumentError
from tests.unit.knowledge.test_delimited import rows


def saved(book: Workbook) -> bytes:
    out = BytesIO()
    book.save(out)
    return out.getvalue()


def sheet_of(*table: list[Any]) -> Workbook:
    book = Workbook()
    for row in table:
        book.worksheets[0].append(row)
    return book


def rewritten(content: bytes, member: str, *changes: tuple[str, str]) -> bytes:
    """The workbook with changes in the text of one of its members."""
    out = BytesIO()
    with zipfile.ZipFile(BytesIO(content)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            data = old.read(name)
            if name == member:
                for before, after in changes:
                    assert before.encode() in data
                    data = data.replace(before.encode(), after.encode())
            new.writestr(name, data)
    return out.getvalue()


SHEET = "xl/worksheets/sheet1.xml"


@pytest.mark.parametrize("dimension", ["A1", "A1:A2", "B7:B7", "A1:XFD1048576"])
def test_the_size_that_a_sheet_says_it_has_means_nothing(dimension: str) -> None:
    table = [["part", "stock"], *([f"P-{number}", str(number)] for number in range(6))]
    content = rewritten(saved(sheet_of(*table)), SHEET, ('<dimension ref="A1:B7"', f'<dimension ref="{dimension}"'))
    document = convert_bytes("a.xlsx", content)
    assert (rows(document.text.split("\n\n", 1)[1]), document.rows) == (table, 7)


def test_a_cell_at_the_end_of_the_world_costs_nothing() -> None:
    book = sheet_of(["part", "stock"], ["P-1", "7"])
    book.worksheets[0]["XFD1048576"] = "stray"
    document = convert_bytes("a.xlsx", saved(book))
    assert [word in document.text for word in ("P-1", "stray")] == [True, True]
    assert len(document.text) < 1000


def test_cells_far_apart_are_no_wide_table() -> None:
    book = Workbook()
    for number in range(1, 400):
        book.worksheets[0].cell(number * 7, number * 13, f"v{number}")
    document = convert_bytes("a.xlsx", saved(book))
    assert len(document.text) < 20_000
    assert all(f"| v{number} |" in document.text for number in range(1, 400))


def test_what_is_merged_stands_in_each_of_its_rows_and_columns() -> None:
    book = sheet_of(
        ["Sales of the year", None, None, None],
        ["region", "product", 2024, None],
        [None, None, "Q1", "Q2"],
        ["north", "nuts", 1, 2],
        [None, "bolts", 3, 4],
    )
    for region in ("A1:D1", "A2:A3", "B2:B3", "C2:D2", "A4:A5"):
        book.worksheets[0].merge_cells(region)
    assert rows(convert_bytes("a.xlsx", saved(book)).text.split("\n\n", 1)[1]) == [
        ["Sales of the year", "", "", ""],
        ["region", "product", "2024", "2024"],
        ["region", "product", "Q1", "Q2"],
        ["north", "nuts", "1", "2"],
        ["north", "bolts", "3", "4"],
    ]


def test_formulas_without_values_are_there_and_told() -> None:
    document = convert_bytes("a.xlsx", saved(sheet_of(["a", "b", "sum"], [1, 2, "=SUM(A2:B2)"])))
    assert "| 1 | 2 | =SUM(A2:B2) |" in document.text
    assert [each.part for each in document.skipped] == ["values of 1 formulas of sheet Sheet"]
    calculated = rewritten(saved(sheet_of([1, 2, "=A1+B1"])), SHEET, ("<f>A1+B1</f><v></v>", "<f>A1+B1</f><v>3</v>"))
    document = convert_bytes("a.xlsx", calculated)
    assert "| 1 | 2 | 3 |" in document.text
    assert document.skipped == ()


@pytest.mark.parametrize(
    ("value", "number_format", "text"),
    [
        (0.256, "0.0%", "25.6%"),
        (1, "0%", "100%"),
        (0.1 + 0.2, "General", "0.3"),
        (12.0, "General", "12"),
        (1234, "00000", "01234"),
        (12.5, '#,##0.00\\ "€"', "12.5 €"),
        (12.5, "[$CHF-807] #,##0.00", "12.5 CHF"),
        (99, '"$"#,##0', "99 $"),
        (7, '"INV-"00000', "INV-00007"),
        (5, '0 "kg"', "5 kg"),
        (5.25, '#,##0.00" m²"', "5.25 m²"),
        (5, 'General" pieces"', "5 pieces"),
        (1234567, '#,##0,"k"', "1234567"),
        (30123456789, "000\\-0000\\-0000", "301-2345-6789"),
        (123456789, "000-00-0000", "123-45-6789"),
        (7, '"Q"0;[Red]"no"', "Q7"),
        (-7, '"Q"0', "-7"),
        (5, "_(* #,##0.00_);_(* (#,##0.00)", "5"),
        (-5.5, "0.0;[Red]-0.0", "-5.5"),
        (5, '[>3]"many";0" few"', "5"),
        (0, "0;;", "0"),
        (1e300, '0" x"', "1e+300 x"),
        (45000, '#,##0 "days"', "45000 days"),
        (12.5, "0.00E+00", "12.5"),
        (5, "0;" * 5000, "5"),
        (True, "General", "TRUE"),
        (datetime.fromisoformat("2024-05-06"), "yyyy-mm-dd", "2024-05-06"),
        (datetime.fromisoformat("2024-05-06T14:30"), "General", "2024-05-06 14:30:00"),
        (date(2024, 5, 6), "General", "2024-05-06"),
        (clock(9, 15), "hh:mm", "09:15:00"),
        (timedelta(hours=30), "[h]:mm", "30:00:00"),
        (123456789012345, "0", "123456789012345"),
        (1e300, "0", "1e+300"),
        ("two_x000D_\nlines, _x005F_x000D_", "General", "two\r\nlines, _x000D_"),
        (None, "General", ""),
    ],
)
def test_values_as_people_see_them(value: Any, number_format: str, text: str) -> None:
    assert shown(value, number_format) == text


@given(st.text("ABCÄß-", min_size=1, max_size=6), st.integers(2, 8), st.integers(0, 9_999_999_999), st.booleans())
@settings(max_examples=100, deadline=None)
def test_numbers_of_records_are_found_as_they_are_seen(letters: str, places: int, number: int, quoted: bool) -> None:
    words = letters + "N"
    written = f'"{words}"' if quoted else "".join(f"\\{char}" for char in words)
    assert shown(number, f"{written}{'0' * places}") == f"{words}{number:0{places}}"
    assert shown(number, f"{'0' * places}{written}") == f"{number:0{places}}{words}"


def test_formats_of_cells_count() -> None:
    book = sheet_of(["share", "day", "zip"], [0.25, date(2024, 5, 6), 1234])
    sheet = book.worksheets[0]
    sheet["A2"].number_format, sheet["C2"].number_format = "0%", "00000"
    sheet["A2"].font = Font(bold=True)
    assert "| 25% | 2024-05-06 | 01234 |" in convert_bytes("a.xlsx", saved(book)).text


def test_hidden_sheets_comments_and_charts() -> None:
    book = sheet_of(["part"], ["P-1"])
    book.worksheets[0]["A2"].comment = Comment("check with Ada", "Bob")
    hidden = book.create_sheet("Prices")
    hidden.append(["P-1", 5])
    hidden.sheet_state = "veryHidden"
    book.create_chartsheet("Graph").add_chart(BarChart())
    document = convert_bytes("a.xlsx", saved(book))
    assert "## Prices\n\n| P-1 | 5 |" in document.text
    assert "A2: check with Ada" in document.text
    assert [each.part for each in document.skipped] == ["sheet Graph"]


def test_a_workbook_whose_styles_are_broken_is_read() -> None:
    content = saved(sheet_of(["part", "stock"], ["P-1", 7]))
    broken = rewritten(content, "xl/styles.xml", ("<fills", "<fill"), ("</fills>", "</fill>"))
    document = convert_bytes("a.xlsx", broken)
    assert "| P-1 | 7 |" in document.text
    assert [each.part for each in document.skipped] == ["formulas, formats and comments"]


def test_contents_under_the_wrong_ending_of_excel() -> None:
    assert "| P-1 | 7 |" in convert_bytes("a.xls", saved(sheet_of(["part", "stock"], ["P-1", 7]))).text
    assert "| P-1 | 7 |" in convert_bytes("a.xls", b"part\tstock\nP-1\t7\n").text
    assert "| P-1 | 7 |" in convert_bytes("a.xls", b"<html><table><tr><td>P-1<td>7</table>").text


_OPEN = "urn:oasis:names:tc:opendocument:xmlns:"
_END = (
    '<table:table-row table:number-rows-repeated="1048000"><table:table-cell table:number-columns-repeated="16384"/>'
    "</table:table-row>"
)


def ods(table: str) -> bytes:
    """A sheet of OpenDocument; programs write all rows and columns that there could be."""
    document = (
        f'<?xml version="1.0"?><office:document-content xmlns:office="{_OPEN}office:1.0" xmlns:table="{_OPEN}table:1.0" '
        f'xmlns:text="{_OPEN}text:1.0"><office:body><office:spreadsheet><table:table table:name="Stock">{table}{_END}'
        "</table:table></office:spreadsheet></office:body></office:document-content>"
    )
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("content.xml", document)
    return out.getvalue()


def cell(text: str, attributes: str = "") -> str:
    return f"<table:table-cell {attributes}><text:p>{escape(text)}</text:p></table:table-cell>"


def row(*cells: str) -> str:
    return (
        f'<table:table-row>{"".join(cells)}<table:table-cell table:number-columns-repeated="16000"/></table:table-row>'
    )


def test_opendocument() -> None:
    percent = 'office:value-type="percentage" office:value="0.25"'
    day = 'office:value-type="date" office:date-value="2024-05-06"'
    merged = 'table:number-rows-spanned="2" table:number-columns-spanned="1"'
    content = ods(
        row(cell("region"), cell("part"), cell("share"), cell("day"))
        + row(cell("north", merged), cell("7 & more"), cell("25%", percent), cell("06.05.24", day))
        + row("<table:covered-table-cell/>", cell("P-2"))
        + '<table:table-row table:number-rows-repeated="1000000"><table:table-cell/></table:table-row>'
        + row('<table:table-cell table:number-columns-repeated="9000"/>', cell("far away"))
    )
    document = convert_bytes("a.ods", content)
    assert rows(document.text.split("\n\n", 1)[1])[:3] == [
        ["region", "part", "share", "day", ""],
        ["north", "7 & more", "25%", "2024-05-06", ""],
        ["north", "P-2", "", "", ""],
    ]
    assert "far away" in document.text
    assert document.rows == 4
    with pytest.raises(DocumentError, match="damaged"):
        convert_bytes("a.ods", b"PK\x03\x04 broken")


VALUES = st.one_of(
    st.text(st.sampled_from("abcÄ漢 '\"|<&>=-_.0123456789"), min_size=1, max_size=12).filter(lambda v: v[0] != "="),
    st.integers(-(10**12), 10**12),
    st.floats(-1e6, 1e6).map(lambda value: round(value, 3)),
    st.booleans(),
    st.dates(date(1950, 1, 1), date(2100, 1, 1)),
)


@given(
    st.lists(
        st.dictionaries(
            st.tuples(st.integers(1, 30), st.integers(1, 12)),
            VALUES.filter(lambda value: str(value).strip()),
            min_size=1,
            max_size=25,
        ),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from(["A1", "A1:B2", "Z9"]),
)
@settings(max_examples=30, deadline=None)
def test_every_cell_is_found_again(sheets: list[dict[tuple[int, int], Any]], dimension: str) -> None:
    book = Workbook()
    book.remove(book.worksheets[0])
    for number, cells in enumerate(sheets):
        sheet = book.create_sheet(f"S{number}")
        for (row, column), value in cells.items():
            sheet.cell(row, column, value)
    content = saved(book)
    size = book.worksheets[0].calculate_dimension()
    content = rewritten(content, SHEET, (f'<dimension ref="{size}"', f'<dimension ref="{dimension}"'))
    document = convert_bytes("a.xlsx", content)
    parts = document.text.split("## S")[1:]
    assert len(parts) == len(sheets)
    for part, cells in zip(parts, sheets, strict=True):
        table = rows(part.split("\n\n", 1)[1].strip())
        lines = sorted({row for row, _ in cells})
        wanted = [[" ".join(shown(cells[row, c]).split()) for c in range(1, 13) if (row, c) in cells] for row in lines]
        assert [[cell for cell in line if cell] for line in table] == wanted
    assert document.skipped == ()
    assert document.rows == sum(len({row for row, _ in cells}) for cells in sheets)


MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def broken(book: bytes, member: str, content: str) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(BytesIO(book)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            if name != member:
                new.writestr(name, old.read(name))
            elif content:
                new.writestr(name, content)
    return out.getvalue()


def three_sheets() -> bytes:
    book = Workbook()
    for title in ("One", "Two", "Three"):
        book.create_sheet(title).append([f"cell of {title}"])
    return saved(book)


@pytest.mark.parametrize(
    "content",
    ["", "<broken", f"<worksheet xmlns='{MAIN}'><sheetData><row r='x'><c r='A1'/></row></sheetData></worksheet>"],
)
def test_a_sheet_that_cannot_be_read_fails_alone_and_is_named(content: str) -> None:
    made = convert_bytes("a.xlsx", broken(three_sheets(), "xl/worksheets/sheet3.xml", content))
    assert "cell of One" in made.text
    assert "cell of Three" in made.text
    assert any("sheet Two" in each.part for each in made.skipped)


def test_of_a_sheet_that_breaks_off_the_rows_before_are_read() -> None:
    whole = saved(sheet_of(*([f"row {number}", number] for number in range(50))))
    with zipfile.ZipFile(BytesIO(whole)) as archive:
        text = archive.read("xl/worksheets/sheet1.xml").decode()
    made = convert_bytes("a.xlsx", broken(whole, "xl/worksheets/sheet1.xml", text[: text.index('r="30"')]))
    assert "row 0" in made.text
    assert "row 27" in made.text
    assert "the rest of sheet Sheet" in [each.part for each in made.skipped]


def test_a_cell_that_says_it_is_nowhere_is_read_all_the_same() -> None:
    content = rewritten(three_sheets(), "xl/worksheets/sheet2.xml", ('r="A1"', 'r="ZZZZZZ99999999999"'))
    assert "cell of One" in convert_bytes("a.xlsx", content).text


def test_durations_and_numbers_that_are_no_dates() -> None:
    assert shown(timedelta(hours=37, minutes=30)) == "37:30:00"
    assert shown(-timedelta(minutes=5)) == "-0:05:00"
    book = sheet_of(["when", 1e12])
    book.worksheets[0]["B1"].number_format = "yyyy-mm-dd"
    assert "1000000000000" in convert_bytes("a.xlsx", saved(book)).text


def test_page_headers_and_addresses_of_links() -> None:
    book = sheet_of(["manual"])
    book.worksheets[0]["A1"].hyperlink = "https://example.org/manual"
    book.worksheets[0].oddHeader.center.text = "Price list 2026"
    text = convert_bytes("a.xlsx", saved(book)).text
    assert "https://example.org/manual" in text
    assert "Price list 2026" in text


def test_numbers_of_open_documents_that_are_none() -> None:
    out = BytesIO()
    names = " ".join(
        f'xmlns:{each[:5]}="urn:oasis:names:tc:opendocument:xmlns:{each}:1.0"' for each in ("office", "table", "text")
    ).replace("offic=", "office=")
    cells = "".join(
        f'<table:table-cell office:value-type="float" office:value="{value}" table:number-columns-repeated="{times}">'
        f"<text:p>shown {value}</text:p></table:table-cell>"
        for value, times in (("abc", "x"), ("1e999", "-3"), ("nan", "99999999999"))
    )
    shapes = "<table:shapes><text:p>in a box</text:p></table:shapes>"
    sheet = f"<table:table>{shapes}<table:table-row>{cells}</table:table-row></table:table>"
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("content.xml", f"<office:document-content {names}>{sheet}</office:document-content>")
    text = convert_bytes("a.ods", out.getvalue()).text
    for words in ("shown abc", "shown 1e999", "shown nan", "in a box"):
        assert words in text


def test_texts_that_are_not_in_the_workbooks_list_are_told_and_the_rest_is_read() -> None:
    content = saved(sheet_of(["lost", 7], ["kept", 8]))
    content = rewritten(content, SHEET, ('t="inlineStr"><is><t>lost</t></is>', 't="s"><v>99</v>'))
    document = convert_bytes("a.xlsx", content)
    assert "7" in document.text
    assert "| kept | 8 |" in document.text
    assert [each.part for each in document.skipped] == ["1 texts of sheet Sheet"]


def test_open_documents_in_one_xml_file() -> None:
    office, text = "urn:oasis:names:tc:opendocument:xmlns:office:1.0", "urn:oasis:names:tc:opendocument:xmlns:text:1.0"
    table = "urn:oasis:names:tc:opendocument:xmlns:table:1.0"
    flat = (
        f'<?xml version="1.0"?><o:document xmlns:o="{office}" xmlns:t="{table}" xmlns:p="{text}"><o:body><o:spreadsheet>'
        '<t:table t:name="S"><t:table-row><t:table-cell><p:p>bolt</p:p></t:table-cell>'
        '<t:table-cell o:value-type="string" o:string-value="three"/></t:table-row></t:table>'
        "</o:spreadsheet></o:body></o:document>"
    )
    assert "| bolt | three |" in convert_bytes("a.fods", flat.encode()).text
