"""Vectors of the windows of a long question, from the model that has made the question's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class EmbeddingFailed(Exception):
    """The model did not answer; the text says why."""


class Embedder(Protocol):
    """The model `embedding`."""

    async def vectors(self, texts: Sequence[str], *, deadline_s: float, cache_salt: int) -> NDArray[np.float32]:
        """float32 (len(texts), dimension); from a cache only what was put there with this salt. Raises EmbeddingFailed."""
        ...
