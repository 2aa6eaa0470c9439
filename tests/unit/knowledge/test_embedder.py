"""Reading Triton's binary answer, and the fake."""

import json

import numpy as np
import pytest

from gateway.knowledge.embedder import FakeEmbedder, parse_answer


def answer(*outputs: tuple[str, np.ndarray]) -> tuple[bytes, int]:
    head = {
        "outputs": [
            {
                "name": name,
                "datatype": "FP32",
                "shape": list(array.shape),
                "parameters": {"binary_data_size": array.nbytes},
            }
            for name, array in outputs
        ]
    }
    raw = json.dumps(head).encode()
    return raw + b"".join(array.tobytes() for _, array in outputs), len(raw)


def test_the_vectors_come_out_of_the_answer() -> None:
    vectors = np.arange(6, dtype=np.float32).reshape(2, 3)
    body, head = answer(("other", np.zeros((1,), np.float32)), ("embedding", vectors))
    assert np.array_equal(parse_answer(body, head, 2), vectors)


@pytest.mark.parametrize("count", [1, 3])
def test_a_wrong_number_of_vectors_is_refused(count: int) -> None:
    body, head = answer(("embedding", np.zeros((2, 3), np.float32)))
    with pytest.raises(ValueError):
        parse_answer(body, head, count)


def test_a_cut_answer_is_refused() -> None:
    body, head = answer(("embedding", np.zeros((2, 3), np.float32)))
    with pytest.raises(ValueError):
        parse_answer(body[:-1], head, 2)
    with pytest.raises(ValueError):
        parse_answer(b"{}", 2, 2)


def test_the_fake_is_normalised_and_likes_shared_words() -> None:
    a, b, c = FakeEmbedder().embed(["red apple pie", "red apple", "quantum physics"])
    assert np.linalg.norm(a) == pytest.approx(1)
    assert a @ b > a @ c
