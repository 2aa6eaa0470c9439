"""Texts and slides of OpenDocument: every word of every part comes out, once."""

import zipfile
from html import escape
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.knowledge.conversion import convert_bytes
from gateway.knowledge.documents import DocumentError, EncryptedDocument

KINDS = ("office", "text", "table", "drawing", "presentation", "style", "svg-compatible")
NAMESPACES = " ".join(f'xmlns:{kind[:5]}="urn:oasis:names:tc:opendocument:xmlns:{kind}:1.0"' for kind in KINDS)
NAMESPACES += ' xmlns:link="http://www.w3.org/1999/xlink"'
WORDS = st.text("abcdefghijklmnopqrstuvwxyzäöü<&", min_size=3, max_size=12)


def document(body: str, kind: str = "text", parts: dict[str, str] | None = None, form: str = "opendocument") -> bytes:
    """`offic`, `text`, `table`, `drawi`, `prese`, `style`, `svg-c` are the prefixes."""
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("mimetype", f"application/vnd.oasis.{form}.{kind}")
        archive.writestr("content.xml", flat(body, kind))
        for name, content in (parts or {}).items():
            archive.writestr(name, content)
    return out.getvalue()


def flat(body: str, kind: str = "text") -> str:
    inner = f"<offic:{kind}>{body}</offic:{kind}>"
    return f"<offic:document-content {NAMESPACES}><offic:body>{inner}</offic:body></offic:document-content>"


def paragraph(text: str) -> str:
    return f"<text:p>{text}</text:p>"


def box(text: str) -> str:
    return f"<drawi:frame><drawi:text-box>{paragraph(text)}</drawi:text-box></drawi:frame>"


def cell(content: str) -> str:
    return f"<table:table-cell>{content}</table:table-cell>"


def test_a_text_with_all_that_it_may_have() -> None:
    note = (
        "<text:note><text:note-citation>1</text:note-citation>"
        f"<text:note-body>{paragraph('The note.')}</text:note-body></text:note>"
    )
    deleted = f"<text:tracked-changes><text:deletion>{paragraph('GONE')}</text:deletion></text:tracked-changes>"
    cells = "".join(f"<table:table-cell>{paragraph(each)}</table:table-cell>" for each in ("a", "b"))
    table = (
        f"<table:table><table:table-header-rows><table:table-row>{cells}</table:table-row></table:table-header-rows>"
        f'<table:table-row><table:table-cell table:number-columns-spanned="2">{paragraph("both")}</table:table-cell>'
        f"<table:covered-table-cell/></table:table-row></table:table>"
    )
    picture = '<drawi:frame><drawi:image link:href="Pictures/1.png"/><svg-c:desc>A pump</svg-c:desc></drawi:frame>'
    chart = "".join(f'<drawi:frame><drawi:object link:href="./Object {each}"/></drawi:frame>' for each in (1, 2))
    body = (
        deleted + '<text:h text:outline-level="1">Head &amp; tail</text:h>'
        f'<text:p>One<text:s text:c="3"/>two{note} and <text:a link:href="http://x.example/">link</text:a>{box("Boxed")}'
        f"<offic:annotation>{paragraph('Remark')}</offic:annotation></text:p>"
        f"<text:list><text:list-item>{paragraph('outer')}<text:list><text:list-item>{paragraph('inner')}</text:list-item></text:list>"
        f"</text:list-item></text:list>{table}<text:p>{picture}{chart}</text:p>"
    )
    numbers = flat(
        f"<table:table><table:table-row><table:table-cell>{paragraph('42.5')}</table:table-cell></table:table-row></table:table>"
    )
    styles = f"<offic:document-styles {NAMESPACES}><style:header>{paragraph('Page head')}</style:header></offic:document-styles>"
    made = convert_bytes("a.odt", document(body, parts={"Object 1/content.xml": numbers, "styles.xml": styles}))
    assert made.text == (
        "# Head & tail\n\nOne two [1] and [link](http://x.example/)\n\nBoxed\n\n- outer\n\n  - inner\n\n"
        "| a | b |\n| --- | --- |\n| both |  |\n\nA pump\n\n| 42.5 |\n| --- |\n\n"
        "[1]\n\nThe note.\n\nComment:\n\nRemark\n\nPage head\n"
    )
    assert made.title == "Head & tail"
    assert [each.part for each in made.skipped] == ["embedded Object 2", "1 pictures"]


