"""Mail, rich text and data: as their readers see them, not as they are written down."""

import base64
import binascii
import json
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.knowledge.conversion import convert_bytes
from gateway.knowledge.documents import Document
from tests.unit.knowledge.pdf_file import drawn, lines
from tests.unit.knowledge.test_delimited import rows


def message(body: str = "", html: str = "", subject: str = "Prüfbericht", **charset: str) -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "Ada <ada@example.com>", "bob@example.com", subject
    made["Date"] = "Fri, 27 Nov 2026 07:00:00 +0000"
    if body:
        made.set_content(body, **charset)
    if html:
        (made.add_alternative if body else made.set_content)(html, subtype="html")
    return made


def read(made: EmailMessage) -> Document:
    return convert_bytes("a.eml", made.as_bytes())


def test_a_mail_has_its_head_and_its_text() -> None:
    document = read(message("Die Gewährleistung beträgt 26 Monate.\n" * 3))
    assert document.title == "Prüfbericht"
    for words in (
        "# Prüfbericht",
        "- From: Ada <ada@example.com>",
        "- Date: Fri, 27 Nov 2026",
        "Die Gewährleistung beträgt",
    ):
        assert words in document.text


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "cp1252"])
def test_bodies_in_any_charset(charset: str) -> None:
    assert "Größe und Maß" in read(message("Größe und Maß", charset=charset)).text


def test_the_richer_of_two_bodies_is_read_once() -> None:
    table = "<table><tr><th>Part<th>Stock<tr><td>P-1<td>7</table>"
    text = read(message("Part Stock P-1 7", f"<p>{table}</p>")).text
    assert "| P-1 | 7 |" in text
    assert text.count("P-1") == 1
    stub = read(message("The whole long text stands in here, and nowhere else.", "<p>Use another program.</p>")).text
    assert "whole long text" in stub


def test_attachments_are_read_or_named() -> None:
    made = message("See below.")
    made.add_attachment(b"part,stock\nP-1,7\n", maintype="text", subtype="csv", filename="stock.csv")
    made.add_attachment(drawn(lines("of the report")), maintype="application", subtype="pdf", filename="Bericht ü.pdf")
    made.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="photo.png")
    made.add_attachment(b"\0\1\2", maintype="application", subtype="octet-stream", filename="data.bin")
    made.add_attachment(message("Forwarded words.", subject="Inner"))
    document = read(made)
    for words in (
        "## Attachment: stock.csv",
        "| P-1 | 7 |",
        "## Attachment: Bericht ü.pdf",
        "of the report",
        "Forwarded words.",
    ):
        assert words in document.text
    assert [each.part for each in document.skipped] == ["photo.png", "attachment data.bin"]


def test_mails_in_mails_without_end() -> None:
    made = message("innermost")
    for level in range(8):
        outer = message(f"level {level}")
        outer.add_attachment(made)
        made = outer
    document = read(made)
    assert "level 7" in document.text
    assert any("too deep" in each.reason for each in document.skipped)


def test_a_folder_of_mails() -> None:
    mails = b"".join(
        b"From ada@example.com Fri Nov 27 07:00:00 2026\n" + message(f"Body {number}.").as_bytes() + b"\n"
        for number in range(3)
    )
    text = convert_bytes("a.mbox", mails).text
    assert [f"Body {number}." in text for number in range(3)] == [True] * 3


def test_a_saved_page() -> None:
    made = message(html="<h1>Head</h1><article>One.</article><article>Two.</article>")
    text = convert_bytes("a.mht", made.as_bytes()).text
    assert "One." in text
    assert "Two." in text


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_any_bytes_are_a_mail_of_some_kind(content: bytes) -> None:
    convert_bytes("a.eml", b"Subject: x\n" + content)


