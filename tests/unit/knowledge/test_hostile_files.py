"""Small files of every kind that are made to nest, to repeat, to loop or to reach elsewhere without an end: they are read in part
or refused in words, and nothing else becomes of them. What takes long in earnest is `tests/support/bombs.py`."""

import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import pytest

from gateway.knowledge.conversion import convert_bytes
from gateway.knowledge.converters import mail
from gateway.knowledge.documents import DocumentError, OversizedDocument

DEPTH = 2000
LETTERS = "abcdefghij"
LAUGHS = "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in pairwise(LETTERS))
MAIN = "http://schemas.openxmlformats.org/{}ml/2006/main"
WORD = MAIN.format("wordprocessing")
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
ODF = "urn:oasis:names:tc:opendocument:xmlns:{}:1.0"


def zipped(**members: str | bytes) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return out.getvalue()


def relations(kind: str, target: str, more: str = "") -> str:
    relation = f'<Relationship Id="r1" Type="{OFFICE}/{kind}" Target="{target}" {more}/>'
    return f'<Relationships xmlns="{RELATIONS}">{relation}</Relationships>'


def docx(body: str, declared: str = "", **more: str | bytes) -> bytes:
    part = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    types = f'<Override PartName="/word/document.xml" ContentType="{part}"/>'
    rels = '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    members: dict[str, str | bytes] = {
        "[Content_Types].xml": f'<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">{rels}{types}</Types>',
        "_rels/.rels": relations("officeDocument", "word/document.xml"),
        "word/document.xml": f'{declared}<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>',
        **more,
    }
    return zipped(**members)


def words(text: str) -> str:
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


def opendocument(kind: str, body: str, declared: str = "") -> bytes:
    spaces = " ".join(f'xmlns:{name}="{ODF.format(name)}"' for name in ("office", "text", "table"))
    inner = f"<office:body><office:{kind}>{body}</office:{kind}></office:body>"
    return zipped(
        mimetype=f"application/vnd.oasis.opendocument.{kind}",
        **{"content.xml": f"{declared}<office:document-content {spaces}>{inner}</office:document-content>"},
    )


def odt(text: str, declared: str = "") -> bytes:
    return opendocument("text", f"<text:p>{text}</text:p>", declared)


def xlsx(sheet: str, declared: str = "") -> bytes:
    main, part = (
        MAIN.format("spreadsheet"),
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml",
    )
    book = f'<workbook xmlns="{main}" xmlns:r="{OFFICE}"><sheets><sheet name="s" sheetId="1" r:id="r1"/></sheets></workbook>'
    types = f'<Override PartName="/xl/workbook.xml" ContentType="{part}"/>'
    members = {
        "[Content_Types].xml": f'<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">{types}</Types>',
        "_rels/.rels": relations("officeDocument", "xl/workbook.xml"),
        "xl/workbook.xml": book,
        "xl/_rels/workbook.xml.rels": relations("worksheet", "worksheets/s.xml"),
        "xl/worksheets/s.xml": f'{declared}<worksheet xmlns="{main}">{sheet}</worksheet>',
    }
    return zipped(**members)


def pdf(*objects: bytes) -> bytes:
    out, places = bytearray(b"%PDF-1.7\n"), []
    for number, each in enumerate((b"<< /Type /Catalog /Pages 2 0 R >>", *objects), 1):
        places.append(len(out))
        out += b"%d 0 obj " % number + each + b" endobj\n"
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size, start = len(places) + 1, len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % size + table
    return bytes(out + b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (size, start))


def page(content: bytes, *, more: bytes = b"", form: bytes = b"", coded: bytes = b"") -> bytes:
    box = b"/MediaBox [0 0 99 99] /Contents 4 0 R /Resources << /XObject << /X 5 0 R >> >>"
    kind = b"<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X 5 0 R >> >>"
    return pdf(
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R " + box + more + b" >>",
        b"<< " + coded + b" /Length %d >> stream\n" % len(content) + content + b"\nendstream",
        kind + b" /Length %d >> stream\n" % len(form) + form + b"\nendstream",
    )


