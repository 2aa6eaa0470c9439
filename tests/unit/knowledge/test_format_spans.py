"""A citation points into the converted document: for every format and limit a chunk is text[start:end], and nothing is lost."""

import functools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.knowledge.chunking import Chunker
from gateway.knowledge.conversion import convert_bytes
from gateway.knowledge.documents import Document
from tests.unit.knowledge.spans import check, words
from tests.unit.knowledge.test_formats import REAL, REAL_FILES

MADE = {
    "made.md": "# Pumps\r\n\r\n- one\r\n- two\r\n\r\n| a | b |\r\n|---|---|\r\n| ü | 髙 |\r\n".encode(),
    "made.txt": "Ein Satz. Noch ein Satz!\n\n\fNext page \u2028 and a 𝔘nusual letter.".encode(),
    "made.html": b"<h1>T</h1><p>Some <b>bold</b> words.</p><pre>code\n  here</pre><table><tr><td>1</td></tr></table>",
    "made.csv": "名前;年齢\n佐藤太郎;30\n".encode("cp932"),
    "made.py": b"import os\n\n\ndef f(x):\n    return x\n\n\nclass A:\n    pass\n",
    "made.ipynb": json.dumps(
        {
            "cells": [
                {"cell_type": "markdown", "metadata": {}, "source": ["# Notes\n", "words"]},
                {"cell_type": "code", "metadata": {}, "source": ["print(1)"], "outputs": [], "execution_count": 1},
            ],
            "metadata": {},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    ).encode(),
}
READABLE = [*MADE, *(name for name, expected in REAL_FILES if not isinstance(expected, str))]


@functools.cache
def document(name: str) -> Document:
    """Converted once, and read back from JSON as a search does."""
    content = MADE[name] if name in MADE else Path(REAL, name).read_bytes()
    return Document.from_json(convert_bytes(name, content).to_json())


@pytest.mark.parametrize("name", READABLE)
@given(max_tokens=st.integers(20, 900), share=st.floats(0, 0.5))
@settings(max_examples=6, deadline=None)  # the machine may be busy
def test_every_chunk_is_its_place_in_the_document(name: str, max_tokens: int, share: float) -> None:
    if name not in MADE and not (REAL / name).is_file():
        pytest.skip(f"{REAL} has no {name}; set RAGFLEET_TEST_DATA to a folder with formats/")
    chunker = Chunker(count=words).limited(max_tokens, int(max_tokens * share))
    chunks = chunker.chunks(document(name))
    assert chunks
    check(document(name), chunks, chunker)
