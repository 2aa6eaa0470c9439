"""Passages that a search takes for the answer and that are not it: the best of both its arms."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tokens.keywords import keyword_query, keyword_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_K1, _B = 1.2, 0.75
"""Milvus's own."""
_QUESTIONS_A_PASS = 512


def bm25_matrix(texts: Sequence[str]) -> tuple[Any, dict[str, int]]:
    """A sparse matrix [words, texts] of BM25 weights, and each word's row."""
    import numpy as np
    from scipy.sparse import csr_matrix

    counted = [Counter(re.findall(r"\w+", keyword_text(text))) for text in texts]
    rows = {word: row for row, word in enumerate(dict.fromkeys(word for each in counted for word in each))}
    lengths = np.array([each.total() for each in counted], np.float32)
    spread = _K1 * (1 - _B + _B * lengths / lengths.mean())
    frequency = Counter(word for each in counted for word in each)
    entries = [
        (rows[word], column, _weight(count, float(spread[column]), frequency[word], len(texts)))
        for column, each in enumerate(counted)
        for word, count in each.items()
    ]
    row, column, weight = zip(*entries, strict=True)
    return csr_matrix((np.array(weight, np.float32), (row, column)), shape=(len(rows), len(texts))), rows


def _weight(count: int, spread: float, frequency: int, texts: int) -> float:
    return math.log(1 + (texts - frequency + 0.5) / (frequency + 0.5)) * count * (_K1 + 1) / (count + spread)


def candidates(
    questions: Sequence[str], texts: Sequence[str], question_vectors: Any, text_vectors: Any, count: int
) -> NDArray[np.int64]:
    """[questions, 2·count]: for each the best `count` texts by cosine, then the best by BM25. Vectors: torch's, of length 1."""
    import numpy as np
    from scipy.sparse import csr_matrix

    matrix, rows = bm25_matrix(texts)
    found = []
    for first in range(0, len(questions), _QUESTIONS_A_PASS):
        part = questions[first : first + _QUESTIONS_A_PASS]
        vectors = question_vectors[first : first + _QUESTIONS_A_PASS]
        dense = (vectors @ text_vectors.T).topk(count).indices.cpu().numpy()
        asked = [
            (at, rows[word]) for at, text in enumerate(part) for word in keyword_query(text).split() if word in rows
        ]
        queries = csr_matrix(
            (np.ones(len(asked), np.float32), ([at for at, _ in asked], [row for _, row in asked])),
            shape=(len(part), len(rows)),
        )
        scores = (queries @ matrix).toarray()
        best = np.argpartition(-scores, count, axis=1)[:, :count]
        order = np.take_along_axis(-scores, best, axis=1).argsort(axis=1)
        found.append(np.concatenate([dense, np.take_along_axis(best, order, axis=1)], axis=1))
    best_of_both: NDArray[np.int64] = np.concatenate(found).astype(np.int64)
    return best_of_both
