"""Fonts that do not say which characters they draw, and what a PDF says of its drawing."""

from io import BytesIO
from typing import Any

import pypdf
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf.generic import (
    ArrayObject,
    DecodedStreamObject,
    DictionaryObject,
    NameObject,
    NumberObject,
    TextStringObject,
)

from gateway.knowledge.conversion import convert_bytes
from gateway.knowledge.documents import CorruptDocument
from tests.unit.knowledge.pdf_file import drawn

_HEX = b"BT /F1 12 Tf 72 720 Td <%s> Tj ET"


def _font_file(
    characters: str, *, with_table: bool = True, symbolic: bool = False, names: list[str] | None = None
) -> bytes:
    """A TrueType font whose glyphs 1, 2, … draw the characters; they are named g1, g2, … unless said otherwise."""
    names = names or [f"g{number}" for number in range(1, len(characters) + 1)]
    order = [".notdef", *names]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(order)
    builder.setupCharacterMap(
        {ord(char): name for char, name in zip(characters, names, strict=True)} if with_table else {}
    )
    for table in builder.font["cmap"].tables:
        if symbolic and table.platformID == 3:
            table.platEncID = 0
    builder.setupGlyf({name: TTGlyphPen(None).glyph() for name in order})
    builder.setupHorizontalMetrics(dict.fromkeys(order, (600, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupPost()
    out = BytesIO()
    builder.save(out)
    return out.getvalue()


def _composite(
    encoding: str, *, file: bytes | None = None, cids: list[int] | None = None, name: str = "/ABCDEF+Mincho"
) -> Any:
    """A font with codes of several bytes. cids: the glyph of each code."""
    descriptor = DictionaryObject(
        {NameObject("/Type"): NameObject("/FontDescriptor"), NameObject("/Flags"): NumberObject(4)}
    )
    if file is not None:
        stream = DecodedStreamObject()
        stream.set_data(file)
        descriptor[NameObject("/FontFile2")] = stream
    inner = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/CIDFontType2"),
            NameObject("/BaseFont"): NameObject(name),
            NameObject("/FontDescriptor"): descriptor,
            NameObject("/DW"): NumberObject(600),
        }
    )
    if cids is not None:
        table = DecodedStreamObject()
        table.set_data(b"".join(glyph.to_bytes(2) for glyph in cids))
        inner[NameObject("/CIDToGIDMap")] = table
    return DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type0"),
            NameObject("/BaseFont"): NameObject(name),
            NameObject("/Encoding"): NameObject(encoding),
            NameObject("/DescendantFonts"): ArrayObject([inner]),
        }
    )


def _glyphs(count: int) -> bytes:
    return _HEX % "".join(f"{number:04X}" for number in range(1, count + 1)).encode()


@pytest.mark.parametrize(
    ("encoding", "codec", "text"),
    [
        ("/UniGB-UCS2-H", "utf-16-be", "退货政策适用于全部商品"),
        ("/UniJIS-UTF16-V", "utf-16-be", "東京タワーの営業時間"),
        ("/UniJIS2004-UTF32-H", "utf-32-be", "東京タワーの営業時間"),
        ("/UniKS-UTF8-H", "utf-8", "환불 정책 안내"),
        ("/UniKS-UTF16-H", "utf-16-be", "환불 정책 안내"),
        ("/90ms-RKSJ-H", "cp932", "東京タワーの営業時間 9:00"),
        ("/90msp-RKSJ-H", "cp932", "東京タワーの営業時間 9:00"),
        ("/EUC-H", "euc_jp", "東京タワーの営業時間 9:00"),
        ("/GBK-EUC-H", "gbk", "退货政策适用于全部商品"),
        ("/GBpc-EUC-H", "gbk", "退货政策適用"),
        ("/GBKp-EUC-H", "gbk", "退货政策适用于全部商品"),
        ("/GBK2K-H", "gb18030", "退货政策适用于全部商品"),
        ("/ETen-B5-H", "cp950", "退貨政策適用於全部商品"),
        ("/B5pc-H", "cp950", "退貨政策適用於全部商品"),
        ("/KSCms-UHC-H", "cp949", "환불 정책 안내"),
        ("/KSC-EUC-V", "euc_kr", "환불 정책 안내"),
    ],
)
def test_encodings_by_name(encoding: str, codec: str, text: str) -> None:
    font = _composite(encoding)
    made = convert_bytes("a.pdf", drawn(_HEX % text.encode(codec).hex().encode(), font=font))
    assert text in made.text
    assert made.skipped == ()


def test_japanese_in_seven_bits() -> None:
    codes = bytes(byte & 0x7F for byte in "東京タワーの営業時間".encode("euc_jp"))
    made = convert_bytes("a.pdf", drawn(_HEX % codes.hex().encode(), font=_composite("/H")))
    assert "東京タワーの営業時間" in made.text


@settings(max_examples=25)
@given(
    st.text(st.characters(codec="utf-16-be", categories=("L", "N")), min_size=1, max_size=12).filter(
        lambda t: len(set(t)) == len(t)
    )
)
def test_the_table_in_a_fonts_file_says_its_characters(text: str) -> None:
    from gateway.knowledge.normalization import clean

    text = "".join(dict.fromkeys(char for char in text if ord(char) < 0x10000))
    font = _composite("/Identity-H", file=_font_file(text))
    made = convert_bytes("a.pdf", drawn(_glyphs(len(text)), font=font)) if text else None
    assert made is None or "".join(clean(text).split()) in "".join(made.text.split())


def test_glyphs_by_another_number_and_by_name() -> None:
    file = _font_file("Größe")
    made = convert_bytes("a.pdf", drawn(_glyphs(5), font=_composite("/Identity-H", file=file, cids=[0, 5, 4, 3, 2, 1])))
    assert "eßörG" in made.text
    named = _font_file("abcd", with_table=False, names=["G", "r", "odieresis", "uni00DF"])
    assert "Größ" in convert_bytes("a.pdf", drawn(_glyphs(4), font=_composite("/Identity-H", file=named))).text


@pytest.mark.parametrize(
    "file", [None, b"\0\1\0\0 damaged", _font_file("", with_table=False)], ids=["none", "damaged", "empty"]
)
def test_a_font_of_which_nothing_is_known_is_named_with_its_page(file: bytes | None) -> None:
    font = _composite("/Identity-H", file=file)
    with pytest.raises(CorruptDocument, match=r"page 1: .*the font Mincho does not say"):
        convert_bytes("a.pdf", drawn(_glyphs(5), font=font))
    beside = _beside(font)
    made = convert_bytes("a.pdf", beside)
    assert made.text.split() == ["The", "pump", "is", "blue."]
    assert [(each.part, "the font Mincho does not say" in each.reason) for each in made.skipped] == [("page 2", True)]


def _beside(font: Any) -> bytes:
    """A page of Helvetica, then one with both fonts."""
    writer = pypdf.PdfWriter(
        BytesIO(drawn(b"BT /F1 12 Tf 72 720 Td (The pump) Tj ET", b"BT /F1 12 Tf 72 720 Td (is blue.) Tj ET"))
    )
    page = writer.pages[1]
    fonts = DictionaryObject({NameObject("/F2"): font, **page["/Resources"]["/Font"]})
    page["/Resources"][NameObject("/Font")] = fonts
    stream = DecodedStreamObject()
    stream.set_data(b"BT /F1 12 Tf 72 720 Td (is blue.) Tj /F2 12 Tf 0 -14 Td <41424344> Tj ET")
    page[NameObject("/Contents")] = writer._add_object(stream)
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def test_a_symbolic_font_says_its_characters_by_code() -> None:
    builder_file = _font_file("\uf041\uf042", symbolic=True, names=["G", "odieresis"])
    stream = DecodedStreamObject()
    stream.set_data(builder_file)
    descriptor = DictionaryObject({NameObject("/Flags"): NumberObject(4), NameObject("/FontFile2"): stream})
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/TrueType"),
            NameObject("/BaseFont"): NameObject("/ABCDEF+Own"),
            NameObject("/FontDescriptor"): descriptor,
        }
    )
    made = convert_bytes("a.pdf", drawn(b"BT /F1 12 Tf 72 720 Td (AB) Tj ET", font=font))
    assert made.text.strip() == "Gö"


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ("/f_i /T_h /ffl", "fiThffl"),
        ("/H.sc /e.alt /one.oldstyle", "He1"),
        ("/Hsmall /Odieresissmall /oneoldstyle", "hö1"),
        ("/G48 /G65 /G6C", "Hel"),
        ("/c72 /c101 /C0108", "Hel"),
        ("/uni0048 /u0065 /summation", "He∑"),
    ],
)
def test_names_of_glyphs(names: str, text: str) -> None:
    made = convert_bytes("a.pdf", drawn(b"BT /F1 12 Tf 72 720 Td (ABC) Tj ET", font=_simple(*names.split())))
    assert made.text == text
    assert made.skipped == ()


def test_names_that_say_nothing_are_told() -> None:
    made = convert_bytes("a.pdf", drawn(b"BT /F1 12 Tf 72 720 Td (ABC) Tj ET", font=_simple("/g12", "/glyph4", "/x7")))
    assert "the font Own does not say" in made.skipped[0].reason


def _simple(*names: str) -> Any:
    """A font with codes of a byte whose glyphs from A on have these names."""
    differences = ArrayObject([NumberObject(65), *map(NameObject, names)])
    return DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/ABCDEF+Own"),
            NameObject("/Encoding"): DictionaryObject({NameObject("/Differences"): differences}),
        }
    )


@pytest.mark.parametrize(
    ("drawing", "text"),
    [
        ("/Span <</ActualText (Gew\\344hr)>> BDC (xyz) Tj EMC ( rest) Tj", "Gewähr rest"),
        ("/Span <</ActualText <FEFF00470072F6E4>>> BDC (xyz) Tj EMC", "Gr\uf6e4"),
        ("/Span <</ActualText <FEFFD83DDE00>>> BDC (xyz) Tj EMC ( smile) Tj", "😀 smile"),
        ("/Span <</ActualText (of)>> BDC [(o)-20(f)] TJ EMC [(fice)] TJ", "office"),
        ("/Span <</ActualText (one two)>> BDC (o) Tj 20 0 Td (t) Tj EMC 0 -14 Td (three) Tj", "one two three"),
        ("/Span <</ActualText (outer)>> BDC /Span <</ActualText (inner)>> BDC (x) Tj EMC (y) Tj EMC (z) Tj", "outerz"),
        ("/P <</MCID 0>> BDC /Span <</ActualText (W)>> BDC (x) Tj EMC (ord) Tj EMC", "Word"),
        ("/Span /M1 BDC (x) Tj EMC (!) Tj", "named!"),
        ("/Span <</ActualText ()>> BDC (kept) Tj EMC", "kept"),
        ("/Span <</Lang (de)>> BDC (plain) Tj EMC EMC (end) Tj", "plainend"),
        ("14 TL (a) Tj /Span <</ActualText (b)>> BDC (x) ' EMC /Span <</ActualText (c)>> BDC 1 1 (x) \" EMC", "a b c"),
    ],
)  # fmt: skip
def test_marked_text_is_what_is_meant(drawing: str, text: str) -> None:
    writer = pypdf.PdfWriter(BytesIO(drawn(f"BT /F1 12 Tf 72 720 Td {drawing} ET".encode("latin-1"))))
    meant = DictionaryObject({NameObject("/ActualText"): TextStringObject("named")})
    resources = writer.pages[0]["/Resources"]
    resources[NameObject("/Properties")] = DictionaryObject({NameObject("/M1"): meant})
    out = BytesIO()
    writer.write(out)
    assert " ".join(convert_bytes("a.pdf", out.getvalue()).text.split()) == text


def test_marked_text_within_a_form() -> None:
    writer = pypdf.PdfWriter(BytesIO(drawn(b"BT /F1 12 Tf 72 720 Td (Own) Tj ET /X1 Do")))
    page = writer.pages[0]
    form = DecodedStreamObject()
    form.set_data(b"BT /F1 12 Tf 72 600 Td /Span <</ActualText (Gr\\366\\337e)>> BDC (xyz) Tj EMC ET")
    form.update(
        {
            NameObject("/Type"): NameObject("/XObject"),
            NameObject("/Subtype"): NameObject("/Form"),
            NameObject("/BBox"): ArrayObject(map(NumberObject, (0, 0, 600, 800))),
            NameObject("/Resources"): DictionaryObject({NameObject("/Font"): page["/Resources"]["/Font"]}),
        }
    )
    page["/Resources"][NameObject("/XObject")] = DictionaryObject({NameObject("/X1"): writer._add_object(form)})
    out = BytesIO()
    writer.write(out)
    assert convert_bytes("a.pdf", out.getvalue()).text.split() == ["Own", "Größe"]


def test_structure_tells_what_pictures_show() -> None:
    writer = pypdf.PdfWriter(
        BytesIO(drawn(b"BT /F1 12 Tf 72 720 Td (First page) Tj ET", b"BT /F1 12 Tf 72 720 Td (Second page) Tj ET"))
    )

    def element(kind: str, page: int | None, **more: Any) -> Any:
        made = DictionaryObject({NameObject("/Type"): NameObject("/StructElem"), NameObject("/S"): NameObject(kind)})
        if page is not None:
            made[NameObject("/Pg")] = writer.pages[page].indirect_reference
        made.update({NameObject(f"/{key}"): value for key, value in more.items()})
        return writer._add_object(made)

    figure = element("/Figure", 1, Alt=TextStringObject("A pump in the cellar, seen from above"), K=NumberObject(0))
    known = element("/Span", 0, ActualText=TextStringObject("First page"))
    short = element("/Span", None, E=TextStringObject("Coefficient of performance"))
    section = element("/Sect", 0, K=ArrayObject([known, short]))
    root = DictionaryObject(
        {NameObject("/Type"): NameObject("/StructTreeRoot"), NameObject("/K"): ArrayObject([section, figure])}
    )
    writer._root_object[NameObject("/StructTreeRoot")] = writer._add_object(root)
    out = BytesIO()
    writer.write(out)
    made = convert_bytes("a.pdf", out.getvalue())
    assert made.text.count("First page") == 1
    first, second = made.text.index("Coefficient of performance"), made.text.index("seen from above")
    assert first < made.text.index("Second page") < second