def test_rich_text() -> None:
    source = (
        r"{\rtf1\ansi\ansicpg1251\deff0{\fonttbl{\f0\fnil\fcharset204 Arial;}}{\*\generator X;}"
        r"\pard \'c3\'e0\'f0\'e0\'ed\'f2\'e8\'ff {\b bold}wa{\i rr}anty \u-10179?\u-8704?{\footnote A footnote.}\par "
        r"\trowd\cellx1\cellx2 Part\cell Stock\cell\row\trowd\cellx1\cellx2 P-1\cell 7\cell\row\pard After.\par}"
    )
    document = convert_bytes("a.rtf", source.encode())
    for words in ("Гарантия", "boldwarranty", "😀", "A footnote.", "After."):
        assert words in document.text
    assert rows("\n".join(line for line in document.text.splitlines() if line.startswith("|"))) == [
        ["Part", "Stock"],
        ["P-1", "7"],
    ]
    assert document.rows == 2
    assert convert_bytes("a.doc", source.encode()).text == document.text, "programs write it as .doc"


VALUES = st.recursive(
    st.one_of(st.text(max_size=12), st.integers(), st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=10,
)


def test_escapes_become_characters() -> None:
    data = {"firma": "Müller & Söhne", "note": "one\ntwo", "smile": "😀", "path": "C:\\temp", "said": '"so"'}
    for text in (json.dumps(data), json.dumps(data, indent=2)):
        made = convert_bytes("a.json", text.encode()).text
        for words in ("Müller & Söhne", "one\ntwo", "😀", "C:\\temp", '"so"'):
            assert words in made
    assert "Größe" in convert_bytes("a.properties", b"size=Gr\\u00f6\\u00dfe").text
    assert "Größe <b>" in convert_bytes("a.xml", b"<a>Gr&#246;&#xdf;e &lt;b&gt;</a>").text


def test_a_record_of_json_lines_stays_a_line() -> None:
    records = [{"id": number, "text": "zwei\nZeilen, ä", "n": [1.10, "\u2028"]} for number in range(4)]
    document = convert_bytes("a.jsonl", "\n".join(json.dumps(record) for record in records).encode())
    assert document.rows == 4
    assert document.text.splitlines()[0].startswith('{"id": 0, "text": "zwei Zeilen, ä"')
    assert document.text.count("\n") == 4


def test_json_in_one_line_gets_lines_and_keeps_its_numbers() -> None:
    records = ",".join(
        f'{{"id":{number},"price":1.{number:04}0,"name":"item {number}","id":7}}' for number in range(500)
    )
    text = convert_bytes("a.json", f'{{"items":[{records}]}}'.encode()).text
    assert '{"id": 499, "price": 1.04990, "name": "item 499", "id": 7}' in text
    assert max(map(len, text.splitlines())) < 100


@given(
    st.lists(st.dictionaries(st.text("abcü", min_size=1, max_size=6), VALUES, max_size=4), min_size=1, max_size=20),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_every_word_of_json_is_found_again(data: list[dict[str, object]], ascii_only: bool) -> None:
    document = convert_bytes("a.json", json.dumps({"first": "word", "all": data}, ensure_ascii=ascii_only).encode())
    for record in data:
        for key, value in record.items():
            assert f'"{key}"' in document.text
            if isinstance(value, int) and not isinstance(value, bool):
                assert str(value) in document.text
            if isinstance(value, str) and value.isalnum() and value.isascii():
                assert value in document.text


@pytest.mark.parametrize("said", ["us-ascii", "iso-8859-1", "windows-1252", "utf-8", "x-unknown", "utf-16"])
@pytest.mark.parametrize("written", ["utf-8", "cp1252"])
def test_a_body_is_read_whatever_its_charset_is_said_to_be(said: str, written: str) -> None:
    head = f"From: a@example.com\nContent-Type: text/plain; charset={said}\nContent-Transfer-Encoding: 8bit\n\n"
    body = "Die Gewährleistung kostet 5 € – das ist „gut“, sagt Herr Müller."
    assert body in convert_bytes("a.eml", head.encode() + body.encode(written)).text


def test_a_charset_of_several_bytes_is_believed() -> None:
    head = b"From: a@example.com\nContent-Type: text/plain; charset=gb2312\nContent-Transfer-Encoding: 8bit\n\n"
    for text in ("联通", "保修期為二十四個月"):
        assert text in convert_bytes("a.eml", head + text.encode("gb18030")).text


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_headers_that_are_not_ascii(encoding: str) -> None:
    text = convert_bytes("a.eml", "From: Jörg <a@b>\nReply-To: rt@b\nSubject: Größe\n\nbody".encode(encoding)).text
    for words in ("# Größe", "- From: Jörg <a@b>", "- Reply-To: rt@b", "body"):
        assert words in text


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_rich_text_with_characters_that_it_should_not_have(encoding: str) -> None:
    assert convert_bytes("a.rtf", "{\\rtf1\\ansi Größe}".encode(encoding)).text == "Größe"


def test_what_stands_apart_in_rich_text_follows_at_the_end() -> None:
    fonts = rb"{\fonttbl{\f0\fcharset0 A;}{\f1\fcharset204 A;}}"
    box = rb"{\shp{\*\shpinst{\shptxt \f1\'c3\'e0\'f0 in a box\par}}}"
    source = (
        rb"{\rtf1\ansi\ansicpg1252"
        + fonts
        + rb"{\header Contract {4711}}the text "
        + box
        + rb"{\footerl Page of Acme}{\footerr Page of Acme}}"
    )
    made = convert_bytes("a.rtf", source)
    for words in ("the text", "Гар in a box", "Contract 4711", "Page of Acme"):
        assert made.text.count(words) == 1
    assert not made.skipped


def test_of_tracked_changes_in_rich_text_the_newer_state_is_read() -> None:
    assert (
        convert_bytes("a.rtf", rb"{\rtf1 costs {\f0\deleted ten}{\revised twelve} euros}").text == "costs twelve euros"
    )


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_strings_without_an_end_are_read_in_one_go(name: str) -> None:
    """To look for the end from each quote took minutes."""
    assert convert_bytes(name, b'"\\' * 200_000).text
    assert "wört" in convert_bytes(name, rb'{"a": "stray " quote, "b": "w\u00f6rt"').text


@pytest.mark.parametrize(
    "sentence",
    [
        "From the very beginning of 2003",
        "From 10:30 to 11:45 in 2004 we met",
        "From here: nothing\nNote: kept",
        "word: five",
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_sentence_in_a_folder_of_mails_parts_no_mail(sentence: str, end: str) -> None:
    folder = (
        "From a@b.c Mon Jan  1 10:00:00 2024\nSubject: one\n\nbody one\n"
        f"{sentence}\n\nafter it\n\nFrom - Sat Jan  3 01:05:34 1996 +0000\nSubject: two\n\nbody two\n"
    )
    text = " ".join(convert_bytes("a.mbox", folder.replace("\n", end).encode()).text.split())
    assert f"body one {' '.join(sentence.split())} after it" in text
    assert "# two body two" in text


def test_words_that_look_like_a_header_are_kept_where_there_is_none() -> None:
    text = convert_bytes("note.eml", b"Note: call them back\n\nsecond line\n").text
    assert "Note: call them back" in text
    assert "second line" in text


def test_reports_of_undelivered_mail_say_why() -> None:
    mail = (
        b'Subject: failed\nContent-Type: multipart/report; boundary="x"\n\n--x\n\nsorry\n--x\n'
        b"Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx\n\nFinal-Recipient: rfc822; a@b\n"
        b"Diagnostic-Code: smtp; 550 no such user\n--x--\n"
    )
    assert "550 no such user" in convert_bytes("a.eml", mail).text


def test_a_mail_in_a_mail_that_is_encoded_is_read() -> None:
    inner = base64.encodebytes(b"Subject: inner\n\nthe words within\n").decode()
    mail = (
        'Subject: outer\nContent-Type: multipart/mixed; boundary="x"\n\n--x\n\nhello\n--x\n'
        f"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n{inner}\n--x--\n"
    )
    assert "the words within" in convert_bytes("a.eml", mail.encode()).text


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        (r"\ansi\ansicpg1251{\fonttbl{\f0 Arial;}{\f1\fcharset204 Arial Cyr;}}\f0 ", "cp1251"),
        (r"\ansi\ansicpg1252{\fonttbl{\f0 Arial;}{\f1\fcharset204 Arial Cyr;}}\f1 ", "cp1251"),
        (r"\ansi\ansicpg1252{\fonttbl{\f0 Arial;}{\f1\fcharset204 Arial Cyr;}}\f0 ", "cp1252"),
        (r"\mac ", "mac-roman"),
        (r"\pc ", "cp437"),
        (r"\pca ", "cp850"),
    ],
)
def test_rich_text_in_the_characters_of_each_system(head: str, encoding: str) -> None:
    words = "Привет" if encoding == "cp1251" else "Größe"
    source = "".join(f"\\'{byte:02x}" for byte in words.encode(encoding))
    assert words in convert_bytes("a.rtf", f"{{\\rtf1{head}{source}}}".encode()).text


@given(text=st.text("aä€😀\u0416", min_size=1, max_size=20))
def test_strings_of_yaml_and_toml_with_any_escape(text: str) -> None:
    escaped = "".join(f"\\x{ord(c):02x}" if ord(c) < 256 else f"\\U{ord(c):08x}" for c in text)
    assert f'"{text}"' in convert_bytes("a.yaml", f'key: "{escaped}"\n'.encode()).text
    assert "C:\\xfiles" in convert_bytes("a.yaml", b"path: C:\\xfiles\n").text


def test_values_of_properties_go_on_in_the_next_line() -> None:
    assert "long=abcdef" in convert_bytes("a.properties", b"long=abc\\\n   def\nother=C:\\\\\nlast=1\n").text


def test_entities_of_markdown_are_letters_but_not_in_code() -> None:
    text = convert_bytes("a.md", b"Gr&ouml;&szlig;e &lt;b&gt; `&ouml;`\n\n```\n&auml;\n```\n\n&#252;ber\n").text
    assert text == "Größe &lt;b&gt; `&ouml;`\n\n```\n&auml;\n```\n\nüber\n"


@given(st.binary(max_size=200))
def test_pictures_in_bytes_as_they_are_part_nothing_of_rich_text(picture: bytes) -> None:
    rich = rb"{\rtf1\ansi Before {\pict\pngblip\bin%d %s}after.\par}" % (len(picture), picture)
    assert convert_bytes("a.rtf", rich).text.split() == ["Before", "after."]


_HEAD = "From: a@example.com\nSubject: s\nMIME-Version: 1.0\n"


def _read(head: str, body: bytes) -> str:
    return convert_bytes("a.eml", f"{_HEAD}{head}\n\n".encode() + body).text


@given(st.text("abcdefgh äöü€,.\n", min_size=30, max_size=200), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_what_is_said_to_be_base64_is_read_whether_it_is_or_not(text: str, cut: int) -> None:
    text = f"The pump is in the cellar. {text} end"
    head = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64"
    words = text.encode()
    code = base64.encodebytes(words).rstrip(b"=\n")
    whole = " ".join(convert_bytes("a.txt", words).text.split())
    assert whole in " ".join(_read(head, words).split())
    found = " ".join(_read(head, code[: len(code) - cut]).split())
    assert whole[:25] in found
    if not cut:
        assert whole in found


def test_files_that_old_programs_wrote_into_the_text() -> None:
    data = b"The valve is open.\n" * 20
    lines = b"".join(binascii.b2a_uu(data[at : at + 45]) for at in range(0, len(data), 45))
    text = _read("", b"See it.\nbegin 644 note.txt\n" + lines + b"`\nend\nGreetings\nbegin 644 no code\nhere\nend\n")
    assert text.count("The valve is open.") == 20
    for words in ("See it.", "## Attachment: note.txt", "Greetings", "begin 644 no code here end"):
        assert words in " ".join(text.split())


def test_parts_of_kinds_that_few_programs_write() -> None:
    assert "Rich <words> here" in _read(
        "Content-Type: text/enriched", b"<bold>Rich</bold> <<words> <color>here</color>"
    )
    calendar = b"BEGIN:VCALENDAR\nDESCRIPTION:Bring the\\, gl\n oves\nEND:VCALENDAR\n"
    assert "Bring the, gloves" in _read("Content-Type: text/calendar", calendar)
    head = 'Content-Type: message/external-body; access-type=URL; URL="http://example.com/f"'
    made = convert_bytes("a.eml", f"{_HEAD}{head}\n\nContent-Type: text/plain\n\n".encode())
    assert [each.part for each in made.skipped] == ["part at http://example.com/f"]


def test_a_character_that_a_fold_of_a_calendar_parts() -> None:
    assert (
        "Größe" in convert_bytes("a.ics", b"BEGIN:VCALENDAR\r\nSUMMARY:Gr\xc3\r\n \xb6\xc3\x9fe\r\nEND:VCALENDAR").text
    )