def test_slides_are_pages_and_have_their_notes() -> None:
    slides = (
        f"<drawi:page>{box('Title')}<drawi:g><drawi:custom-shape>{paragraph('Shape')}</drawi:custom-shape></drawi:g>"
        f"<prese:notes>{box('Say it')}</prese:notes></drawi:page><drawi:page/><drawi:page>{box('Third')}</drawi:page>"
    )
    for content in (document(slides, "presentation"), flat(slides, "presentation").encode()):
        made = convert_bytes("a.fodp", content)
        assert made.text == "Title\n\nShape\n\nNotes:\n\nSay it\n\n\n\nThird"
        assert [made.page_at(made.text.index(word)) for word in ("Title", "Say it", "Third")] == [1, 1, 3]


def test_they_are_known_by_what_they_are() -> None:
    content = document(paragraph("Words"))
    assert convert_bytes("a.docx", content).text == convert_bytes("a", content).text == "Words\n"


@given(
    st.lists(
        st.tuples(st.sampled_from(["p", "h", "list", "cell", "box", "note", "comment"]), WORDS), min_size=1, max_size=12
    )
)
def test_every_word_is_found_again(parts: list[tuple[str, str]]) -> None:
    body = []
    for at, (kind, word) in enumerate(parts):
        text = escape(f"{word} no{at}x")
        inner = paragraph(text)
        body.append(
            {
                "p": inner,
                "h": f"<text:h>{text}</text:h>",
                "list": f"<text:list><text:list-item>{inner}</text:list-item></text:list>",
                "cell": f"<table:table><table:table-row>{cell(inner)}</table:table-row></table:table>",
                "box": paragraph(box(text)),
                "note": f"<text:p>x<text:note><text:note-body>{inner}</text:note-body></text:note></text:p>",
                "comment": f"<text:p>x<offic:annotation>{inner}</offic:annotation></text:p>",
            }[kind]
        )
    made = convert_bytes("a.odt", document("".join(body))).text.replace("\\", "")
    for at, (_, word) in enumerate(parts):
        assert made.count(f"no{at}x") == 1
        assert word in made


def test_what_is_nested_without_end_or_repeated_without_end_has_bounds() -> None:
    deep = "<text:section>" * 1500 + paragraph("deepest") + "</text:section>" * 1500
    assert "deepest" in convert_bytes("a.odt", document(deep)).text
    spans = "<text:span>" * 1500 + "inmost" + "</text:span>" * 1500
    assert "inmost" in convert_bytes("a.odt", document(paragraph(spans))).text
    many = f'<table:table-cell table:number-columns-repeated="999999999">{paragraph("x")}</table:table-cell>'
    row = f'<table:table-row table:number-rows-repeated="999999999">{many}</table:table-row>'
    with_blanks = row.replace(paragraph("x"), "")
    made = convert_bytes(
        "a.odt",
        document(f"<table:table>{row.replace('9' * 9, '30')}</table:table><table:table>{with_blanks}</table:table>"),
    )
    assert made.text.count("x") == 30 * 30


@pytest.mark.parametrize("name", ["a.odt", "a.odp", "a.ods", "a.fodt", "a.fods"])
@pytest.mark.parametrize(
    "content", [b"PK\x03\x04 broken", b"<not closed", b"\x00\x01", document("", "").replace(b"offic", b"other")]
)
def test_what_is_damaged_says_so(name: str, content: bytes) -> None:
    with pytest.raises(DocumentError):
        convert_bytes(name, content)


@pytest.mark.parametrize("name", ["a.odt", "a.odp", "a.ods"])
def test_one_with_a_password_says_so(name: str) -> None:
    locked = document("", parts={"META-INF/manifest.xml": "<manifest:encryption-data/>"})
    with pytest.raises(EncryptedDocument):
        convert_bytes(name, locked)