def compound(name: str, seed: int) -> bytes:
    """A file of OLE whose table of sectors leads in circles, or anywhere."""
    drawn = random.Random(seed)
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<5H", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6)
    head += struct.pack("<9I", 0, 1, 1, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0) + bytes(4)
    table = [0xFFFFFFFD] + [drawn.choice([1, 2, 3, drawn.randrange(200)]) for _ in range(127)]
    entries = b""
    for title, kind, links in (
        ("Root Entry", 5, (-1, -1, 1)),
        (name, 2, (1, 2, -1)),
        ("0Table", 2, (2, 1, -1)),
        ("x", 1, (3, 3, 3)),
    ):
        raw = title.encode("utf-16-le")
        entries += raw.ljust(64, b"\0") + struct.pack("<HBB3i", len(raw) + 2, kind, 1, *links) + bytes(36)
        entries += struct.pack("<IQ", drawn.randrange(5), 20_000)
    return head.ljust(512, b"\xff") + struct.pack("<128I", *table) + entries + b"A" * 2048


def reaching(secret: str) -> Iterator[tuple[str, bytes]]:
    """What names another file, or entities that multiply."""
    for title, declared, used in (
        ("entity of a file", f'<!DOCTYPE x [<!ENTITY e SYSTEM "file://{secret}">]>', "hello &e;"),
        ("entity of the network", '<!DOCTYPE x [<!ENTITY e SYSTEM "http://127.0.0.1:9/">]>', "hello &e;"),
        ("entities in a file", f'<!DOCTYPE x [<!ENTITY % e SYSTEM "file://{secret}"> %e;]>', "hello"),
        ("a schema in a file", f'<!DOCTYPE x SYSTEM "file://{secret}">', "hello"),
        ("laughs", f'<!DOCTYPE x [<!ENTITY a "ha">{LAUGHS}]>', "&j;"),
    ):
        atom = f'<feed xmlns="http://www.w3.org/2005/Atom"><entry><title>{used}</title></entry></feed>'
        cell = f"<sheetData><row><c t='str'><v>{used}</v></c></row></sheetData>"
        table = f"<Worksheet><Table><Row><Cell><Data>{used}</Data></Cell></Row></Table></Worksheet>"
        old = f'<Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet">{table}</Workbook>'
        for ending, made in {
            "docx": docx(words(used), declared),
            "odt": odt(used, declared),
            "xlsx": xlsx(cell, declared),
            "xml": f"{declared}<x>{used}</x>".encode(),
            "html": f"{declared}<html>{used}</html>".encode(),
            "rss": f"{declared}<rss><channel><item><title>{used}</title></item></channel></rss>".encode(),
            "atom": f"{declared}{atom}".encode(),
            "xls": f'<?xml version="1.0"?>{declared}{old}'.encode(),
        }.items():
            yield f"{title}.{ending}", made
    inner = '<rootfiles><rootfile full-path="{}" media-type="application/oebps-package+xml"/></rootfiles>'
    container = f'<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container">{inner}</container>'
    outside = {"META-INF/container.xml": container.format("../" * 20 + secret)}
    yield "a book elsewhere.epub", zipped(mimetype="application/epub+zip", **outside)
    for target in (f"file://{secret}", "../" * 20 + secret, "http://127.0.0.1:9/x"):
        template = {"word/_rels/document.xml.rels": relations("attachedTemplate", target, 'TargetMode="External"')}
        yield f"a template at {target[:8]}.docx", docx(words("hello"), **template)


