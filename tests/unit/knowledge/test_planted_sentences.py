"""Sentences planted where real documents have them are found again, each in one piece."""

import json

import pytest

from gateway.knowledge.conversion import convert_bytes
from tests.unit.knowledge.test_delimited import rows

_RTF = r"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}"
_MAIL = "From: ann@example.com\nSubject: s\nContent-Type: multipart/alternative; boundary=B\n\n"


def _alternative(*parts: tuple[str, str]) -> str:
    return _MAIL + "".join(f"--B\nContent-Type: text/{kind}\n\n{text}\n" for kind, text in parts) + "--B--\n"


@pytest.mark.parametrize(
    ("name", "content", "sentences"),
    [
        ("a.json", "{a: 'Gr\\u00f6\\u00dfe', b: \"M\\u00fcnchen\"}", ["Größe", "München"]),
        ("a.xml", '<!DOCTYPE r [<!ENTITY firm "Werk Nord">]><r>&firm; pumps &amp; valves</r>', ["Werk Nord pumps & valves"]),
        ("a.opml", '<opml><outline text="pumps &amp; valves"/></opml>', ["pumps & valves"]),
        ("a.unknown", '<?xml version="1.0"?><root><value>pumps &amp; valves</value></root>', ["pumps & valves"]),
        ("a.tex", r"Gr\"o{\ss}e, M{\"u}nchen, caf\'e, na\"{\i}ve, \v{S}koda, Fran\c cois, \'\i, Stra\ss e, $\frac{a}{b}$",
         [r"Größe, München, café, naïve, Škoda, François, í, Straße, $\frac{a}{b}$"]),
        ("a.txt", "%PDF-1.4 is how such files begin.", ["%PDF-1.4 is how such files begin."]),
        ("a.txt", "The valve is open.\x1a", ["The valve is open."]),
        ("a.rtf", _RTF + r"{\upr{Gr??e}{\*\ud{Gr\u246?\u223?e}}}\par}", ["Größe"]),
        ("a.rtf", _RTF + r"{\object\objemb{\*\objdata 0105}{\result The valve}}\par}", ["The valve"]),
        ("a.eml", _alternative(("plain", "The pump is in the cellar."), ("html", "<p>Call us on Monday!</p>")),
         ["The pump is in the cellar.", "Call us on Monday!"]),
        ("a.eml", "\ufeffFrom: ann@example.com\nTo: b@example.com\nTo: c@example.com\nSubject: Valve\n\nIt is open.",
         ["# Valve", "b@example.com, c@example.com", "It is open."]),
        ("a.csv", "remark\nfine\ngood, but slow\nbad\n", ["good, but slow"]),
        ("a.csv", "remark\ngood, but slow\na, b, c, d\nbad\nworse\n", ["good, but slow", "a, b, c, d"]),
    ],
)  # fmt: skip
def test_planted_sentences(name: str, content: str, sentences: list[str]) -> None:
    text = " ".join(convert_bytes(name, content.encode()).text.split())
    for sentence in sentences:
        assert sentence in text


@pytest.mark.parametrize(
    "lines", [["# made by a tool"], ["# a tool", "# 2024-03-04, by Ann", "#"], ["Report", "as of, say, May", ""]]
)
def test_lines_before_a_table_do_not_hide_its_columns(lines: list[str]) -> None:
    content = "\n".join([*lines, "id,name,price", "1,pump,2", "2,valve,3"])
    assert rows(convert_bytes("a.csv", content.encode()).text)[-3:] == [
        ["id", "name", "price"],
        ["1", "pump", "2"],
        ["2", "valve", "3"],
    ]


def test_two_forms_of_a_mail_that_say_the_same_are_one() -> None:
    content = _alternative(
        ("plain", "The pump is in the cellar."), ("html", "<p>The <b>pump</b> is in the cellar.</p>")
    )
    assert convert_bytes("a.eml", content.encode()).text.count("cellar") == 1


def test_what_cells_of_a_notebook_put_out() -> None:
    outputs = [
        {"output_type": "stream", "text": ["first line\n", "second line"]},
        {
            "output_type": "execute_result",
            "data": {"text/plain": ["   a  b"], "text/html": "<p>no</p>", "image/png": "iVBO"},
        },
        {"output_type": "display_data", "data": {"text/html": ["<table><tr><td>k<td>v</table>"]}},
        {"output_type": "error", "ename": "ValueError", "evalue": "no pump", "traceback": []},
        {"output_type": "display_data", "data": {"image/png": "iVBO"}},
    ]
    book = {"nbformat": 4, "metadata": {}, "cells": [{"cell_type": "code", "source": "x", "outputs": outputs}]}
    made = convert_bytes("a.ipynb", json.dumps(book).encode())
    for words in ("first line\nsecond line", "   a  b", "| k | v |", "ValueError: no pump"):
        assert words in made.text
    assert "iVBO" not in made.text
    assert [each.part for each in made.skipped] == ["1 outputs of cells"]
