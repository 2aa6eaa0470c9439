"""Texts longer than the model's window keep all their words."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.knowledge.text_windows import Windows, window_of


def words(text: str) -> int:
    return len(text.split())


def test_short_texts_stay_whole_and_their_vectors_too() -> None:
    windows = Windows.of(["one two", "three"], words, 5)
    assert windows.pieces == ["one two", "three"]
    vectors = np.eye(2, 4, dtype=np.float32)
    assert windows.join(vectors) is vectors


def test_a_long_text_has_the_mean_of_its_pieces() -> None:
    windows = Windows.of(["aaaa bbbb cccc dddd", "x"], words, 2)
    assert windows.counts == [len(windows.pieces) - 1, 1]
    vectors = np.zeros((len(windows.pieces), 3), np.float32)
    vectors[0, 0] = vectors[1:-1, 1] = vectors[-1, 2] = 1
    joined = windows.join(vectors)
    assert joined.shape == (2, 3)
    np.testing.assert_allclose(np.linalg.norm(joined, axis=1), 1, atol=1e-6)
    assert joined[0, 0] > 0
    assert joined[0, 1] > 0
    assert joined[0, 2] == 0


@given(st.lists(st.text("ab c", max_size=60), max_size=5), st.integers(1, 6))
def test_nothing_is_lost_and_everything_fits(texts: list[str], limit: int) -> None:
    windows = Windows.of(texts, len, limit)
    assert len(windows.counts) == len(texts)
    assert "".join("".join(windows.pieces).split()) == "".join("".join(texts).split())
    assert all(len(piece) <= limit for piece in windows.pieces)


@pytest.mark.parametrize(("config", "window"), [('{"max_seq_length": 512}', 510), ("{", 254), (None, 254)])
def test_the_window_is_the_models_own(tmp_path: Path, config: str | None, window: int) -> None:
    if config is not None:
        (tmp_path / "sentence_bert_config.json").write_text(config)
    assert window_of(tmp_path) == window


def test_what_a_folder_puts_before_each_text_takes_room(tmp_path: Path) -> None:
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 512}')
    prompts = '{"prompts": {"query": "query: ", "document": ""}, "default_prompt_name": "query"}'
    (tmp_path / "config_sentence_transformers.json").write_text(prompts)
    assert window_of(tmp_path) == 503
    (tmp_path / "config_sentence_transformers.json").write_text('{"default_prompt_name": null}')
    assert window_of(tmp_path) == 510
