"""Cosines of all rows to all questions. No I/O."""

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

_FEW = 0.25
"""The share of rows up to which these are copied together, and not all multiplied."""


def lengths(vectors: Vectors) -> Vectors:
    """float32 (rows); 1 for a vector of nothing, whose cosine to all is then 0."""
    norms: Vectors = np.linalg.norm(vectors, axis=1).astype(np.float32)
    norms[norms == 0] = 1
    return norms


def cosines(
    questions: Vectors, vectors: Vectors, norms: Vectors, mask: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], Vectors]:
    """The rows in the mask, and float32 (questions, those rows). questions, vectors: each a row of `dimension` numbers."""
    units = questions / lengths(questions)[:, None]
    rows = np.flatnonzero(mask)
    if len(rows) <= _FEW * len(mask):
        return rows, units @ vectors[rows].T / norms[rows]
    return rows, (units @ vectors.T / norms)[:, rows]