NESTED: dict[str, Callable[[], bytes]] = {
    "tables.docx": lambda: docx("<w:tbl><w:tr><w:tc>" * DEPTH + words("x") + "</w:tc></w:tr></w:tbl>" * DEPTH),
    "controls.docx": lambda: docx("<w:sdt><w:sdtContent>" * DEPTH + words("x") + "</w:sdtContent></w:sdt>" * DEPTH),
    "styles in a circle.docx": lambda: docx(
        f'<w:p><w:pPr><w:pStyle w:val="a"/></w:pPr></w:p>{words("x")}',
        **{
            "word/styles.xml": f'<w:styles xmlns:w="{MAIN.format("wordprocessing")}"><w:style w:styleId="a" w:type="paragraph">'
            '<w:basedOn w:val="a"/></w:style></w:styles>'
        },
    ),
    "a list of level 10^9.docx": lambda: docx(
        f'<w:p><w:pPr><w:numPr><w:ilvl w:val="999999999"/><w:numId w:val="-1"/></w:numPr></w:pPr></w:p>{words("x")}'
    ),
    "spans.odt": lambda: odt("<text:span>" * DEPTH + "x" + "</text:span>" * DEPTH),
    "lists.odt": lambda: odt("<text:list><text:list-item>" * DEPTH + "x" + "</text:list-item></text:list>" * DEPTH),
    "10^9 spaces.odt": lambda: odt('a<text:s text:c="1000000000"/>b'),
    "parts.eml": lambda: b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(DEPTH // 5)
    ),
    "messages.eml": lambda: b"From: a@b\nContent-Type: message/rfc822\n\n" * DEPTH + b"From: a@b\n\nx",
    "comments of an address.eml": lambda: b"From: " + b"(" * DEPTH + b"a@b\n\nx",
    "calendars.ics": lambda: b"BEGIN:VCALENDAR\n" * DEPTH + b"SUMMARY:x\n",
    "divisions.html": lambda: b"<html>" + b"<div>" * DEPTH + b"x",
    "lists.html": lambda: b"<html>x" + b"<ul><li>" * DEPTH,
    "channels.rss": lambda: b"<rss>" + b"<channel>" * DEPTH + b"<item><title>x</title></item>",
    "lists.json": lambda: b"[" * DEPTH + b"]" * DEPTH,
    "lists.yaml": lambda: b"- " * DEPTH + b"x",
    "groups.rtf": lambda: b"{\\rtf1 " + b"{" * DEPTH + b"x",
    "quotes.md": lambda: b">" * DEPTH + b"x",
    "brackets.md": lambda: b"[" * DEPTH,
    "calls.py": lambda: b"f(" * DEPTH,
    "ifs.py": lambda: b"".join(b" " * n + b"if x:\n" for n in range(400)) + b" " * 400 + b"pass\n",
    "braces.c": lambda: b"{" * DEPTH,
    "templates.js": lambda: b"`${" * DEPTH,
    "a page tree in a circle.pdf": lambda: pdf(b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 2 >>"),
    "a form that draws itself.pdf": lambda: page(b"/X Do", form=b"/X Do /X Do"),
    "a turn of 37 degrees.pdf": lambda: page(b"", more=b"/Rotate 37 /UserUnit 1e30 "),
    "packed twice.pdf": lambda: page(
        zlib.compress(zlib.compress(b" " * 1_000_000)), coded=b"/Filter [/FlateDecode /FlateDecode]"
    ),
}
REPEATED: dict[str, Callable[[], bytes]] = {
    "cells.ods": lambda: opendocument(
        "spreadsheet",
        '<table:table table:name="t">'
        + '<table:table-row table:number-rows-repeated="1000"><table:table-cell table:number-columns-repeated="16000">'
        "<text:p>x</text:p></table:table-cell></table:table-row>" * 200 + "</table:table>",
    ),
    "less than no cell.ods": lambda: opendocument(
        "spreadsheet",
        '<table:table table:name="t"><table:table-row table:number-rows-repeated="-5">'
        '<table:table-cell table:number-columns-repeated="x"><text:p>x</text:p></table:table-cell>'
        "</table:table-row></table:table>",
    ),
    "the last cell.xlsx": lambda: xlsx('<sheetData><row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'),
    "merged.xlsx": lambda: xlsx(
        '<sheetData><row r="1"><c r="A1"><v>1</v></c></row></sheetData><mergeCells>'
        + '<mergeCell ref="A1:XFD1048576"/>' * 100
        + "</mergeCells>"
    ),
    "texts that are not there.xlsx": lambda: xlsx(
        '<sheetData><row><c t="s"><v>99999999999</v></c><c t="s"><v>-1</v></c><c r="ZZZZZZ1"><v>1</v></c></row></sheetData>'
    ),
    "days that are none.xlsx": lambda: xlsx(
        '<sheetData><row><c t="d"><v>99999-99-99</v></c><c><v>1e309</v></c><c><v>nan</v></c></row></sheetData>'
    ),
    "rows.xls": lambda: (
        b'<?xml version="1.0"?><Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet" '
        b'xmlns:ss="urn:schemas-microsoft-com:office:spreadsheet"><Worksheet ss:Name="x"><Table><Row ss:Index="1000000000">'
        b'<Cell ss:Index="1000000000" ss:MergeAcross="99999999"><Data ss:Type="String">x</Data></Cell>'
        b"</Row></Table></Worksheet></Workbook>"
    ),
    "spans.html": lambda: b"<html><table>" + b"<tr><td colspan=1000 rowspan=65534>x</td></tr>" * 20 + b"</table>",
    "a recurring event.ics": lambda: (
        b"BEGIN:VEVENT\nDTSTART:99999999T999999Z\nRRULE:FREQ=SECONDLY;COUNT=1000000000\nEND:VEVENT\n"
    ),
    "binary.rtf": lambda: b"{\\rtf1 \\bin999999999999 x}",
    "characters skipped.rtf": lambda: b"{\\rtf1 " + b"\\uc9999999\\u-1?" * 1000 + b" x}",
    "merged cells.rtf": lambda: b"{\\rtf1" + b"\\trowd\\clvmrg\\cellx1 a\\cell\\row" * 20_000 + b"}",
    "a size.rtf": lambda: b"{\\rtf1\\fs" + b"9" * 100_000 + b" x}",
    "numbers.json": lambda: b'{"a":' + b"9" * 100_000 + b',"b":1e999999999}',
    "anchors.yaml": lambda: (
        b"a: &a [x,x]\n" + b"".join(b"%c: &%c [*%c,*%c]\n" % (98 + n, 98 + n, 97 + n, 97 + n) for n in range(20))
    ),
    "encoded words.eml": lambda: b"Subject: " + b"=?utf-8?q?a?= " * 300_000 + b"\n\nx",
    "parameters.eml": lambda: (
        b"Content-Type: text/plain" + b"".join(b"; a*%d*=x" % n for n in range(50_000)) + b"\n\nx"
    ),
    "an alphabet that packs.eml": lambda: (
        b"Content-Type: text/plain; charset=zlib_codec\n\n" + zlib.compress(b"a" * 1_000_000)
    ),
    "an alphabet that is none.eml": lambda: b'Content-Type: text/plain; charset="x\0y"\n\nx',
    "no cells.ipynb": lambda: json.dumps({"cells": {"a": 1}, "nbformat": "x"}).encode(),
    "cells that are none.ipynb": lambda: json.dumps(
        {"cells": [1, None, {"cell_type": 5, "source": {}, "outputs": 7}]}
    ).encode(),
    "a list.ipynb": lambda: b"[1]",
}
COMPOUND = {"doc": "WordDocument", "xls": "Workbook", "ppt": "PowerPoint Document", "msg": "__properties_version1.0"}


def survives(name: str, content: bytes) -> str:
    """The text, "" where the file is refused."""
    try:
        return convert_bytes(name, content).text
    except DocumentError:
        return ""


def test_no_file_brings_another_one_with_it(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text('<!ENTITY e "the secret word">the secret word')
    for name, content in reaching(str(secret)):
        text = survives(name, content)
        assert "secret word" not in text, name
        assert len(text) < 100_000, name


@pytest.mark.parametrize("name", [*NESTED, *REPEATED])
def test_what_nests_or_repeats_without_end_is_read_in_part_or_refused(name: str) -> None:
    assert len(survives(name, {**NESTED, **REPEATED}[name]())) < 10_000_000


@pytest.mark.parametrize("ending", COMPOUND)
def test_compound_files_that_lead_in_circles_are_refused(ending: str) -> None:
    for seed in range(15):
        survives(f"{seed}.{ending}", compound(COMPOUND[ending], seed))


def test_of_a_header_that_is_too_long_the_beginning_is_read_and_the_rest_is_told() -> None:
    document = convert_bytes("a.eml", b"From: a@b\nSubject: Valves " + b"x" * 100_000 + b"\n\nThey close.")
    assert [each.part for each in document.skipped] == ["header Subject"]
    assert "They close." in document.text
    assert document.title.startswith("Valves x")


def test_of_a_mail_with_a_crowd_of_parts_the_first_ones_are_read_and_the_rest_is_told() -> None:
    """A header that stands in each of them is parsed once (2,000 parts took 2 s, and 50,000 over a minute)."""
    parts = "".join(f"--x\nContent-Type: text/plain\n\nvalve {number}\n" for number in range(10_500))
    head = "From: a@b\nSubject: Valves\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n"
    before = mail._parsed.cache_info().misses
    document = convert_bytes("a.eml", f"{head}{parts}--x--\n".encode())
    assert mail._parsed.cache_info().misses - before < 20
    assert "valve 9990" in document.text
    assert [each.reason for each in document.skipped] == ["only the first 10,000 are read"]


def test_a_document_of_more_paragraphs_than_can_be_read_in_time_is_refused_with_its_number() -> None:
    content = docx("<w:p/>" * 100_001)
    with pytest.raises(OversizedDocument, match="100,001 paragraphs"):
        convert_bytes("a.docx", content)
