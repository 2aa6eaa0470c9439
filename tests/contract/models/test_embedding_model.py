"""`embedding` in a real Triton: equal to sentence-transformers, batched over requests, cached."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
from numpy.typing import NDArray

from tests.contract.models.conftest import Infer, tensors

TEXTS = [
    "How deep is the well?",
    "",
    "naïve café 😀 中文",
    "a sentence that goes on " * 400,
    "x" * 100_000,
]

pytestmark = pytest.mark.timeout(240)  # the first test waits for everything to start


def test_equals_sentence_transformers(infer: Infer, embed: Callable[[list[str]], NDArray[np.float32]]) -> None:
    expected = embed(TEXTS)
    together = infer("embedding", text=np.array([[text.encode()] for text in TEXTS], np.object_))["embedding"]
    alone = np.concatenate([infer("embedding", text=text)["embedding"] for text in TEXTS])

    np.testing.assert_allclose(together, expected, atol=1e-5)
    np.testing.assert_allclose(alone, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_bytes_that_are_no_text_fail_nobody(infer: Infer) -> None:
    broken = np.array([[b"\xff\xfe well"]], np.object_)
    assert infer("embedding", text=broken)["embedding"].shape == (1, 384)


def test_requests_that_come_together_share_a_pass(client: triton_grpc.InferenceServerClient) -> None:
    def work() -> tuple[int, int]:
        stats = client.get_inference_statistics("embedding").model_stats[0]
        return stats.inference_count, stats.execution_count

    before = work()
    done = threading.Semaphore(0)
    errors: list[Any] = []

    def finished(result: Any, error: Any) -> None:
        errors.extend([error] if error else [])
        done.release()

    for i in range(48):
        client.async_infer("embedding", tensors({"text": f"question number {i}"}), finished, client_timeout=20)
    assert all(done.acquire(timeout=20) for _ in range(48))

    assert errors == []
    until = time.monotonic() + 20
    while work()[0] - before[0] < 48 and time.monotonic() < until:  # Triton counts after it has answered
        time.sleep(0.05)
    texts, passes = (after - earlier for after, earlier in zip(work(), before, strict=True))
    assert texts >= 48, "an earlier test's last one may be among them"
    assert passes < 24


def counts(client: triton_grpc.InferenceServerClient) -> tuple[int, int]:
    """Passes of the model, and answers from the cache."""
    stats = client.get_inference_statistics("embedding").model_stats[0]
    return stats.execution_count, stats.inference_stats.cache_hit.count


def counted(client: triton_grpc.InferenceServerClient, before: tuple[int, int], *, passes: int, hits: int) -> bool:
    """Whether there were so many since. Triton counts a pass after it has answered."""
    until = time.monotonic() + 20
    while any(now - then < least for now, then, least in zip(counts(client), before, (passes, hits), strict=True)):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def test_a_repeated_text_comes_from_the_cache(client: triton_grpc.InferenceServerClient, infer: Infer) -> None:
    before = counts(client)
    first = infer("embedding", text="asked again and again")["embedding"]
    assert counted(client, before, passes=1, hits=0)
    before = counts(client)
    again = infer("embedding", text="asked again and again")["embedding"]
    assert counted(client, before, passes=0, hits=1)
    assert pytest.approx(first) == again


@pytest.mark.parametrize("model", ["embedding", "search"])
def test_whose_salts_differ_share_no_cached_text(
    client: triton_grpc.InferenceServerClient, infer: Infer, model: str
) -> None:
    text = f"what another has asked of {model}"
    asked = {"text": text}
    if model == "search":
        asked = {"query": text, "collection": "", "filter": "", "top_k": 1, "min_score": 0.0}
    infer("embedding", text=f"before it: {text}")
    before = counts(client)
    for salt in (2**62 + 1, 2**62 + 2, 2**62 + 1, 2**62 + 2):
        infer(model, **asked, cache_salt_id=salt)
    assert counted(client, before, passes=2, hits=2)
