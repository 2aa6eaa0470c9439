"""ONNX Runtime computes the vectors that sentence-transformers does, and nothing of another model."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from build_scripts import onnx_embedding
from embedding_encoder import Encoder, EncoderSettings
from ragfleet.paths import PROJECT, embedding_graph

SCRIPTS = "abc ÄÖÜß 你好世界 こんにちは 안녕 Привет Γειά שלום مرحبا สวัสดี 😀 \t\n ﬁ Ⅷ ½ <b> {x} \\ \x00"


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `ragfleet setup` has made it; made here where it has not."""
    folder, model = embedding_graph(), onnx_embedding.default_model()
    if not onnx_embedding.is_made(model, folder):
        folder = tmp_path_factory.mktemp("graph") / "made"
        assert onnx_embedding.prepare(model, folder)
    return folder


def encoder(graph: Path | None, **environment: str) -> Encoder:
    if graph is not None:
        environment["RAGFLEET_EMBEDDING_ONNX"] = str(graph)
    return Encoder(EncoderSettings.read({}, environment))


def test_vectors_are_those_of_sentence_transformers_for_texts_of_any_kind_and_length(graph: Path) -> None:
    chance = np.random.default_rng(7)
    texts = ["", " ", "x" * 100_000, "well " * 255, "well " * 257]
    texts += ["".join(chance.choice(list(SCRIPTS), length)) for length in chance.integers(1, 600, 20)]
    found, plain = encoder(graph), encoder(None)
    assert (found.runtime, plain.runtime) == ("onnxruntime", "torch")
    together, expected = found.encode(texts), plain.encode(texts)
    np.testing.assert_allclose(together, expected, atol=1e-5)
    np.testing.assert_allclose(np.concatenate([found.encode([text]) for text in texts]), expected, atol=1e-5)
    assert together.dtype == np.float32


def test_the_process_has_no_torch(graph: Path) -> None:
    code = (
        "import os, sys; from embedding_encoder import Encoder, EncoderSettings;"
        "Encoder(EncoderSettings.read({}, os.environ)).encode(['a']); print('torch' in sys.modules)"
    )
    path = str(PROJECT / "model_repository" / "embedding")
    environment = {**os.environ, "PYTHONPATH": path, "RAGFLEET_EMBEDDING_ONNX": str(graph)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("fault", ["absent", "another model's", "another format's", "no JSON"])
def test_a_graph_that_is_not_the_models_is_told_and_not_used(
    fault: str, graph: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "graph"
    if fault != "absent":
        shutil.copytree(graph, folder)
        told = json.loads((folder / "encoder.json").read_text())
        told |= {"another model's": {"source": "0" * 64}, "another format's": {"format": 0}}.get(fault, {})
        (folder / "encoder.json").write_text("{" if fault == "no JSON" else json.dumps(told))
    with caplog.at_level(logging.WARNING):
        assert encoder(folder).runtime == "torch"
    assert str(folder) in caplog.text
    assert "embedded by PyTorch" in caplog.text


def test_another_precision_is_pytorchs(graph: Path) -> None:
    assert encoder(graph, RAGFLEET_EMBEDDING_PRECISION="bfloat16").runtime == "torch"


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(onnx_embedding.ExportError, match=r"has no model\.safetensors"):
        onnx_embedding.prepare(tmp_path, tmp_path / "out")
