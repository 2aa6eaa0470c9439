"""What holds for the chunks of every document."""

import re
from itertools import pairwise

from gateway.knowledge.chunking import Chunk, Chunker
from gateway.knowledge.documents import Document


def words(text: str) -> int:
    """A token counter for tests: words, and each character of punctuation."""
    return len(re.findall(r"\w+|[^\w\s]", text))


def check(document: Document, chunks: list[Chunk], chunker: Chunker) -> None:
    """What holds for every document."""
    covered = set[int]()
    for number, chunk in enumerate(chunks):
        assert chunk.index == number
        assert chunk.body == document.text[chunk.start : chunk.end]
        assert chunk.body == chunk.body.strip() != ""
        assert chunk.indexed.endswith(chunk.body)
        assert chunk.indexed[len(chunk.indexed) - (chunk.end - chunk.start) :] == chunk.body
        assert chunk.page == document.page_at(chunk.start) == document.page_at(chunk.end - 1)
        assert len(chunk.body) <= chunker.max_chars
        covered.update(range(chunk.start, chunk.end))
    assert all(a.start < b.start and a.end < b.end for a, b in pairwise(chunks))
    lost = "".join(char for at, char in enumerate(document.text) if at not in covered)
    assert lost.strip() == ""
