"""Characters of symbol fonts, and Word's documents in a single XML file."""

import zipfile
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.knowledge.conversion import convert_bytes
from tests.unit.knowledge.docx_file import docx_of

FONTS = '<w:rPr><w:rFonts w:ascii="{0}" w:hAnsi="{0}"/></w:rPr>'


def text_of(runs: str) -> str:
    return convert_bytes("a.docx", docx_of(f"<w:p>{runs}</w:p>")).text.strip()


@pytest.mark.parametrize(
    ("runs", "seen"),
    [
        ('<w:r><w:sym w:font="Symbol" w:char="F061"/></w:r>', "α"),
        ('<w:r><w:sym w:font="Symbol" w:char="61"/></w:r>', "α"),
        ('<w:r><w:t>5 </w:t><w:sym w:font="Arial" w:char="00B5"/><w:t>m</w:t></w:r>', "5 µm"),
        (f"<w:r>{FONTS.format('Symbol')}<w:t>&#xF062;&#xF0B3;</w:t></w:r><w:r><w:t>5</w:t></w:r>", "β≥5"),
        (f"<w:r>{FONTS.format('Symbol')}<w:t>DT</w:t></w:r><w:r><w:t> = 3 K</w:t></w:r>", "ΔΤ = 3 K"),
        (f"<w:r>{FONTS.format('Arial')}<w:t>abc</w:t></w:r>", "abc"),
    ],
)
def test_a_symbol_is_the_character_that_is_seen(runs: str, seen: str) -> None:
    runs = runs.replace("<w:t>", '<w:t xml:space="preserve">')
    assert text_of(runs) == seen


def test_a_symbol_of_a_font_that_nobody_knows_is_told() -> None:
    made = convert_bytes(
        "a.docx", docx_of('<w:p><w:r><w:t>Valve </w:t><w:sym w:font="MyFont" w:char="F041"/></w:r></w:p>')
    )
    assert made.text.strip() == "Valve"
    assert [each.part for each in made.skipped] == ["1 symbols of the font MyFont"]


def flat(content: bytes) -> bytes:
    """A document as Word saves it in a single file."""
    word = "application/vnd.openxmlformats-officedocument.wordprocessingml"
    types = {"word/document.xml": f"{word}.document.main+xml", "word/styles.xml": f"{word}.styles+xml"}
    parts = []
    with zipfile.ZipFile(BytesIO(content)) as archive:
        for name in archive.namelist():
            if name != "[Content_Types].xml":
                data = archive.read(name).decode().split("?>", 1)[-1]
                kind = types.get(name, "application/vnd.openxmlformats-package.relationships+xml")
                parts.append(
                    f'<pkg:part pkg:name="/{name}" pkg:contentType="{kind}"><pkg:xmlData>{data}</pkg:xmlData></pkg:part>'
                )
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<?mso-application progid="Word.Document"?>\n'
        f'<pkg:package xmlns:pkg="http://schemas.microsoft.com/office/2006/xmlPackage">{"".join(parts)}</pkg:package>'
    ).encode()


def of_2003(body: str) -> bytes:
    space = "http://schemas.microsoft.com/office/word/2003/"
    return (
        '<?xml version="1.0" encoding="UTF-8"?><?mso-application progid="Word.Document"?>'
        f'<w:wordDocument xmlns:w="{space}wordml" xmlns:wx="{space}auxHint"><w:body><wx:sect>{body}</wx:sect></w:body>'
        "</w:wordDocument>"
    ).encode()


@given(st.lists(st.lists(st.text("abcäß€", min_size=1, max_size=6), min_size=1, max_size=3), min_size=1, max_size=4))
@settings(max_examples=20, deadline=None)
def test_a_document_in_one_xml_file_is_read_as_one_in_an_archive(paragraphs: list[list[str]]) -> None:
    """Words that are parted between runs are whole; cells are cells."""
    runs = ["".join(f"<w:r><w:t>{run}</w:t></w:r>" for run in paragraph) for paragraph in paragraphs]
    cells = "".join(f"<w:tc><w:p>{run}</w:p></w:tc>" for run in runs)
    body = "".join(f"<w:p>{run}</w:p>" for run in runs) + f"<w:tbl><w:tr>{cells}</w:tr></w:tbl>"
    archive = docx_of(body)
    whole = convert_bytes("a.docx", archive).text
    assert all("".join(paragraph) in whole for paragraph in paragraphs)
    for name in ("a.xml", "a.docx", "a.doc"):
        assert convert_bytes(name, flat(archive)).text == whole
        assert convert_bytes(name, of_2003(body)).text == whole
