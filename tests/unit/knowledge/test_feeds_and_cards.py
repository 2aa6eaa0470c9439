"""Feeds, calendars, address cards, notebooks and workbooks in one XML file: each thing that they say is found again."""

import json
import quopri
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.knowledge.conversion import convert_bytes
from gateway.knowledge.documents import CorruptDocument

WORDS = st.lists(st.from_regex(r"[a-zäöü]{2,9}", fullmatch=True), min_size=1, max_size=6).map(" ".join)


def read(name: str, content: str | bytes) -> str:
    return " ".join(convert_bytes(name, content.encode() if isinstance(content, str) else content).text.split())


RSS = "<rss version='2.0' xmlns:dc='http://purl.org/dc/elements/1.1/'><channel><title>News</title>{}</channel></rss>"
RDF = (
    "<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#' xmlns='http://purl.org/rss/1.0/'"
    " xmlns:dc='http://purl.org/dc/elements/1.1/'><channel><title>News</title></channel>{}</rdf:RDF>"
)
ATOM = (
    "<feed xmlns='http://www.w3.org/2005/Atom' xmlns:dc='http://purl.org/dc/elements/1.1/'><title>News</title>{}</feed>"
)


@given(
    feed=st.sampled_from([(RSS, "item", "description"), (RDF, "item", "description"), (ATOM, "entry", "content")]),
    entries=st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=4),
    named=st.sampled_from(["feed.rss", "feed.xml"]),
)
def test_every_entry_has_its_title_its_author_and_its_text(
    feed: tuple[str, str, str], entries: list[tuple[str, str, str]], named: str
) -> None:
    frame, entry, body = feed
    made = "".join(
        f"<{entry}><title>{title}</title><dc:creator>{author}</dc:creator>"
        f"<{body}>{escape(f'<p>{text}</p>')}</{body}></{entry}>"
        for title, author, text in entries
    )
    text = read(named, "<?xml version='1.0' encoding='utf-8'?>\n" + frame.format(made))
    assert "News" in text
    for title, author, body_text in entries:
        assert f"## {title}" in text
        assert author in text
        assert body_text in text


def test_an_entry_of_a_feed_without_a_title_is_read_and_what_is_no_feed_is_refused() -> None:
    assert "only words" in read("a.rss", RSS.format("<item><description>only words</description></item>"))
    with pytest.raises(CorruptDocument, match="no feed"):
        convert_bytes("a.rss", b"<other><p>words</p></other>")
    with pytest.raises(CorruptDocument):
        convert_bytes("a.rss", b"<rss><channel>")


@given(words=WORDS, width=st.integers(5, 75), end=st.sampled_from(["\r\n", "\n"]))
def test_words_of_calendars_are_whole_wherever_their_lines_are_folded(words: str, width: int, end: str) -> None:
    line = f"DESCRIPTION:{words}\\, and\\nmore"
    folded = f"{end} ".join(line[at : at + width] for at in range(0, len(line), width))
    assert f"DESCRIPTION:{words}, and more" in read("a.ics", f"BEGIN:VEVENT{end}{folded}{end}END:VEVENT{end}")


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_names_of_old_address_cards_are_characters(encoding: str) -> None:
    name = quopri.encodestring("Müller-Größenwahn;Jürgen".encode(encoding)).decode()
    card = f"BEGIN:VCARD\r\nN;CHARSET={encoding};ENCODING=QUOTED-PRINTABLE:{name}\r\nPHOTO;ENCODING=BASE64:AAAA\r\nEND:VCARD\r\n"
    text = read("a.vcf", card)
    assert "Müller-Größenwahn;Jürgen" in text
    assert "PHOTO" not in text


def test_notebooks_of_each_version_are_read_whole() -> None:
    new = {
        "cells": [
            {"cell_type": "markdown", "source": ["# Title\n", "some text"]},
            {"cell_type": "raw", "source": "as it is"},
            {"cell_type": "code", "source": "x = 7", "outputs": [{"output_type": "stream"}]},
        ],
        "nbformat": 4,
    }
    old = {
        "worksheets": [
            {
                "cells": [
                    {"cell_type": "heading", "level": 2, "source": ["Old title"]},
                    {"cell_type": "code", "input": ["y = 5"], "outputs": []},
                ]
            }
        ],
        "nbformat": 3,
    }
    text = read("new.ipynb", json.dumps(new))
    assert all(part in text for part in ("# Title some text", "as it is", "x = 7"))
    text = read("old.ipynb", json.dumps(old))
    assert "## Old title" in text
    assert "y = 5" in text
    for broken in ('{"cells": [', "[1]", '{"cells": [7]}', '{"cells": null}'):
        with pytest.raises(CorruptDocument):
            convert_bytes("a.ipynb", broken.encode())


@given(table=st.lists(st.lists(WORDS | st.integers(0, 999), min_size=3, max_size=3), min_size=2, max_size=5))
def test_workbooks_in_xml_that_are_called_xls_keep_their_cells(table: list[list[str | int]]) -> None:
    rows = "".join(
        "<Row>"
        + "".join(f'<Cell><Data s:Type="{"Number" if isinstance(v, int) else "String"}">{v}</Data></Cell>' for v in row)
        + "</Row>"
        for row in table
    )
    book = (
        '<?xml version="1.0"?><?mso-application progid="Excel.Sheet"?>'
        '<Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet" xmlns:s="urn:schemas-microsoft-com:office:spreadsheet">'
        f'<Worksheet s:Name="First"><Table>{rows}</Table></Worksheet></Workbook>'
    )
    text = read("export.xls", book)
    for row in table:
        assert f"| {' | '.join(map(str, row))} |" in text


def test_a_page_saved_as_one_file_is_read_whatever_it_is_called() -> None:
    page = (
        "Date: Mon, 1 Jan 2024 10:00:00 +0000\nMIME-Version: 1.0\n"
        'Content-Type: multipart/related; boundary="b"\n\n--b\nContent-Type: text/html; charset=utf-8\n'
        "Content-Transfer-Encoding: quoted-printable\n\n<html><p>Gr=C3=B6=C3=9Fe</p></html>\n--b--\n"
    )
    assert "Größe" in read("Exported.doc", page)
    html = "<!-- made by a program -->\n<html><table><tr><td>a</td><td>b</td></tr></table></html>"
    assert "| a | b |" in read("export.xls", html)
