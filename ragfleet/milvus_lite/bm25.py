"""BM25 over the rows that a filter lets through, wherever they lie. No I/O.

A word's weight comes from those rows alone: it is the same however they were written, and tells nothing of rows that the asker
may not see.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Scores = NDArray[np.float32]

_PAIR = np.dtype([("word", "<u4"), ("count", "<f4")])
"""Of a sparse vector as Milvus stores it: a word's number and how often it is there."""


class Postings:
    """Of each word the rows that have it, and how often; of each row its length in words."""

    def __init__(self, vectors: pa.ChunkedArray) -> None:
        """vectors: a column of sparse vectors, as bytes; null is an empty one."""
        column = pa.concat_arrays(vectors.chunks) if vectors.num_chunks else pa.array([], pa.binary())
        pairs, sizes = _pairs(column)
        rows = np.repeat(np.arange(len(column), dtype=np.int32), sizes)
        self.lengths = np.bincount(rows, weights=pairs["count"], minlength=len(column)).astype(np.float32)
        order = np.argsort(pairs["word"], kind="stable")
        self._rows = rows[order]
        self._counts = pairs["count"][order]
        self._words, starts = np.unique(pairs["word"][order], return_index=True)
        self._ends = np.append(starts, len(order))

    def of(self, word: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The rows, ascending, and the counts there."""
        at = int(np.searchsorted(self._words, np.uint32(word)))
        if at == len(self._words) or self._words[at] != word:
            return self._rows[:0], self._counts[:0]
        part = slice(self._ends[at], self._ends[at + 1])
        return self._rows[part], self._counts[part]


@dataclass(frozen=True, slots=True)
class BM25:
    """With the weights of idf(n, N) = ln(1 + (N - n + ½) / (n + ½)); k1 and b: see gateway/knowledge/index/schema.py."""

    k1: float = 0.9
    b: float = 0.4

    def scores(self, query: Mapping[int, float], parts: Sequence[tuple[Postings, Mask]]) -> list[Scores]:
        """Of every row of each part; 0 where a row has none of the words, or is not in the mask. query: word → its weight."""
        found: list[Scores] = [np.zeros(len(mask), np.float32) for _, mask in parts]
        number = sum(int(np.count_nonzero(mask)) for _, mask in parts)
        words = sum(float(postings.lengths @ mask) for postings, mask in parts)
        if not number or not words:
            return found
        # What a row's length does to its score, which is the same for all words.
        norms = [self.k1 * (1 - self.b + self.b * number / words * postings.lengths) for postings, _ in parts]
        for word, weight in query.items():
            hits = []
            for postings, mask in parts:
                rows, counts = postings.of(word)
                there = mask[rows]
                hits.append((rows[there], counts[there]))
            having = sum(len(rows) for rows, _ in hits)
            idf = weight * np.log1p((number - having + 0.5) / (having + 0.5))
            for scores, norm, (rows, counts) in zip(found, norms, hits, strict=True):
                scores[rows] += idf * counts * (self.k1 + 1) / (counts + norm[rows])
        return found


def _pairs(column: pa.Array) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    """All pairs one behind the other, and how many of them are each row's."""
    if not len(column):
        return np.empty(0, _PAIR), np.empty(0, np.int64)
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1].astype(np.int64)
    if data is None or ends[-1] == ends[0]:
        return np.empty(0, _PAIR), np.zeros(len(column), np.int64)
    pairs = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]].view(_PAIR)
    return pairs, np.diff(ends) // _PAIR.itemsize
