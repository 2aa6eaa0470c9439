"""Texts become vectors, through Triton's `embedding` model.

Triton is spoken to over HTTP with binary tensors (its "binary tensor data extension"): a JSON header, then the raw bytes, with
the header's length in `Inference-Header-Content-Length`. Texts are length-prefixed (4 bytes, little endian) UTF-8.
"""

import json
import re
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Protocol
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from gateway.errors import KnowledgeUnavailable

Vectors = NDArray[np.float32]

MAX_BATCH = 64
"""The `max_batch_size` of the model."""

_LENGTH = "Inference-Header-Content-Length"


class Embedder(Protocol):
    """Whatever turns texts into vectors."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """float32 (len(texts), dimension), each row of length 1. Raises KnowledgeUnavailable."""
        ...


class TritonEmbedder:
    """Embeds through any of several Tritons; a failed batch is tried on the next one until the deadline.

    `deadline_s` holds for one batch with all its attempts. Between rounds over all URLs it
    pauses for 0.2 s, and twice as long each further time.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        deadline_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not urls:
            raise KnowledgeUnavailable("no Triton to embed with; is the fleet up? try `ragfleet status`")
        self._urls = list(urls)
        self._deadline_s = deadline_s
        self._clock = clock
        self._sleep = sleep
        self._next = 0

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See Embedder; at most MAX_BATCH texts go into one request."""
        batches = [self._batch(texts[at : at + MAX_BATCH]) for at in range(0, len(texts), MAX_BATCH)]
        return np.concatenate(batches) if batches else np.empty((0, 0), np.float32)

    def _batch(self, texts: Sequence[str]) -> Vectors:
        until = self._clock() + self._deadline_s
        pause, tried, fault = 0.2, 0, "no time was left"
        while (left := until - self._clock()) > 0:
            url = self._urls[self._next]
            try:
                return _infer(url, texts, left)
            except (OSError, HTTPException, ValueError) as error:
                fault = f"{url}: {error}"
            self._next = (self._next + 1) % len(self._urls)
            tried += 1
            if tried % len(self._urls) == 0:
                self._sleep(min(pause, max(0.0, until - self._clock())))
                pause *= 2
        raise KnowledgeUnavailable(f"no Triton could embed within {self._deadline_s:g} s; the last fault was {fault}")


def _infer(url: str, texts: Sequence[str], timeout_s: float) -> Vectors:
    """One request. Raises OSError, HTTPException, or ValueError for an answer that is not the vectors."""
    payload = b"".join(struct.pack("<I", len(raw)) + raw for raw in (text.encode() for text in texts))
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "text",
                    "shape": [len(texts), 1],
                    "datatype": "BYTES",
                    "parameters": {"binary_data_size": len(payload)},
                }
            ],
            "outputs": [{"name": "embedding", "parameters": {"binary_data": True}}],
        }
    ).encode()
    parts = urlsplit(url)
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = connect(parts.netloc, timeout=timeout_s)
    try:
        path = f"{parts.path.rstrip('/')}/v2/models/embedding/infer"
        headers = {_LENGTH: str(len(head)), "Content-Type": "application/octet-stream"}
        connection.request("POST", path, head + payload, headers)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise ValueError(f"HTTP {response.status}: {body[:300].decode(errors='replace')}")
    return parse_answer(body, int(response.getheader(_LENGTH) or len(body)), len(texts))


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
        """See Embedder."""
        self.embedded += len(texts)
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in re.findall(r"\w+", text.lower()) or [""]:
                row[zlib.crc32(word.encode()) % self.dimension] += 1.0
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors
