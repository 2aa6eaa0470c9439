"""The embedder over real sockets: Triton's binary protocol, batches, and going on when a Triton fails."""

import time
from typing import Any

import numpy as np
import pytest

from gateway.errors import KnowledgeUnavailable
from gateway.knowledge.embedder import FakeEmbedder, TritonEmbedder


def test_vectors_are_those_of_the_model(tritons: list[Any]) -> None:
    texts = [f"text number {number}, größer" for number in range(150)]
    vectors = TritonEmbedder([tritons[0].url]).embed(texts)
    assert vectors.dtype == np.float32
    assert np.array_equal(vectors, FakeEmbedder().embed(texts))
    assert tritons[0].batches == [64, 64, 22]


def test_nothing_to_embed_asks_nobody(tritons: list[Any]) -> None:
    assert len(TritonEmbedder([tritons[0].url]).embed([])) == 0
    assert tritons[0].batches == []


def test_another_triton_takes_over(tritons: list[Any]) -> None:
    tritons[0].fail = 503
    embedder = TritonEmbedder(["http://127.0.0.1:9", tritons[0].url, tritons[1].url])
    assert len(embedder.embed(["a", "b"])) == 2
    assert len(embedder.embed(["c"])) == 1  # and stays with the one that works
    assert tritons[1].batches == [2, 1]


def test_all_failing_is_unavailable_with_the_last_fault(tritons: list[Any]) -> None:
    tritons[0].fail = tritons[1].fail = 503
    now = 0.0
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        pauses.append(seconds)

    urls = [triton.url for triton in tritons]
    with pytest.raises(KnowledgeUnavailable, match="queue is full"):
        TritonEmbedder(urls, deadline_s=2, clock=lambda: now, sleep=sleep).embed(["a"])
    assert pauses == pytest.approx([0.2, 0.4, 0.8, 0.6])


def test_a_stalled_triton_ends_with_the_deadline(tritons: list[Any]) -> None:
    tritons[0].stall.set()
    start = time.monotonic()
    with pytest.raises(KnowledgeUnavailable):
        TritonEmbedder([tritons[0].url], deadline_s=0.5).embed(["a"])
    assert time.monotonic() - start < 5
