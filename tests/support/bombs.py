"""Small or plain-looking files that are made to take a converter for ever."""

import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path


def _zip(**members: str) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), content)
    return out.getvalue()


def epub() -> bytes:
    """One chapter that the book's spine names 20,000 times."""
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
    )
    spine = '<itemref idref="c"/>' * 20_000
    book = (
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>'
        '<dc:title>Bomb</dc:title></metadata><manifest><item id="c" href="c.html" media-type="text/html"/></manifest>'
        f"<spine>{spine}</spine></package>"
    )
    chapter = f"<html><body>{'<p>word</p>' * 400}</body></html>"
    return _zip(
        mimetype="application/epub+zip", **{"META-INF__container_xml": container, "book_opf": book, "c_html": chapter}
    )


def xlsx() -> bytes:
    """Ten million cells, in rows that are all alike."""
    types = (
        '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Override PartName="/xl/workbook.xml" '
        'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>'
    )
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    relations = (
        f'<Relationships xmlns="{package}"><Relationship Id="r1" Type="{office}/{{}}" Target="{{}}"/></Relationships>'
    )
    book = f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="s" sheetId="1" r:id="r1"/></sheets></workbook>'
    rows = f"<row>{'<c><v>1</v></c>' * 100}</row>" * 100_000
    return _zip(
        **{
            "[Content_Types]_xml": types,
            "_rels___rels": relations.format("officeDocument", "xl/workbook.xml"),
            "xl__workbook_xml": book,
            "xl___rels__workbook_xml_rels": relations.format("worksheet", "worksheets/s.xml"),
            "xl__worksheets__s_xml": f'<worksheet xmlns="{main}"><sheetData>{rows}</sheetData></worksheet>',
        }
    )


def pdf() -> bytes:
    """One page whose content is two million operators."""
    content = b"BT /F1 1 Tf " + b"1 0 0 1 0 0 Tm (a) Tj " * 2_000_000 + b"ET"
    page = b"/MediaBox [0 0 9 9] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >>"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R " + page + b" >>",
        b"<< /Length %d >> stream\n" % len(content) + content + b"\nendstream",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, places = bytearray(b"%PDF-1.7\n"), []
    for number, each in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj " % number + each + b" endobj\n"
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start = len(out)
    out += (
        b"xref\n0 6\n0000000000 65535 f \n"
        + table
        + b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % start
    )
    return bytes(out)


BOMBS: Mapping[str, Callable[[], bytes]] = {
    "epub": epub,
    "docx": lambda: _zip(word__document_xml="<w>" + "<p>word</p>" * 30_000_000),
    "html": lambda: b"<html><body>" + b"<div>" * 300_000 + b"deep",
    "xlsx": xlsx,
    "pdf": pdf,
    "csv": lambda: b"\n".join(b"%d,%d" % (number, number) for number in range(3_000_000)),
}
"""By the ending of its name."""


def write_bombs(folder: Path) -> list[Path]:
    """One of each kind."""
    files = [folder / f"bomb.{kind}" for kind in BOMBS]
    for file, bomb in zip(files, BOMBS.values(), strict=True):
        file.write_bytes(bomb())
    return files
