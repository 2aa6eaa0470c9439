"""Word documents: whatever is in one, only its words change, and terms of the glossary stay."""

import zipfile
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistants import word
from assistants.word import WordError, WordFile
from tests.support.word_files import W, form, paragraph, run, word_file, words

GLOSSARY = {"Dewpoint Pro": "Taupunkt Pro", "pump": "Pumpe"}
BOLD, ITALIC = "<w:b/>", '<w:i/><w:color w:val="FF0000"/>'
MARKS = (
    "<w:r><w:tab/></w:r>",
    "<w:r><w:br/></w:r>",
    '<w:r><w:footnoteReference w:id="1"/></w:r>',
    '<w:bookmarkStart w:id="0" w:name="here"/><w:bookmarkEnd w:id="0"/>',
    '<w:proofErr w:type="spellStart"/>',
    '<w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText> PAGE </w:instrText></w:r>',
    '<w:r><w:fldChar w:fldCharType="end"/></w:r>',
    '<w:del w:id="2"><w:r><w:delText>gone words</w:delText></w:r></w:del>',
    "<w:r><w:drawing><w:txbxContent><w:p><w:r><w:t>in a box</w:t></w:r></w:p></w:txbxContent></w:drawing></w:r>",
)
text = st.lists(
    st.sampled_from(
        ["the", "pump ", " Dewpoint", " Pro", "Dewpoint Pro", "leaks ", "12", "…", " ", "<&>", "é", "漢字"]
    ),
    min_size=1,
    max_size=6,
).map("".join)
a_run = st.builds(run, text, st.sampled_from(["", "", BOLD, ITALIC, '<w:lang w:val="de-DE"/>']))
link = st.builds(lambda inner: f'<w:hyperlink r:id="rId9">{inner}</w:hyperlink>', a_run)
inner = st.lists(st.one_of(a_run, a_run, link, st.sampled_from(MARKS)), max_size=7).map("".join)
a_paragraph = st.builds(paragraph, inner, st.sampled_from(["", "Heading1", "ListParagraph"]))
table = st.lists(a_paragraph, min_size=1, max_size=3).map(
    lambda cells: f"<w:tbl><w:tr>{''.join(f'<w:tc>{cell}</w:tc>' for cell in cells)}</w:tr></w:tbl>"
)
body = st.lists(st.one_of(a_paragraph, a_paragraph, table), max_size=6).map("".join)


def translated(content: bytes) -> bytes:
    file = WordFile(content)
    texts = ["".join("Wort" if part.words else part.text for part in parts) for parts in file.stretches(GLOSSARY)]
    return file.replaced(texts)


@settings(max_examples=80, deadline=None)
@given(body, a_paragraph, a_paragraph)
def test_whatever_is_in_a_document_its_form_stays_and_so_does_the_glossary(body: str, head: str, foot: str) -> None:
    content = word_file(
        body, header=head, footnote=foot, more={"word/media/image1.png": b"\x89PNG\x00", "custom.xml": b"<a/>"}
    )
    made = translated(content)
    assert form(made) == form(content)
    with zipfile.ZipFile(BytesIO(made)) as archive:
        assert archive.testzip() is None
    unchanged = WordFile(content)
    assert unchanged.replaced(["".join(p.text for p in parts) for parts in unchanged.stretches({})]) is not None


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["", BOLD, ITALIC]), min_size=40, max_size=40), st.integers(0, 12))
def test_a_term_stays_however_runs_cut_it(looks: list[str], before: int) -> None:
    said = "x" * before + " see the Dewpoint Pro now"
    runs = "".join(run(character, look) for character, look in zip(said, looks, strict=False))
    (line,) = words(translated(word_file(paragraph(runs))))
    assert line.count("Taupunkt Pro") == 1
    assert "Dewpoint" not in line


def test_runs_that_look_alike_are_one_sentence_and_marks_stay_between_words() -> None:
    content = word_file(
        paragraph(run("It le") + '<w:proofErr w:type="spellStart"/>' + run("aks") + run(" now", BOLD)),
    )
    parts = [[part.text for part in parts if part.words] for parts in WordFile(content).stretches({})]
    assert parts == [["It leaks"], ["now"]]
    made = translated(content)
    assert words(made) == ["Wort Wort"]


def test_deleted_words_and_fields_are_left_alone_and_boxes_are_not() -> None:
    made = translated(word_file(paragraph(run("a") + "".join(MARKS) + run("b"))))
    with zipfile.ZipFile(BytesIO(made)) as archive:
        text = archive.read("word/document.xml").decode()
    assert "gone words" in text
    assert " PAGE " in text
    assert "in a box" not in text


def test_a_summary_keeps_the_pages_form() -> None:
    made = WordFile(word_file(paragraph(run("Long."), "Heading1"), header=paragraph(run("Head")))).with_body(
        ["A", "B & C"]
    )
    assert words(made) == ["A", "B & C"]
    assert WordFile(made).text == "A\n\nB & C\n\nHead"
    with zipfile.ZipFile(BytesIO(made)) as archive:
        assert b"11906" in archive.read("word/document.xml")


def test_what_no_xml_can_hold_is_left_out() -> None:
    made = WordFile(word_file(paragraph(run("word")))).replaced(["a\x00b\ud800\ufffe c ", "", ""][:1])
    assert words(made) == ["ab c "]


def _with(name: str, data: bytes) -> bytes:
    content = word_file(paragraph(run("word")))
    out = BytesIO()
    with zipfile.ZipFile(BytesIO(content)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for each in old.namelist():
            new.writestr(each, data if each == name else old.read(each))
    return out.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 no archive",
        _with("[Content_Types].xml", b"<Types/>"),
        _with("word/document.xml", b"<w:document"),
        _with("word/document.xml", b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>'),
        _with("word/document.xml", b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>'),
        _with("word/document.xml", f'<w:d xmlns:w="{W}">'.encode() + b"<w:p>" * 5000 + b"</w:p>" * 5000 + b"</w:d>"),
        _with("word/document.xml", b"<x>" + b" " * (17 << 20) + b"</x>"),
        word_file("", more={"word/media/bomb": bytes(129 << 20)}),
    ],
    ids=["empty", "broken", "no body", "cut", "entities", "a file of ours", "deep", "long", "a bomb"],
)
def test_what_would_harm_is_refused(content: bytes) -> None:
    with pytest.raises(WordError):
        WordFile(content)


def test_the_properties_of_a_run_are_looked_at_once_however_many_texts_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of 8 MB of properties and 8 MB of texts took its thread for ever."""
    looked: list[object] = []
    look = word._look
    monkeypatch.setattr(word, "_look", lambda run: looked.append(run) or look(run))
    properties, texts = "<w:b/>" * 50, "<w:t>valve </w:t>" * 50
    body = paragraph(f"<w:r><w:rPr>{properties}</w:rPr>{texts}</w:r>" + run("opens"))
    assert WordFile(word_file(body)).text == "valve " * 50 + "opens"
    assert len(looked) == 2
