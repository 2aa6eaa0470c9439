"""Vectors of texts, as Triton's `embedding` model answers with them (gateway/ingestion/chunk_embedder.py asks).

Triton is spoken to over HTTP with binary tensors (its "binary tensor data extension"): a JSON header, then the raw bytes, with
the header's length in `Inference-Header-Content-Length`. Texts are length-prefixed (4 bytes, little endian) UTF-8.
"""

import json
import re
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


def parse_answer(body: bytes, head_length: int, count: int) -> Vectors:
    """The `embedding` output of Triton's answer, float32 (count, dimension). Raises ValueError when it is not there whole."""
    raw = body[head_length:]
    for output in json.loads(body[:head_length]).get("outputs", []):
        size = output.get("parameters", {}).get("binary_data_size", 0)
        if output["name"] == "embedding":
            rows, dimension = output["shape"]
            if output["datatype"] != "FP32" or rows != count or size != 4 * rows * dimension or len(raw) < size:
                raise ValueError(f"an embedding of {output['datatype']} {output['shape']} came back for {count} texts")
            return np.frombuffer(raw[:size], "<f4").reshape(rows, dimension).astype(np.float32)
        raw = raw[size:]
    raise ValueError("the answer has no output `embedding`")


class FakeEmbedder:
    """For tests: a bag of hashed words, so that texts which share words are near each other. Counts what it was given."""

    def __init__(self, dimension: int = 384) -> None:
        self.dimension = dimension
        self.embedded = 0

    def embed(self, texts: Sequence[str]) -> Vectors:
        """float32 (len(texts), dimension), each row of length 1."""
        self.embedded += len(texts)
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in re.findall(r"\w+", text.lower()) or [""]:
                row[zlib.crc32(word.encode()) % self.dimension] += 1.0
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors
