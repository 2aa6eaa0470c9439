"""BM25 over parts of a collection, beside the formula written out plainly."""

import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")

import itertools

from milvus_lite.analyzer.sparse import sparse_to_bytes

from gateway.knowledge.index.schema import collection_schema
from ragfleet.milvus_lite.bm25 import BM25, Postings

WORDS = st.integers(0, 6)
TEXTS = st.lists(st.lists(WORDS, max_size=8), max_size=12)


def postings(texts: list[list[int]], *, chunks: int = 1) -> Postings:
    rows: list[bytes | None] = [
        sparse_to_bytes({word: float(n) for word, n in Counter(text).items()}) for text in texts
    ]
    parts = [rows[at::chunks] for at in range(chunks)] if chunks > 1 else [rows]
    return Postings(pa.chunked_array([pa.array(part, pa.binary()) for part in parts], pa.binary()))


def plainly(texts: list[list[int]], question: list[int], k1: float = 0.9, b: float = 0.4) -> list[float]:
    mean = sum(map(len, texts)) / len(texts) if texts else 0.0
    found = []
    for text in texts:
        score = 0.0
        for word, times in Counter(question).items():
            having = sum(word in other for other in texts)
            idf = math.log(1 + (len(texts) - having + 0.5) / (having + 0.5))
            count = text.count(word)
            score += times * idf * count * (k1 + 1) / (count + k1 * (1 - b + b * len(text) / mean)) if count else 0
        found.append(score)
    return found


@given(texts=TEXTS, question=st.lists(WORDS, max_size=4), cuts=st.lists(st.integers(0, 12), max_size=3), data=st.data())
def test_scores_are_those_of_the_rows_let_through_however_they_lie(
    texts: list[list[int]], question: list[int], cuts: list[int], data: st.DataObject
) -> None:
    mask = data.draw(st.lists(st.booleans(), min_size=len(texts), max_size=len(texts)))
    borders = [0, *sorted(min(cut, len(texts)) for cut in cuts), len(texts)]
    pieces = [slice(a, b) for a, b in itertools.pairwise(borders)]
    parts = [(postings(texts[piece]), np.array(mask[piece], np.bool_)) for piece in pieces]
    query = {word: float(times) for word, times in Counter(question).items()}
    found = np.concatenate(BM25().scores(query, parts))
    let_through = [text for text, good in zip(texts, mask, strict=True) if good]
    expected = iter(plainly(let_through, question))
    np.testing.assert_allclose(found, [next(expected) if good else 0 for good in mask], rtol=1e-4)


def test_a_column_of_several_chunks_and_rows_without_words() -> None:
    made = postings([[1], [], [1, 1], [2]], chunks=2)  # as they lie: [1], [1, 1], [], [2]
    rows, counts = made.of(1)
    assert (rows.tolist(), counts.tolist()) == ([0, 1], [1.0, 2.0])
    assert made.lengths.tolist() == [1, 2, 0, 1]
    assert made.of(7)[0].size == 0
    empty = Postings(pa.chunked_array([], pa.binary()))
    assert BM25().scores({1: 1.0}, [(empty, np.zeros(0, np.bool_))])[0].size == 0
    nothing = Postings(pa.chunked_array([pa.array([None, b""], pa.binary())]))
    assert BM25().scores({1: 1.0}, [(nothing, np.ones(2, np.bool_))])[0].tolist() == [0, 0]


def test_a_milvus_server_is_told_to_weigh_words_alike() -> None:
    _, indices = collection_schema(384)
    (words,) = (each.to_dict() for each in indices if each.field_name == "sparse")
    assert BM25(k1=words["bm25_k1"], b=words["bm25_b"]) == BM25()
